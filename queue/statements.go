package queue

import (
	"embed"
	"fmt"

	"github.com/countersign/countersign/internal/database"
)

//go:embed queries/*.sql
var queries embed.FS

// statements are the queue's queries, each prepared once per connection.
type statements struct {
	submit, submitted                     *database.Statement
	claim, claimFailed, claimOne          *database.Statement
	settle, settleSilently                *database.Statement
	keep, settleMixed                     *database.Statement
	fail, release, sweep, hasten          *database.Statement
	gather, look, lookRecent, newestReply *database.Statement
	askAgain, unpark, stalled, reclaim    *database.Statement
	intents, finish, results              *database.Statement
	publish, published, notices, expired  *database.Statement
	viewRequests, viewReplies, viewTasks  *database.Statement
}

func newStatements() *statements {
	return &statements{
		submit: statement("submit"), submitted: statement("submitted"),
		claim: statement("claim"), claimFailed: statement("claim_failed"), claimOne: statement("claim_one"),
		settle: statement("settle"), settleSilently: statement("settle_silently"),
		keep: statement("keep"), settleMixed: statement("settle_mixed"),
		fail: statement("fail"), release: statement("release"), sweep: statement("sweep"), hasten: statement("hasten"),
		gather: statement("gather"), look: statement("look"), lookRecent: statement("look_recent"),
		newestReply: statement("newest_reply"),
		askAgain:    statement("ask_again"), unpark: statement("unpark"), stalled: statement("stalled"), reclaim: statement("reclaim"),
		intents: statement("intents"), finish: statement("finish"), results: statement("results"),
		publish: statement("publish"), published: statement("published"), notices: statement("notices"),
		expired:      statement("delete_expired"),
		viewRequests: statement("view_requests"), viewReplies: statement("view_replies"),
		viewTasks: statement("view_tasks"),
	}
}

func statement(name string) *database.Statement { return database.NewStatement(query(name)) }

func query(name string) string {
	text, err := queries.ReadFile("queries/" + name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("queue: no query %s", name)) // a test runs every one
	}
	return string(text)
}
