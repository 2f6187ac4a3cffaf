package webhook_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/secrets"
)

// What a receiver is sent: the result that the signing service signed, and a
// signature that it can check.
func TestDelivery(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(hook("books", r.URL+"/in?key=1"))
	one := w.start()
	s := w.submit("alice", 1)[0]
	w.end(message.StatusRejected, s)
	w.until("the outcome", func() bool { return len(r.all()) == 1 && w.tasks("true") == 0 })
	m := r.all()[0]
	w.genuine("books", m)
	got := m.event.Data
	result := w.result(s, message.StatusRejected)
	switch {
	case m.path != "/in?key=1", m.header.Get("content-type") != "application/json":
		t.Errorf("it came to %s as %s", m.path, m.header.Get("content-type"))
	case m.header.Get("webhook-id") != s.ID.String()+"_books":
		t.Errorf("its id is %s", m.header.Get("webhook-id"))
	case m.event.Type != "request.rejected" || got.Status != message.StatusRejected || got.Request != s.ID.String():
		t.Errorf("it says %+v", m.event)
	case got.Kind != message.KindEthereumMessage || got.Wallet != strings.Repeat("a", 64) || got.Account != strings.Repeat("b", 64):
		t.Errorf("it says %+v", got)
	case len(got.Reasons) != 1 || got.Reasons[0].Code != "deny_listed":
		t.Errorf("its reasons are %+v", got.Reasons)
	case strings.Count(got.Result, ".") != 2 || len(got.Result) != len(result.Body):
		t.Errorf("its result is %s", got.Result)
	}
	var verified message.Result
	key := deploymenttest.JWK(t, w.db.Deployment.IdentityKey(message.RoleSigning))
	public, err := key.Ed25519()
	w.must(err)
	if err := message.VerifyEd25519(message.TypResult, key.Thumbprint(), public, []byte(got.Result), &verified); err != nil {
		t.Error(err)
	}
	if !verified.Time.Equal(m.event.Timestamp.Time) {
		t.Error("its time is not the result's")
	}
	if one.count(webhook.Delivered) != 1 {
		t.Errorf("%d count as delivered", one.count(webhook.Delivered))
	}
	if logs := w.logs.String(); strings.Contains(logs, r.URL) || strings.Contains(logs, "key=1") {
		t.Errorf("an address was logged: %s", logs)
	}
}

// A result is told at once, and a request without one is not told at all.
func TestDeliveredWhenItEnds(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(hook("books", r.URL))
	w.start()
	list := w.submit("alice", 20)
	time.Sleep(soon)
	if n := len(r.all()); n != 0 {
		t.Fatalf("%d messages about requests that are open", n)
	}
	w.end(message.StatusSigned, list[:10]...)
	w.until("ten outcomes", func() bool { return r.deduplicated() == 10 && w.tasks("true") == 10 })
}

// Whatever a receiver does first, it is told in the end, each time the same under
// the same id.
func TestRetries(t *testing.T) {
	status := func(code int) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, _ *http.Request) {
			if n < 2 {
				w.WriteHeader(code)
			}
		}
	}
	for name, c := range map[string]struct {
		answer func(n int, w http.ResponseWriter, r *http.Request)
		note   string
	}{
		"500":      {status(500), "it answered 500"},
		"404":      {status(404), "it answered 404"},
		"429":      {status(429), "it answered 429"},
		"304":      {status(304), "it answered 304"},
		"cut-off":  {func(n int, _ http.ResponseWriter, _ *http.Request) { cutOff(n) }, "the connection failed"},
		"redirect": {redirect, "it answered 307"},
		"huge-header": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n < 2 {
				w.Header().Set("x", strings.Repeat("y", 64<<10))
			}
		}, "the connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.receive(c.answer)
			w.set(hook("books", r.URL))
			one := w.start()
			w.end(message.StatusSigned, w.submit("alice", 1)...)
			w.until("the outcome", func() bool { return len(r.all()) == 3 && w.tasks("true") == 0 })
			all := r.all()
			for _, m := range all {
				w.genuine("books", m)
				if m.header.Get("webhook-id") != all[0].header.Get("webhook-id") || string(m.body) != string(all[0].body) || m.path != "/" {
					t.Error("another message came the second time")
				}
			}
			if one.count(webhook.Failed) != 2 || one.count(webhook.Delivered) != 1 {
				t.Errorf("failed %d, delivered %d", one.count(webhook.Failed), one.count(webhook.Delivered))
			}
			if !strings.Contains(w.logs.String(), c.note) {
				t.Errorf("the log does not say %q", c.note)
			}
		})
	}
}

