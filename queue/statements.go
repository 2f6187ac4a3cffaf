package queue

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/database"
)

//go:embed queries/*.sql
var queries embed.FS

// statements are the queue's queries, each prepared once per connection.
type statements struct {
	submit, submitLater, submitted        *database.Statement
	wakeEnded, wakeMissed, abandon        *database.Statement
	claim, claimFailed, claimOne          *database.Statement
	settle, settleSilently                *settling
	keep, settleMixed                     *settling
	fail, release, sweep, hasten          *database.Statement
	gather, look, lookRecent, newestReply *database.Statement
	askAgain, unpark, stalled, reclaim    *database.Statement
	askWaiting, say                       *database.Statement
	cancel, intended                      *database.Statement
	intents, finish, results              *database.Statement
	publish, published, notices, expired  *database.Statement
	notice                                *database.Statement
	viewRequests, viewReplies, viewTasks  *database.Statement
}

func newStatements() *statements {
	return &statements{
		submit: statement("submit"), submitLater: submitLater(), submitted: statement("submitted"),
		wakeEnded: statement("wake_ended"), wakeMissed: statement("wake_missed"), abandon: statement("abandon"),
		claim: statement("claim"), claimFailed: statement("claim_failed"), claimOne: statement("claim_one"),
		settle: newSettling("settle"), settleSilently: newSettling("settle_silently"),
		keep: newSettling("keep"), settleMixed: newSettling("settle_mixed"),
		fail: statement("fail"), release: statement("release"), sweep: statement("sweep"), hasten: statement("hasten"),
		gather: statement("gather"), look: statement("look"), lookRecent: statement("look_recent"),
		newestReply: statement("newest_reply"),
		askAgain:    statement("ask_again"), unpark: statement("unpark"), stalled: statement("stalled"), reclaim: statement("reclaim"),
		askWaiting: statement("ask_waiting"), say: statement("say"),
		cancel: statement("cancel"), intended: statement("intended"),
		intents: statement("intents"), finish: statement("finish"), results: statement("results"),
		publish: statement("publish"), published: statement("published"), notices: statement("notices"),
		notice:       statement("notice"),
		expired:      statement("delete_expired"),
		viewRequests: statement("view_requests"), viewReplies: statement("view_replies"),
		viewTasks: statement("view_tasks"),
	}
}

// grounds are what a settlement rests on beside its tasks. It writes nothing
// where they do not hold.
type grounds struct {
	basis   *Basis
	offered uuidArray // requests that were heard of and not read
	hashes  byteaArray
}

// groundsMark stands in a settling statement where its condition goes on.
const groundsMark = "/* grounds */"

// Conditions of a settling statement, with the numbers of their parameters. No
// record and no request makes them false, not NULL.
const (
	// basisHolds: the consumer's chain ends with the record that it knew.
	basisHolds = ` AND coalesce((SELECT count(*) = 1 AND bool_and(h.seq = $%[1]d AND h.mac = $%[2]d)` +
		` FROM countersign.record h WHERE h.role = $1 AND h.seq >= $%[1]d), false)`
	// offerHolds: the requests are those that were heard of.
	offerHolds = ` AND (SELECT bool_and((SELECT r.hash FROM countersign.request r WHERE r.id = o.id) IS NOT DISTINCT FROM o.hash)` +
		` FROM unnest($%[1]d::uuid[], $%[2]d::bytea[]) AS o (id, hash))`
)

// settling is a settling statement in a form for each kind of grounds: a
// consumer that keeps no records may not even read any.
type settling struct{ plain, based, offered, both *database.Statement }

func newSettling(name string) *settling {
	text, first := settlingText(name)
	form := func(conditions ...string) *database.Statement {
		return database.NewStatement(ground(text, first, conditions...))
	}
	return &settling{plain: form(), based: form(basisHolds), offered: form(offerHolds), both: form(basisHolds, offerHolds)}
}

// settlingText returns a statement and its first free parameter.
func settlingText(name string) (text string, first int) {
	text, first = query(name), 1
	for strings.Contains(text, fmt.Sprintf("$%d", first)) {
		first++
	}
	return text, first
}

// ground has a statement hold to conditions, of two parameters each.
func ground(text string, next int, conditions ...string) string {
	all := ""
	for _, c := range conditions {
		all += fmt.Sprintf(c, next, next+1)
		next += 2
	}
	return strings.ReplaceAll(text, groundsMark, all)
}

func (s *settling) on(ctx context.Context, db *sql.DB, g grounds, args []any) (*sql.Stmt, []any, error) {
	form := s.plain
	switch based, offered := g.basis != nil, len(g.offered) > 0; {
	case based && offered:
		form = s.both
	case based:
		form = s.based
	case offered:
		form = s.offered
	}
	if g.basis != nil {
		args = append(args, g.basis.Seq, g.basis.MAC[:])
	}
	if len(g.offered) > 0 {
		args = append(args, g.offered, g.hashes)
	}
	stmt, err := form.On(ctx, db, nil)
	return stmt, args, err
}

func statement(name string) *database.Statement { return database.NewStatement(query(name)) }

func query(name string) string {
	text, err := queries.ReadFile("queries/" + name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("queue: no query %s", name)) // a test runs every one
	}
	return string(text)
}
