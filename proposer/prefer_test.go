package proposer_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/proposer"
)

func TestPreferredWait(t *testing.T) {
	const none, bad = -1, -2
	for header, want := range map[string]int{
		"wait=10": 10, "WAIT=10": 10, "wait = 10": 10, "wait\t=\t10": 10, `wait="10"`: 10, `wait="1\0"`: 10, "wait=007": 7, "wait=0": 0,
		"wait=61": 60, "wait=9999999999": 60, "wait=99999999999999999999999999": 60,
		"respond-async, wait=10": 10, "respond-async;x=1,wait=10;y=2": 10, ",, wait=10": 10, "wait=10, wait=20": 10, "wait=10, wait=x": 10,
		`foo="a,wait=1,b"`: none, `foo="a,wait=1,b", wait=10`: 10, `foo="\",wait=1", wait=10`: 10, `foo="\\", wait=10`: 10, `foo=1; bar="x,wait=1"`: none,
		`foo;wait=1`: none, `foo="a;wait=1"`: none, `foo="unended, wait=1`: none, "waiting=1": none, "await=1": none, "": none, "return=minimal": none,
		"wait": bad, "wait=": bad, `wait=""`: bad, "wait=soon": bad, "wait=-1": bad, "wait=+1": bad, "wait=1.5": bad, "wait=1s": bad, "wait=1 0": bad,
		"wait=99999999999999999999x": bad, `wait="10`: bad, "wait=0x10": bad, "wait=1_0": bad, "wait=\u00b2": bad,
	} {
		got, asked, err := proposer.PreferredWait(http.Header{"Prefer": {"x", header}}, time.Minute)
		switch {
		case (err != nil) != (want == bad) || asked != (want >= 0):
			t.Errorf("%q: asked %v, %v", header, asked, err)
		case want >= 0 && got != time.Duration(want)*time.Second:
			t.Errorf("%q: %v, want %d s", header, got, want)
		}
	}
}

// TestPreferenceApplied: the header says what was done of what was asked for, and
// nothing where nothing was (RFC 7240 section 3).
func TestPreferenceApplied(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Wait = time.Second })
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	t.Run("calls", func(t *testing.T) {
		for header, want := range map[string]string{"": "", "wait=0": "", `foo="a,wait=1,b"`: "", "wait=1": "wait=1", "wait=9999999999": "wait=1"} {
			for name, call := range map[string]func() answer{
				"show":   func() answer { return w.get("/v1/requests/"+id, w.token(deploymenttest.User, nil), "Prefer", header) },
				"cancel": func() answer { return w.cancel(id, deploymenttest.User, "Prefer", header) },
			} {
				t.Run(name+"/"+header, func(t *testing.T) {
					t.Parallel()
					if a := call(); a.status >= 400 || a.header.Get("Preference-Applied") != want {
						t.Errorf("answered with %d, applied %q", a.status, a.header.Get("Preference-Applied"))
					}
				})
			}
		}
	})
	if m.cancellations() != 5 {
		t.Errorf("%d cancellations", m.cancellations())
	}
}

// TestCancelWaitsUnlessTold: a call that says nothing waits for the end; one that
// wants no wait is answered at once.
func TestCancelWaitsUnlessTold(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Wait = 300 * time.Millisecond })
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	took := func(header ...string) time.Duration {
		began := time.Now()
		wantRequest(t, w.cancel(id, deploymenttest.User, header...), http.StatusAccepted)
		return time.Since(began)
	}
	if d := took(); d < 300*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
	for range 3 { // the machine may be slow once
		if took("Prefer", "wait=0") < 300*time.Millisecond {
			return
		}
	}
	t.Error("it waits though no wait is wanted")
}