func cutOff(n int) {
	if n < 2 {
		panic(http.ErrAbortHandler)
	}
}

func redirect(n int, w http.ResponseWriter, r *http.Request) {
	if n < 2 {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}
}

// A receiver that asks for time gets it.
func TestLeavesAloneForAsLongAsAsked(t *testing.T) {
	w := newWorld(t)
	var answered, came time.Time
	r := w.receive(func(n int, rw http.ResponseWriter, _ *http.Request) {
		if n > 0 {
			came = time.Now()
			return
		}
		answered = time.Now()
		rw.Header().Set("Retry-After", "2")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	w.set(hook("books", r.URL))
	one := w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the outcome", func() bool { return one.count(webhook.Delivered) == 1 })
	if after := came.Sub(answered); after < 2*time.Second {
		t.Errorf("it came again after %v", after)
	}
}

func TestConnectionRefused(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	gone := w.receive(nil)
	gone.Close()
	w.set(hook("books", gone.URL))
	one := w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("two failures", func() bool { return one.count(webhook.Failed) >= 2 })
	w.set(hook("books", r.URL)) // a new address serves also what was put off
	w.until("the outcome", func() bool { return len(r.all()) == 1 && w.tasks("true") == 0 })
}

// 410 ends one delivery, and no other.
func TestGone(t *testing.T) {
	w := newWorld(t)
	r := w.receive(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 0 {
			w.WriteHeader(http.StatusGone)
		}
	})
	w.set(hook("books", r.URL))
	one := w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the end", func() bool { return one.count(webhook.Gone) == 1 && w.tasks("true") == 0 })
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the next", func() bool { return one.count(webhook.Delivered) == 1 && len(r.all()) == 2 })
}

// An answer is not read further than it matters.
func TestAttackEndlessAnswer(t *testing.T) {
	w := newWorld(t)
	r := w.receive(func(_ int, w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	w.set(hook("books", r.URL))
	one := w.start()
	begun := time.Now()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the outcome", func() bool { return one.count(webhook.Delivered) == 1 && w.tasks("true") == 0 })
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A receiver that never answers holds up nobody else.
func TestSlowReceiverHoldsUpNobody(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	slow := w.receive(func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	quick := w.receive(nil)
	w.set(hook("slow", slow.URL), hook("quick", quick.URL))
	w.start()
	list := w.submit("alice", 60)
	begun := time.Now()
	w.end(message.StatusSigned, list...)
	w.until("the others", func() bool { return quick.deduplicated() == 60 && w.tasks("consumer = 'webhook:quick'") == 0 })
	// Each of 16 is given up after 15 s, and leaves its place to another.
	n := len(slow.all())
	if most := 16 * (1 + int(time.Since(begun)/(14*time.Second))); n == 0 || n > most {
		t.Errorf("%d messages are on their way to the slow one, want 1 to %d", n, most)
	}
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	r := map[string]*receiver{}
	for _, id := range []string{"all", "alice", "failures", "alice-failures"} {
		r[id] = w.receive(nil)
	}
	failures := []message.Status{message.StatusFailed, message.StatusExpired}
	alice := []string{"alice"}
	w.set(hook("all", r["all"].URL),
		document.Webhook{ID: "alice", URL: r["alice"].URL, Users: alice},
		document.Webhook{ID: "failures", URL: r["failures"].URL, Statuses: failures},
		document.Webhook{ID: "alice-failures", URL: r["alice-failures"].URL, Users: alice, Statuses: failures})
	w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.end(message.StatusFailed, w.submit("alice", 1)...)
	w.end(message.StatusFailed, w.submit("carol", 1)...)
	w.until("all tasks", func() bool { return w.tasks("true") == 0 })
	for id, want := range map[string]int{"all": 3, "alice": 2, "failures": 2, "alice-failures": 1} {
		if got := r[id].deduplicated(); got != want {
			t.Errorf("%s was told %d outcomes, want %d", id, got, want)
		}
	}
}

// A row that makes a task of another's request tells a webhook nothing that it is
// not to know.
func TestAttackTaskOfAnotherUser(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(document.Webhook{ID: "alice", URL: r.URL, Users: []string{"alice"}})
	one := w.start()
	s := w.submit("carol", 1)[0]
	if _, err := w.db.Owner.Exec("INSERT INTO countersign.task (consumer, request_id) VALUES ('webhook:alice', $1)", s.ID.String()); err != nil {
		t.Fatal(err)
	}
	w.end(message.StatusSigned, s)
	w.until("the end of the task", func() bool { return one.count(webhook.Skipped) == 1 && w.tasks("true") == 0 })
	if len(r.all()) != 0 {
		t.Error("alice's webhook was told of carol's request")
	}
}

// A result that the signing service did not sign, or not for this request, is told
// to nobody.
func TestAttackForgedResult(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(hook("books", r.URL))
	one := w.start()
	list := w.submit("alice", 3)
	other := w.result(list[1], message.StatusSigned)
	cut := w.result(list[2], message.StatusSigned)
	for i, body := range [][]byte{other.Body, []byte("forged"), cut.Body[:len(cut.Body)-4]} {
		_, err := w.db.Owner.Exec("INSERT INTO countersign.result (request_id, status, body) VALUES ($1, 'signed', $2)", list[i].ID.String(), body)
		w.must(err)
	}
	w.hasten()
	w.until("all three were refused", func() bool { return one.count(webhook.Unverified) >= 3 })
	time.Sleep(soon)
	if n := len(r.all()); n != 0 {
		t.Errorf("%d forged results were told", n)
	}
	if n := w.tasks("state = 1 AND note <> ''"); n != 3 {
		t.Errorf("%d tasks say what is wrong, want 3", n)
	}
}

// After three days a delivery is given up, and says so; others go on.
func TestGivenUp(t *testing.T) {
	w := newWorld(t)
	r := w.receive(func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	w.set(hook("books", r.URL))
	w.now = func() time.Time { return time.Now().Add(72*time.Hour + time.Minute) }
	one := w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the end", func() bool {
		return one.count(webhook.GivenUp) == 1 && w.tasks("state = 2 AND note LIKE '%three days: it answered 500'") == 1
	})
	if n := len(r.all()); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
}

// What was not delivered when an instance stopped is delivered by the next.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	down := make(chan struct{})
	r := w.receive(func(_ int, w http.ResponseWriter, _ *http.Request) {
		select {
		case <-down:
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.set(hook("books", r.URL))
	first := w.start()
	list := w.submit("alice", 30)
	w.end(message.StatusSigned, list[:10]...)
	w.until("some failures", func() bool { return first.count(webhook.Failed) > 3 })
	first.stop()
	w.end(message.StatusSigned, list[10:20]...) // nobody hears of these
	close(down)
	w.start()
	w.end(message.StatusSigned, list[20:]...)
	w.until("every outcome", func() bool { return w.tasks("true") == 0 })
	if n := r.deduplicated(); n != 30 {
		t.Errorf("%d outcomes were told, want 30", n)
	}
}

// An instance that stops does not wait for a receiver that does not answer.
func TestStopsInTime(t *testing.T) {
	w := newWorld(t)
	r := w.receive(silent)
	w.set(hook("books", r.URL))
	one := w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the first attempt", func() bool { return len(r.all()) == 1 })
	begun := time.Now()
	one.stop()
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if w.tasks("state = 0") != 1 {
		t.Error("the task was not given back")
	}
}

// Of two instances either tells an outcome, and normally one of them alone.
func TestTwoInstances(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(hook("books", r.URL))
	one, two := w.start(), w.start()
	w.end(message.StatusSigned, w.submit("alice", 100)...)
	w.until("every outcome", func() bool { return w.tasks("true") == 0 })
	if n := r.deduplicated(); n != 100 {
		t.Errorf("%d outcomes were told, want 100", n)
	}
	if n := one.count(webhook.Delivered) + two.count(webhook.Delivered); n != 100 || len(r.all()) != 100 {
		t.Errorf("%d messages, %d counted, want 100", len(r.all()), n)
	}
}

// A document adds webhooks and removes them, without a restart.
func TestDocumentChanges(t *testing.T) {
	w := newWorld(t)
	old, added := w.receive(nil), w.receive(nil)
	w.set(hook("old", old.URL))
	w.start()
	open := w.submit("alice", 2)
	w.set(hook("old", old.URL), hook("added", added.URL))
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("both were told", func() bool { return len(old.all()) == 1 && len(added.all()) == 1 })
	w.set(hook("added", added.URL))
	w.until("the tasks of the removed one", func() bool {
		return w.tasks("consumer = 'webhook:old' AND state = 2 AND note = 'the policy document names this webhook no more'") == 2
	})
	w.end(message.StatusSigned, open...)
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the one that is left", func() bool { return len(added.all()) == 2 })
	time.Sleep(soon)
	if n := len(old.all()); n != 1 {
		t.Errorf("the removed webhook was told %d outcomes", n)
	}
}

// withoutKey is a proposer whose branch files are older than webhooks.
type withoutKey struct{}

func (withoutKey) WebhookSecrets(string) ([]*secrets.Secret, error) {
	return nil, secrets.ErrNoWebhookKey
}

func TestWithoutKey(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(hook("books", r.URL))
	w.keys = withoutKey{}
	one := w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("an error in the log", func() bool { return strings.Contains(w.logs.String(), "no webhook branch") })
	time.Sleep(3 * soon)
	one.stop()
	if w.tasks("state < 2") != 1 || len(r.all()) != 0 {
		t.Fatal("the task is gone, or something was told unsigned")
	}
	w.keys = w.db.Deployment.Keyrings["proposer"]
	w.start()
	w.until("the outcome", func() bool { return len(r.all()) == 1 })
}

// rotating holds two generations' secrets.
type rotating []*secrets.Secret

func (r rotating) WebhookSecrets(string) ([]*secrets.Secret, error) { return r, nil }

// While secrets change, receivers that know either take a message.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	w.set(hook("books", r.URL))
	keys, err := w.db.Deployment.Keyrings["proposer"].WebhookSecrets("books")
	w.must(err)
	w.keys = rotating{secrets.Generate(), keys[0]}
	w.start()
	w.end(message.StatusSigned, w.submit("alice", 1)...)
	w.until("the outcome", func() bool { return len(r.all()) == 1 })
	m := r.all()[0]
	signatures := strings.Split(m.header.Get("webhook-signature"), " ")
	if len(signatures) != 2 || signatures[0] == signatures[1] {
		t.Fatalf("signatures are %q", signatures)
	}
	m.header.Set("webhook-signature", signatures[1])
	w.genuine("books", m)
}

func TestConsumers(t *testing.T) {
	d := deploymenttest.New(t)
	active := d.Active(func(x *document.Document) {
		x.Webhooks = []document.Webhook{hook("a", "https://a.example/"), {ID: "b", URL: "https://b.example/", Users: []string{"alice"}}}
	})
	for user, want := range map[string][]string{"alice": {"webhook:a", "webhook:b"}, "carol": {"webhook:a"}} {
		if got := webhook.Consumers(active, user); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", user, got, want)
		}
	}
	if got := webhook.Consumers(nil, "alice"); got != nil {
		t.Errorf("without a document: %v", got)
	}
	if got := fmt.Sprint(webhook.Consumers(d.Active(nil), "alice")); got != "[]" {
		t.Errorf("without webhooks: %v", got)
	}
}
