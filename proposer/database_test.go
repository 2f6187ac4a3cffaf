package proposer_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/wallet"
	"github.com/countersign/countersign/wallet/descriptorpg"
	"github.com/countersign/countersign/wallet/walletpg"
)

// ending ends a request as the signing service does, in whatever queue lies
// behind the world.
type ending func(t testing.TB, r queue.Result)

// backends are the queues that must look the same through the API: the one in
// memory that the other tests use, and the real one on PostgreSQL.
var backends = map[string]func(t testing.TB) (backend, ending){
	"memory": func(t testing.TB) (backend, ending) {
		b, m := memoryBackend(t)
		return b, func(t testing.TB, r queue.Result) {
			m.change(t, r.Request.String(), func(v *queue.View) { v.Result = &r })
		}
	},
	"postgres": func(t testing.TB) (backend, ending) {
		b, db := postgresBackend(t)
		signing := runQueue(t, db, message.RoleSigning)
		return b, func(t testing.TB, r queue.Result) {
			ctx := context.Background()
			tx, err := db.As(message.RoleSigning).BeginTx(ctx, nil)
			must(t, err)
			inserted, err := signing.Finish(ctx, tx, []queue.Result{r})
			must(t, err)
			if len(inserted) != 1 {
				t.Fatal("the result was not inserted")
			}
			must(t, tx.Commit())
		}
	},
}

func postgresBackend(t testing.TB) (backend, *databasetest.DB) {
	t.Helper()
	db := databasetest.New(t)
	q := runQueue(t, db, "proposer")
	return backend{deployment: db.Deployment, queue: q, wallets: store{descriptorpg.New(db.As("proposer"))}, db: db.As("proposer")}, db
}

// store is descriptorpg as services/proposer hands it in.
type store struct{ *descriptorpg.Reader }

func (s store) ListWallets(ctx context.Context, f proposer.WalletFilter, after string, limit int) ([][]byte, error) {
	return descriptors(s.Reader.ListWallets(ctx, descriptorpg.Page{All: f.Any, Owner: f.Owner, IDs: f.IDs, After: after, Limit: limit}))
}

func (s store) ListAccounts(ctx context.Context, wallet, after string, limit int) ([][]byte, error) {
	return descriptors(s.Reader.ListAccounts(ctx, wallet, descriptorpg.Page{All: true, After: after, Limit: limit}))
}

func descriptors(entries []descriptorpg.Entry, err error) ([][]byte, error) {
	var out [][]byte
	for _, e := range entries {
		out = append(out, e.Descriptor)
	}
	return out, err
}

// TestDatabaseWallets pages through wallets and accounts that lie in
// PostgreSQL, as their owner and as somebody else.
func TestDatabaseWallets(t *testing.T) {
	b, db := postgresBackend(t)
	w := start(t, b, nil)
	ctx := context.Background()
	signing := db.As(message.RoleSigning)
	records, first := walletpg.New(signing), strings.Repeat("11", 32)
	insert := func(put func(context.Context, *sql.Tx, wallet.Record) error, id string, descriptor any) {
		raw, err := message.Encode(descriptor)
		must(t, err)
		tx, err := signing.BeginTx(ctx, nil)
		must(t, err)
		must(t, put(ctx, tx, wallet.Record{ID: id, Wallet: first, Descriptor: raw, Ciphertext: []byte("sealed")}))
		must(t, tx.Commit())
	}
	for i, owner := range []string{deploymenttest.User, deploymenttest.User, mallory, deploymenttest.User} {
		id := strings.Repeat(fmt.Sprintf("%d%d", i+1, i+1), 32)
		insert(records.InsertWallet, id, message.WalletDescriptor{Version: 1, Deployment: w.d.ID, ID: id, Owner: owner, Generation: 1})
		insert(records.InsertAccount, id, message.AccountDescriptor{Version: 1, Deployment: w.d.ID, ID: id, Owner: deploymenttest.User, Generation: 1, Wallet: first, Chain: "eip155:1", Curve: "secp256k1", PublicKey: []byte{2}})
	}
	c := w.goClient(nil, nil)
	wallets, cursor := 0, ""
	for more := true; more; more = cursor != "" {
		page, err := c.Wallets(ctx, 2, cursor)
		must(t, err)
		wallets, cursor = wallets+len(page.Wallets), page.Next
	}
	accounts, cursor := 0, ""
	for more := true; more; more = cursor != "" {
		page, err := c.Accounts(ctx, first, 3, cursor)
		must(t, err)
		accounts, cursor = accounts+len(page.Accounts), page.Next
	}
	if wallets != 3 || accounts != 4 {
		t.Fatalf("%d wallets, %d accounts", wallets, accounts)
	}
	token := w.token(mallory, nil)
	wantProblem(t, w.get("/v1/wallets/"+first, token), proposer.CodeNotFound)
	wantProblem(t, w.get("/v1/wallets/"+first+"/accounts", token), proposer.CodeNotFound)
}

