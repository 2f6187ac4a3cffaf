package webhook

import (
	"context"
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/countersign/countersign/secrets"
)

// Post sends one message and returns the cause of its failure, empty if there is
// none.
func Post(ctx context.Context, cfg HTTP, to string) string {
	p := newPoster(cfg)
	defer p.close()
	m, err := sign([]*secrets.Secret{secrets.Generate()}, "id", time.Now(), []byte(`{"type":"","timestamp":"2026-11-21T12:00:00Z","data":{"request":"","kind":"","wallet":"","account":"","status":"","reasons":[],"result":""}}`))
	if err == nil {
		err = p.post(ctx, to, m)
	}
	if err == nil {
		return ""
	}
	return cause(err)
}

// Allows says whether an address may be connected to.
func Allows(cfg HTTP, addr netip.Addr) bool { return newPoster(cfg).allows(addr) }

// RetryAfter is the delay after a failure.
func RetryAfter(age time.Duration) time.Duration { return retryAfter(age, firstRetry) }

// Sign signs with one secret, in base64.
func Sign(t *testing.T, secret, id string, at time.Time, body []byte) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	m, err := sign([]*secrets.Secret{secrets.NewSecret(key)}, id, at, body)
	if err != nil {
		t.Fatal(err)
	}
	return m.signature
}
