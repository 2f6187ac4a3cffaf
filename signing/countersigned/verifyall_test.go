package countersigned_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// kindsOfCases are one case for each ruling, and what it is to be.
func (w *world) kindsOfCases() (cases []countersigned.Case, want []countersigned.Ruling) {
	w.t.Helper()
	add := func(ruling countersigned.Ruling, asked policytest.Asked, replies []countersigned.Reply) {
		cases = append(cases, countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: replies})
		want = append(want, ruling)
	}
	good := w.transfer()
	add(countersigned.Countersigned, good, w.approvals(good, ""))
	lacking := w.transfer()
	add(countersigned.Incomplete, lacking, w.approvals(lacking, "")[:2])
	add(countersigned.Incomplete, w.transfer(), w.approvals(good, ""))
	refused := w.transfer()
	add(countersigned.Rejected, refused, append(w.approvals(refused, ""),
		reply(w.roles["fraud"].Reject(refused, w.clock.Now(), "denied"))))
	late := w.askStatement(w.d.Statement(message.KindEthereumTransaction, w.wallet, w.account,
		jsontext.Value(transferPayload), w.clock.Now().Add(-time.Second)))
	add(countersigned.Expired, late, w.approvals(late, ""))
	statement := w.d.Statement(message.KindEthereumTransaction, w.wallet, w.account,
		jsontext.Value(transferPayload), w.clock.Now().Add(time.Hour))
	unsigned := w.askEnvelope(w.d.Envelope(statement, deploymenttest.Key(w.t), w.clock.Now()))
	add(countersigned.Rejected, unsigned, w.approvals(unsigned, ""))
	add(countersigned.Incomplete, policytest.Asked{ID: good.ID, Envelope: []byte("junk")}, nil)
	return cases, want
}

// TestVerifyAll: a case's finding depends neither on the others' nor on the
// number of processors.
func TestVerifyAll(t *testing.T) {
	w := newWorld(t)
	cases, want := w.kindsOfCases()
	for _, processors := range []int{1, 2, 8} {
		before := runtime.GOMAXPROCS(processors)
		together := w.v.VerifyAll(t.Context(), cases)
		for i, c := range cases {
			alone := w.v.VerifyAll(t.Context(), []countersigned.Case{c})[0]
			for _, e := range []countersigned.Examined{together[i], alone} {
				if e.Err != nil || e.Finding.Ruling != want[i] || (e.Finding.Request != nil) != (want[i] == countersigned.Countersigned) {
					t.Errorf("case %d with %d processors: ruling %d, want %d; %v %v",
						i, processors, e.Finding.Ruling, want[i], e.Finding.Reasons, e.Err)
				}
			}
		}
		runtime.GOMAXPROCS(before)
	}
	if got := w.v.VerifyAll(t.Context(), nil); len(got) != 0 {
		t.Errorf("%d findings for no case", len(got))
	}
}