func runQueue(t testing.TB, db *databasetest.DB, service string) *queue.Queue {
	t.Helper()
	q := queue.New(db.As(service), db.Config(service), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return q
}

// onEach runs a test on every backend.
func onEach(t *testing.T, test func(t *testing.T, w *world, end ending)) {
	for name, make := range backends {
		t.Run(name, func(t *testing.T) {
			b, end := make(t)
			test(t, start(t, b, nil), end)
		})
	}
}

// submissionOf rebuilds what was submitted, for a result that fits it.
func (w *world) submissionOf(id string) queue.Submission {
	w.t.Helper()
	v, err := w.backend.queue.Get(context.Background(), uuid.MustParse(id))
	must(w.t, err)
	return v.Submission
}

func TestQueueReplay(t *testing.T) {
	onEach(t, func(t *testing.T, w *world, _ ending) {
		statement := w.statement()
		first := wantRequest(t, w.propose(statement), http.StatusAccepted)
		w.clock.Advance(time.Minute)
		again := wantRequest(t, w.propose(statement), http.StatusAccepted)
		if first.ID != again.ID || first.Submitted != again.Submitted {
			t.Fatalf("the repetition is another request: %+v", again)
		}
		other := []byte(strings.Replace(string(statement), `"test"`, `"tset"`, 1))
		wantProblem(t, w.propose(other), proposer.CodeIDConflict)
		wantProblem(t, w.do(w.client(false), w.signed(statement, w.d.UserKey, w.token(mallory, nil))), proposer.CodeIDConflict)
	})
}

func TestQueueOwners(t *testing.T) {
	onEach(t, func(t *testing.T, w *world, _ ending) {
		r := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
		wantRequest(t, w.get("/v1/requests/"+r.ID, w.token(deploymenttest.User, nil)), http.StatusOK)
		wantProblem(t, w.get("/v1/requests/"+r.ID, w.token(mallory, nil)), proposer.CodeNotFound)
		wantProblem(t, w.get("/v1/requests/"+statementID(t, w.statement()), w.token(mallory, nil)), proposer.CodeNotFound)
		var page api.Requests
		must(t, message.DecodeStrict(w.get("/v1/requests", w.token(mallory, nil)).body, &page))
		if len(page.Requests) != 0 {
			t.Fatalf("mallory sees %+v", page)
		}
	})
}

func TestQueueLists(t *testing.T) {
	onEach(t, func(t *testing.T, w *world, end ending) {
		var ids []string
		for range 5 {
			ids = append(ids, wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID)
		}
		end(t, w.result(w.submissionOf(ids[2]), nil))
		token := w.token(deploymenttest.User, nil)
		list := func(query string) (page api.Requests) {
			must(t, message.DecodeStrict(w.get("/v1/requests?"+query, token).body, &page))
			return page
		}
		got := ""
		for query := "limit=2"; query != ""; {
			page := list(query)
			for _, r := range page.Requests {
				got = r.ID + " " + got
			}
			if query = ""; page.Next != "" {
				query = "limit=2&cursor=" + url.QueryEscape(page.Next)
			}
		}
		if strings.TrimSpace(got) != strings.Join(ids, " ") {
			t.Fatalf("got %s, want %v", got, ids)
		}
		for query, want := range map[string]int{
			"status=done": 1, "status=pending": 4, "status=waiting": 0, "status=signed": 0, "kind=wallet.create&limit=100": 5, "kind=other": 0,
			"wallet=" + w.submissionOf(ids[0]).Wallet: 1,
		} {
			if page := list(query); len(page.Requests) != want {
				t.Errorf("%s: %d, want %d", query, len(page.Requests), want)
			}
		}
	})
}

// TestQueueWaits checks that those who wait, for a new request and for an old
// one, are answered as soon as the result is committed.
func TestQueueWaits(t *testing.T) {
	onEach(t, func(t *testing.T, w *world, end ending) {
		statement := w.statement()
		token := w.token(deploymenttest.User, nil)
		id := statementID(t, statement)
		answers := make(chan answer, 3)
		send := func(r *http.Request) { go func() { answers <- w.do(w.client(false), r) }() }
		send(w.signed(statement, w.d.UserKey, token, "Prefer", "wait=60"))
		w.waitFor(func() bool {
			_, err := w.backend.queue.Get(context.Background(), uuid.MustParse(id))
			return err == nil
		})
		send(w.signed(statement, w.d.UserKey, token, "Prefer", "wait=60"))
		send(w.request(http.MethodGet, "/v1/requests/"+id, nil, token, "Prefer", "wait=60"))
		end(t, w.result(w.submissionOf(id), nil))
		for range 3 {
			if r := wantRequest(t, <-answers, http.StatusOK); r.Status != message.StatusDone || string(r.Result.Output) != `{"wallet":"x"}` {
				t.Fatalf("got %+v", r)
			}
		}
	})
}

func TestQueueManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world, _ ending) {
		const many = 100
		token, client := w.token(deploymenttest.User, nil), w.client(true)
		var calls sync.WaitGroup
		ids := map[string]bool{}
		for i := range many {
			statement := w.statement()
			ids[statementID(t, statement)] = true
			calls.Go(func() {
				for range 1 + i%2 { // every second one twice
					if a := w.do(client, w.signed(statement, w.d.UserKey, token)); a.status != http.StatusAccepted {
						t.Errorf("refused: %s", a.body)
					}
				}
			})
		}
		calls.Wait()
		for id := range ids {
			w.submissionOf(id)
		}
	})
}

