package token

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

var (
	errNotHTTPS = errors.New("not an https URL")
	errStatus   = errors.New("the issuer answered with another status than 200")
)

// newClient returns the client for one issuer: TLS with verified certificates,
// through HTTPS_PROXY where the environment names one. The calls' contexts bound
// their time.
func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{Transport: plain{&http.Transport{
		Proxy: http.ProxyFromEnvironment,
		// Identity providers are other people's, and many speak no TLS 1.3 yet.
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // so that what is bounded is what is read
		IdleConnTimeout:        10 * time.Second,
	}}}
}

// plain lets through nothing but an answer that came over TLS, with status 200
// and at most maxDocument bytes. A redirect is not such an answer: none is ever
// followed, so that the issuer's own name stands for all that is read.
type plain struct{ next http.RoundTripper }

// RoundTrip makes one call.
func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errNotHTTPS
	}
	response, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%w: %d", errStatus, response.StatusCode)
	}
	response.Body = http.MaxBytesReader(nil, response.Body, maxDocument)
	return response, nil
}

// fetch reads the discovery document, which must name the very issuer (OpenID
// Connect Discovery 1.0 section 4.3), and then the key set that it names. Both
// are read each time: an issuer may move its keys.
func fetch(ctx context.Context, client *http.Client, issuer string) (set *keySet, wrong, err error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("discovery: %w", err)
	}
	var doc struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&doc); err != nil {
		return nil, nil, fmt.Errorf("discovery: %w", err)
	}
	b, err := get(ctx, client, doc.Keys)
	if err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	if set, wrong, err = parseKeySet(b); err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	return set, wrong, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("Cache-Control", "no-cache")
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// maxError bounds what an issuer can make us log.
const maxError = 300

// brief returns an error's text, bounded and on one line.
func brief(err error) string {
	text := strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "?"), "\n", "; ")
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "..."
	}
	return text
}
