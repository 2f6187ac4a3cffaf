package proposer_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
)

// BenchmarkPropose is what the proposer itself costs per request: everything
// but TLS handshakes, the queue and the client's own signature.
func BenchmarkPropose(b *testing.B) {
	back, _ := memoryBackend(b)
	w := start(b, back, nil)
	token, client := w.token(deploymenttest.User, nil), w.client(false)
	requests := make([]*http.Request, b.N)
	for i := range requests {
		requests[i] = w.signed(w.statement(), w.d.UserKey, token)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, r := range requests {
		response, err := client.Do(r)
		must(b, err)
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}