// TestAttackTokenInDatabase looks for the credentials of a call in every
// column of every table.
func TestAttackTokenInDatabase(t *testing.T) {
	b, db := postgresBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	client := w.client(false, w.alice)
	statement := w.statement()
	a := w.do(client, w.signed(statement, w.d.UserKey, token, "Cookie", "session=abcdef"))
	wantRequest(t, a, http.StatusAccepted)
	rows, err := db.Owner.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema = 'countersign' AND table_type = 'BASE TABLE'`)
	must(t, err)
	defer rows.Close()
	tables, found := 0, false
	for rows.Next() {
		var table string
		must(t, rows.Scan(&table))
		var dump string
		must(t, db.Owner.QueryRow(fmt.Sprintf(`SELECT coalesce(string_agg(x::text, ' '), '') FROM countersign.%q x`, table)).Scan(&dump))
		for _, secret := range []string{token, token[len(token)-20:], "session=abcdef", standin.Fingerprint(w.alice)} {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret)} {
				if strings.Contains(dump, form) {
					t.Fatalf("table %s holds %q", table, secret)
				}
			}
		}
		// What is looked for would be found: the statement is there.
		found = found || strings.Contains(dump, fmt.Sprintf("%x", base64.RawURLEncoding.EncodeToString(statement)))
		tables++
	}
	must(t, rows.Err())
	if tables < 5 || !found {
		t.Fatalf("%d tables were looked at, statement found: %v", tables, found)
	}
}

// TestDatabaseGoesAway checks that a lost database is a clear answer, and that
// the same bytes go through when it is back.
func TestDatabaseGoesAway(t *testing.T) {
	b, db := postgresBackend(t)
	w := start(t, b, nil)
	statement := w.statement()
	_, err := db.Owner.Exec(`ALTER ROLE countersign_proposer NOLOGIN`)
	must(t, err)
	restore := func() {
		_, err := db.Owner.Exec(`ALTER ROLE countersign_proposer LOGIN`)
		must(t, err)
	}
	t.Cleanup(restore)
	_, err = db.Owner.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'countersign_proposer'`)
	must(t, err)
	wantProblem(t, w.propose(statement), proposer.CodeUnavailable)
	wantProblem(t, w.get("/readyz", ""), proposer.CodeNotReady)
	restore()
	w.waitFor(func() bool { return w.propose(statement).status == http.StatusAccepted })
}
