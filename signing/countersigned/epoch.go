package countersigned

import (
	"context"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/trust/attestation"
)

// ErrNoPolicy says that no policy document is active yet.
var ErrNoPolicy = errors.New("no policy document is active")

// Hello is one role's hello of an epoch, ready to be published.
type Hello struct {
	Role    string
	Epoch   message.EpochID
	Compact []byte // JWS HS256 under key hello/<role>
	Expires time.Time
}

// epoch is one HPKE key pair and the keys that were announced to it. Whoever
// holds the read lock may use its channels; end takes the write lock, which
// drains them, and wipes.
type epoch struct {
	id         message.EpochID
	generation int
	policy     message.PolicyRef
	issued     time.Time // as the hellos say, whole seconds
	expires    time.Time
	opened     time.Duration           // monotonic
	hellos     map[string]message.Hash // by role: the SHA-256 of the compact JWS

	mu      sync.RWMutex
	private hpke.PrivateKey       // nil after the end
	members map[string]*member    // by thumbprint, expired ones included
	taken   map[message.Hash]bool // announcements that were accepted
	count   map[string]int        // members by role
}

// member is one announced key: a policy instance's voice in one epoch.
type member struct {
	role     string
	instance string
	kid      string
	key      []byte // Ed25519 public key
	expires  time.Time
	ends     time.Duration // monotonic
	channel  *hpkeshare.Channel
}

// OpenEpoch opens a new epoch under the active policy and returns a hello for
// each role of the genesis. Epochs of another policy version end at once:
// their keys were announced, and their approvals given, under that one.
func (v *Verifier) OpenEpoch(ctx context.Context) ([]Hello, error) {
	active := v.cfg.Policy()
	if active == nil {
		return nil, ErrNoPolicy
	}
	private, public, err := hpkeshare.NewEpochKey()
	if err != nil {
		return nil, fmt.Errorf("opening epoch: %w", err)
	}
	issued := message.At(v.cfg.Now())
	e := &epoch{
		generation: v.cfg.Keyring.Generation(), policy: active.Ref,
		issued: issued.Time, expires: issued.Add(MaxLifetime), opened: v.cfg.Elapsed(),
		hellos: map[string]message.Hash{}, private: private,
		members: map[string]*member{}, taken: map[message.Hash]bool{}, count: map[string]int{},
	}
	rand.Read(e.id[:]) // never returns an error (crypto/rand)
	hellos, err := v.hellos(ctx, e, public)
	if err != nil {
		return nil, fmt.Errorf("opening epoch: %w", err)
	}
	v.mu.Lock()
	v.epochs = append(v.epochs, e)
	if (v.first == message.PolicyRef{}) {
		v.first = e.policy
	}
	v.mu.Unlock()
	v.Sweep()
	return hellos, nil
}

func (v *Verifier) hellos(ctx context.Context, e *epoch, public []byte) ([]Hello, error) {
	var out []Hello
	for _, role := range v.cfg.Genesis.Roles {
		h := message.Hello{
			Origin: message.Origin{Version: message.Version, Deployment: v.cfg.Deployment, Generation: e.generation},
			Role:   role, Instance: v.cfg.Instance, Epoch: e.id, HPKEKey: public, Policy: e.policy,
			Issued: message.At(e.issued), Expires: message.At(e.expires),
		}
		compact, err := v.hello(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("hello to %s: %w", role, err)
		}
		e.hellos[role] = message.Sum(compact)
		out = append(out, Hello{Role: role, Epoch: e.id, Compact: compact, Expires: e.expires})
	}
	return out, nil
}

func (v *Verifier) hello(ctx context.Context, h message.Hello) ([]byte, error) {
	nonce, err := attestation.HelloNonce(h)
	if err != nil {
		return nil, err
	}
	if h.Attestation, err = v.cfg.Attester.Attest(ctx, nonce); err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	purpose := secrets.Hello(h.Role)
	key, err := v.cfg.Keyring.Key(purpose, h.Generation)
	if err != nil {
		return nil, err
	}
	return message.SignMAC(message.TypHello, secrets.KeyID(purpose, h.Generation), key.Bytes(), h)
}

