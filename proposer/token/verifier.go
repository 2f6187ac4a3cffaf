package token

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Issuer is one issuer of access tokens.
type Issuer struct {
	// Name is the issuer identifier, exactly as its tokens name it (iss). Where
	// the keys are found by discovery it is an https URL.
	Name string
	// Audiences are the names of this API: a token must be for one of them.
	Audiences []string
	// KeyFile is the path of the issuer's key set (JWKS, RFC 7517). "": the keys
	// are found by OpenID Connect Discovery.
	KeyFile string
	// Roots verify the TLS certificates of discovery; nil: the system's.
	Roots *x509.CertPool
}

// Config says whose tokens are accepted.
type Config struct {
	Issuers []Issuer
	Timing  Timing
	Log     *slog.Logger // nil: no logs
}

// Timing says how often issuers are asked and for how long their answers count.
// A zero field takes its default.
type Timing struct {
	// Refresh lies at most between two readings of an issuer's keys: for so long
	// a key may still be used after its issuer has taken it away. 5 min.
	Refresh time.Duration
	// Pause is the least time between two readings that tokens with unknown keys
	// cause, however many they are; 10 s.
	Pause time.Duration
	// Stale is for how long keys count when the issuer cannot be asked; 1 h,
	// longer than access tokens live.
	Stale time.Duration
	// Retry is the pause after a failed reading. It doubles with each failure up
	// to a minute; 1 s.
	Retry time.Duration
	// Fetch is how long one reading may take; 5 s.
	Fetch time.Duration
	// Wait is how long a token with an unknown key waits for a reading; 3 s.
	Wait time.Duration
	// Poll lies between two looks at a key file; 5 s.
	Poll time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, field := range []struct {
		of    *time.Duration
		value time.Duration
	}{
		{&t.Refresh, 5 * time.Minute}, {&t.Pause, 10 * time.Second}, {&t.Stale, time.Hour}, {&t.Retry, time.Second},
		{&t.Fetch, 5 * time.Second}, {&t.Wait, 3 * time.Second}, {&t.Poll, 5 * time.Second},
	} {
		if *field.of <= 0 {
			*field.of = field.value
		}
	}
	return t
}

// Verifier verifies access tokens. It is safe for concurrent use.
type Verifier struct {
	issuers map[string]*issuer // by name
	memory  memory
}

// issuer is an issuer with its keys.
type issuer struct {
	url       string
	audiences []string
	keys      source
}

// source has the keys of one issuer. It is safe for concurrent use, and current
// and state never wait.
type source interface {
	// current returns the keys that count now; nil: none are known.
	current() *keySet
	// renew is called for a key that current lacks. When it returns nil, current
	// is as new as one may ask for; otherwise nobody can tell what the issuer's
	// keys are now.
	renew(ctx context.Context) error
	// run keeps the keys up to date until ctx ends.
	run(ctx context.Context)
	state() State
}

// State says how it stands with the keys of one issuer.
type State struct {
	// Keys is how many keys count now.
	Keys int
	// Read is when they were last read; zero: never.
	Read time.Time
	// Failing says that the last attempt to read them failed.
	Failing bool
}

// New checks the configuration, reporting every fault at once, and reads the
// key files. Discovery begins with Run: an issuer that is down holds up nobody.
func New(cfg Config) (*Verifier, error) {
	log, timing := cfg.Log, cfg.Timing.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{issuers: map[string]*issuer{}}
	var faults []error
	for _, i := range cfg.Issuers {
		if _, twice := v.issuers[i.Name]; twice {
			faults = append(faults, fmt.Errorf("issuer %q stands twice", i.Name))
			continue
		}
		keys, err := i.source(timing, log.With("issuer", i.Name))
		if err != nil {
			faults = append(faults, fmt.Errorf("issuer %q: %w", i.Name, err))
		}
		v.issuers[i.Name] = &issuer{url: i.Name, audiences: slices.Clone(i.Audiences), keys: keys}
	}
	if len(cfg.Issuers) == 0 {
		faults = append(faults, errors.New("there is no issuer"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("access tokens: %w", err)
	}
	return v, nil
}

func (i Issuer) source(timing Timing, log *slog.Logger) (source, error) {
	switch {
	case i.Name == "":
		return nil, errors.New("its name is missing")
	case len(i.Audiences) == 0 || slices.Contains(i.Audiences, ""):
		return nil, errors.New("an audience is missing")
	case i.KeyFile != "" && i.Roots != nil:
		return nil, errors.New("a key file needs no TLS roots")
	case i.KeyFile != "":
		return openKeyFile(i.KeyFile, timing, log)
	}
	if err := checkURL(i.Name); err != nil {
		return nil, err
	}
	return newDiscovery(i.Name, i.Roots, timing, log), nil
}

// checkURL accepts the URL of an issuer (OpenID Connect Discovery 1.0 section
// 3, RFC 8414 section 2) or of its keys.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Opaque != "" || u.User != nil {
		return errNotHTTPS
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New("an issuer's URL has no query and no fragment")
	}
	return nil
}

// Run keeps the keys of all issuers up to date until ctx ends.
func (v *Verifier) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, i := range v.issuers {
		g.Go(func() error { i.keys.run(ctx); return nil })
	}
	_ = g.Wait()
	return ctx.Err()
}

// Ready returns nil if at least one issuer has keys, so that a token could let
// somebody in.
func (v *Verifier) Ready() error {
	for _, i := range v.issuers {
		if i.keys.current().len() > 0 {
			return nil
		}
	}
	return ErrKeysUnavailable
}

// Issuers returns the names of the issuers, sorted.
func (v *Verifier) Issuers() []string { return slices.Sorted(maps.Keys(v.issuers)) }

// State returns the state of one issuer's keys; of an issuer that there is not,
// the zero value.
func (v *Verifier) State(name string) State {
	i, ok := v.issuers[name]
	if !ok {
		return State{}
	}
	return i.keys.state()
}

// key returns the key with an id, and the set in which it stands.
func (i *issuer) key(ctx context.Context, kid string) (*keySet, verifyKey, error) {
	set := i.keys.current()
	if key, ok := set.key(kid); ok {
		return set, key, nil
	}
	if err := i.keys.renew(ctx); err != nil {
		return nil, verifyKey{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	set = i.keys.current()
	if set == nil {
		return nil, verifyKey{}, ErrKeysUnavailable
	}
	key, ok := set.key(kid)
	if !ok {
		return nil, verifyKey{}, errKey
	}
	return set, key, nil
}
