package fraud_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/fraud"
)

// FuzzReplay: no record breaks the fold, and one that is accepted is accepted
// again after any other.
func FuzzReplay(f *testing.F) {
	h := message.Sum([]byte("e")).String()
	good := []byte(`{"version":1,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[{"asset":"a","amount":"1"}]}`)
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("2026"), []byte("9999"), 1))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := fraud.New(nil)
		for _, b := range [][]byte{good, body, good, body} {
			if err := d.Replay(b); err != nil && bytes.Equal(b, good) {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkDecide decides for a wallet that has moved 10,000 times today.
func BenchmarkDecide(b *testing.B) {
	w := newWorld(b, limits([3]string{"eip155:1/slip44:60", most, most}))
	for i := range 10000 {
		q := w.bare(1, start)
		q.Now = start.Add(time.Duration(i) * time.Second)
		w.decide(b, q)
	}
	q := w.bare(1, start.Add(10000*time.Second))
	b.ReportAllocs()
	for b.Loop() {
		if d := w.decide(b, q); len(d.Records) != 1 {
			b.Fatalf("got %+v", d)
		}
	}
}