// Epochs returns the ids of the live epochs, oldest first.
func (v *Verifier) Epochs() []message.EpochID {
	var out []message.EpochID
	for _, e := range v.live() {
		out = append(out, e.id)
	}
	return out
}

// FirstPolicy returns the policy of the first epoch: whoever decided under a later
// one names an epoch of this instance.
func (v *Verifier) FirstPolicy() message.PolicyRef {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.first
}

// Renew reports whether a new epoch should be opened: there is none, the
// newest is RenewAfter old, or the active policy is not the newest's. It is
// false while no policy is active.
func (v *Verifier) Renew() bool {
	active := v.cfg.Policy()
	if active == nil {
		return false
	}
	live := v.live()
	if len(live) == 0 {
		return true
	}
	newest := live[len(live)-1]
	return newest.policy != active.Ref ||
		v.cfg.Elapsed()-newest.opened >= RenewAfter ||
		v.cfg.Now().Sub(newest.issued) >= RenewAfter
}

// Silent returns the roles that have no usable key in any live epoch: while
// there is one, nothing can be signed.
func (v *Verifier) Silent() []string {
	speaking := map[string]bool{}
	for _, e := range v.live() {
		e.mu.RLock()
		for _, m := range e.members {
			if v.usable(m) {
				speaking[m.role] = true
			}
		}
		e.mu.RUnlock()
	}
	return slices.DeleteFunc(slices.Clone(v.cfg.Genesis.Roles), func(r string) bool { return speaking[r] })
}

// Sweep ends the epochs whose time or policy is over: it waits until nobody
// uses their channels, and wipes them. It wipes expired keys too.
func (v *Verifier) Sweep() {
	v.mu.Lock()
	var over []*epoch
	v.epochs = slices.DeleteFunc(v.epochs, func(e *epoch) bool {
		if v.isLive(e) {
			return false
		}
		over = append(over, e)
		return true
	})
	live := slices.Clone(v.epochs)
	v.mu.Unlock()
	for _, e := range over {
		e.end()
	}
	for _, e := range live {
		v.wipeExpired(e)
	}
}

// Close ends all epochs.
func (v *Verifier) Close() {
	v.mu.Lock()
	over := v.epochs
	v.epochs = nil
	v.mu.Unlock()
	for _, e := range over {
		e.end()
	}
}

func (v *Verifier) live() []*epoch {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []*epoch
	for _, e := range v.epochs {
		if v.isLive(e) {
			out = append(out, e)
		}
	}
	return out
}

// isLive judges by both clocks and by the active policy, at this moment: a
// sweep that comes late lets nothing live longer.
func (v *Verifier) isLive(e *epoch) bool {
	active := v.cfg.Policy()
	now := v.cfg.Now()
	return active != nil && active.Ref == e.policy &&
		now.Before(e.expires) && now.After(e.issued.Add(-Skew)) &&
		v.cfg.Elapsed()-e.opened < MaxLifetime
}

func (v *Verifier) usable(m *member) bool {
	return v.cfg.Now().Before(m.expires) && v.cfg.Elapsed() < m.ends
}

// wipeExpired wipes the channels of the keys that are over by the clock that
// nobody sets. A wall clock that jumped ahead may come back, and then a key is
// needed again, since it is announced to an epoch only once. The members stay, so
// that a replayed announcement finds its key spent.
func (v *Verifier) wipeExpired(e *epoch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.members {
		if v.cfg.Elapsed() >= m.ends {
			m.channel.Wipe()
		}
	}
}

func (e *epoch) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.private = nil
	for _, m := range e.members {
		m.channel.Wipe()
	}
	clear(e.members)
}
