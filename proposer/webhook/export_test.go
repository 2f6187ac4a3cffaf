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
	err := post(ctx, cfg, to)
	if err == nil {
		return ""
	}
	return cause(err)
}

// Asked sends one message and returns for how long the receiver wants to be left
// alone.
func Asked(ctx context.Context, cfg HTTP, to string, now time.Time) time.Duration {
	return asked(post(ctx, cfg, to), now)
}

func post(ctx context.Context, cfg HTTP, to string) error {
	p := newPoster(cfg)
	defer p.close()
	m, err := sign([]*secrets.Secret{secrets.Generate()}, "id", time.Now(), []byte(`{"type":"","timestamp":"2026-11-21T12:00:00Z","data":{"request":"","kind":"","wallet":"","account":"","status":"","reasons":[],"result":""}}`))
	if err != nil {
		return err
	}
	return p.post(ctx, to, m)
}

// Allows says whether an address may be connected to.
func Allows(cfg HTTP, addr netip.Addr) bool { return newPoster(cfg).allows(addr) }

// RetryAfter is the delay after a failure.
func RetryAfter(age time.Duration) time.Duration { return retryAfter(age, firstRetry) }

// Heeded is the delay after a failure whose answer asked for one.
func Heeded(asked, age time.Duration) time.Duration {
	return heed(asked, retryAfter(age, firstRetry), firstRetry)
}

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
