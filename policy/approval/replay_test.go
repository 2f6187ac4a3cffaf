package approval_test

import (
	"testing"

	"github.com/countersign/countersign/policy/approval"
)

// FuzzReplay: no record breaks the fold.
func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"version":1,"envelope":"00","vote":"a.b.c","expires":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := approval.New(nil)
		for range 2 {
			_ = d.Replay(body)
		}
	})
}
