package token_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/proposer/token"
)

// storm is what strangers get.
type storm struct {
	refused, untold atomic.Int64 // refusals, and answers to come again
}

// rage sends tokens with made-up kids from many callers.
func (st *storm) rage(t *testing.T, r running, issuer string, callers, each int) {
	t.Helper()
	key := ed(t, "")
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for n := range each {
				s := signer{fmt.Sprintf("stranger-%d-%d", caller, n), key.alg, key.key}
				switch _, err := r.verify(s.token(t, issuer, nil)); {
				case err == nil:
					t.Error("a stranger was let in")
				case errors.Is(err, token.ErrKeysUnavailable):
					st.untold.Add(1)
				default:
					st.refused.Add(1)
				}
			}
		})
	}
	all.Wait()
}

// TestAttackUnknownKidStorm sends thousands of tokens with made-up kids: the
// issuer is asked at most once in Timing.Pause, and everybody gets a refusal.
func TestAttackUnknownKidStorm(t *testing.T) {
	t.Parallel()
	s := ed(t, "ed")
	p := newProvider(t, s)
	timing := quick
	timing.Pause = time.Second
	r := run(t, timing, p.issuer())
	r.accepts(s.token(t, p.url, nil))
	began := time.Now()
	var got storm
	got.rage(t, r, p.url, 20, 100)
	most := 2 + int64(time.Since(began)/timing.Pause) // the first reading, and one for the storm
	if n := p.keysRead.Load(); n > most || p.asked.Load() > most {
		t.Errorf("%d unknown kids made %d readings in %v", got.refused.Load(), n, time.Since(began))
	}
	if n := got.untold.Load(); n != 0 {
		t.Errorf("%d got no answer", n)
	}
	time.Sleep(timing.Pause) // then the next one causes exactly one
	before, began := p.keysRead.Load(), time.Now()
	got.rage(t, r, p.url, 20, 5)
	most = 1 + int64(time.Since(began)/timing.Pause)
	if n := p.keysRead.Load() - before; n < 1 || n > most {
		t.Errorf("a new storm of %v makes %d readings, want 1", time.Since(began), n)
	}
}

// TestAttackStormWhileTheIssuerHangs sends them while the issuer does not
// answer: users with known keys do not notice, and strangers do not pile up.
func TestAttackStormWhileTheIssuerHangs(t *testing.T) {
	t.Parallel()
	s := ed(t, "ed")
	p := newProvider(t, s)
	timing := quick
	timing.Fetch, timing.Wait = 4*patience, 2*patience
	r := run(t, timing, p.issuer())
	compact := s.token(t, p.url, nil)
	r.accepts(compact)
	time.Sleep(timing.Pause)
	end := make(chan struct{})
	p.answers(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
			answer(p.document(nil))(w, r)
		case <-r.Context().Done():
		}
	}, nil)
	const callers, mayWait = 1000, 256
	var strangers sync.WaitGroup
	var got storm
	strangers.Go(func() { got.rage(t, r, p.url, callers, 1) })
	eventually(t, "those who are too many go away", func() bool { return got.untold.Load() == callers-mayWait })
	for n := range 200 {
		began := time.Now()
		r.accepts(compact)
		r.accepts(s.token(t, p.url, func(c map[string]any) { c["jti"] = n }))
		if took := time.Since(began); took > patience {
			t.Fatalf("a user waited %v for strangers", took)
		}
	}
	if n := p.asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
	close(end)
	strangers.Wait()
	// The issuer has answered: now those who waited can be told.
	if got.refused.Load() != mayWait || got.untold.Load() != callers-mayWait {
		t.Errorf("%d were refused, %d told to come again", got.refused.Load(), got.untold.Load())
	}
}

// TestAttackStormOfOtherIssuers names issuers that nobody has configured: no
// address that a token brings is ever called.
func TestAttackStormOfOtherIssuers(t *testing.T) {
	s := ed(t, "ed")
	p, other := newProvider(t, s), newProvider(t, s)
	r := run(t, quick, p.issuer())
	r.accepts(s.token(t, p.url, nil))
	for range 100 {
		r.refuses(s.token(t, other.url, nil))
		r.refuses(s.token(t, p.url+"/other", nil))
	}
	if n := other.asked.Load() + other.keysRead.Load(); n != 0 {
		t.Errorf("another issuer was asked %d times", n)
	}
	if n := p.keysRead.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}
