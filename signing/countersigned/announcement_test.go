package countersigned_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// wantSilent fails unless the role has no usable key.
func wantSilent(t *testing.T, w *world, role string) {
	t.Helper()
	for _, r := range w.v.Silent() {
		if r == role {
			return
		}
	}
	t.Errorf("%s has a usable key", role)
}

func opened(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t)
	w.open()
	return w
}

func decodeAnnouncement(t *testing.T, compact []byte) message.Announcement {
	t.Helper()
	var a message.Announcement
	must(t, message.Peek(compact, &a))
	return a
}

func TestAttackInjectedPolicyKey(t *testing.T) {
	w := opened(t)
	genuine := w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now())
	a := decodeAnnouncement(t, genuine)
	a.PublicKey = deploymenttest.JWK(t, deploymenttest.Key(t))
	kid := secrets.KeyID(secrets.Announce("fraud"), 1)
	made, err := message.SignMAC(message.TypAnnouncement, kid, bytes.Repeat([]byte("guess!"), 6)[:32], a)
	must(t, err)
	if err := w.v.Announcement(t.Context(), made); !errors.Is(err, message.ErrSignature) {
		t.Errorf("made-up MAC: got %v, want ErrSignature", err)
	}
	wantSilent(t, w, "fraud")
	// An approval by a key that was never announced is nobody's.
	w = newWorld(t)
	asked := w.transfer()
	replies := w.approvals(asked, "")
	stranger := *w.roles["fraud"]
	stranger.Key = deploymenttest.Key(t)
	replies[1] = reply(stranger.Approve(asked, w.clock.Now()))
	wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", countersigned.CodeMissing)
}

func TestAttackAnnouncementWithOtherSecrets(t *testing.T) {
	w := opened(t)
	other := deploymenttest.New(t)
	tests := []struct {
		name          string
		build, deploy secrets.SecretFile
		deployment    message.Hash
		accepted      bool
	}{
		{"ok/both-halves", w.d.Build, w.d.Deploy, w.d.ID, true},
		{"fail/another-deployments-secrets", other.Build, other.Deploy, w.d.ID, false},
		{"fail/another-deployments-id", w.d.Build, w.d.Deploy, other.ID, false},
		{"fail/build-half-alone", w.d.Build, other.Deploy, w.d.ID, false},
		{"fail/deploy-half-alone", other.Build, w.d.Deploy, w.d.ID, false},
		{"fail/halves-swapped", swapped(w.d.Deploy, secrets.HalfBuild), swapped(w.d.Build, secrets.HalfDeploy), w.d.ID, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			role := policytest.New(t, w.d, "fraud")
			a := decodeAnnouncement(t, role.Announce(w.hellos["fraud"], w.clock.Now()))
			role.Keyring = keyring(t, tt.deployment, w.d.Genesis.Roles, tt.build, tt.deploy)
			err := w.v.Announcement(t.Context(), role.MAC(a))
			if tt.accepted && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !tt.accepted && !errors.Is(err, message.ErrSignature) {
				t.Errorf("got %v, want ErrSignature", err)
			}
		})
	}
}

func swapped(f secrets.SecretFile, half secrets.Half) secrets.SecretFile {
	f.Half = half
	return f
}

func keyring(t *testing.T, deployment message.Hash, roles []string, build, deploy secrets.SecretFile) *secrets.Keyring {
	t.Helper()
	b, err := build.Split("fraud", roles)
	must(t, err)
	d, err := deploy.Split("fraud", roles)
	must(t, err)
	k, err := secrets.NewKeyring(deployment, "fraud", roles, secrets.Pair{Build: b, Deploy: d})
	must(t, err)
	return k
}

func TestAttackReplayedAnnouncement(t *testing.T) {
	t.Run("fail/earlier-epoch", func(t *testing.T) {
		w := opened(t)
		old := w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now())
		w.clock.advance(countersigned.MaxLifetime)
		w.open()
		if err := w.v.Announcement(t.Context(), old); !errors.Is(err, countersigned.ErrEpoch) {
			t.Errorf("got %v, want ErrEpoch", err)
		}
		wantSilent(t, w, "fraud")
	})
	t.Run("fail/another-instance", func(t *testing.T) {
		w := opened(t)
		theirs := w.verifier("signing-2")
		hellos, err := theirs.OpenEpoch(t.Context())
		must(t, err)
		for _, h := range hellos {
			a := w.roles[h.Role].Announce(h.Compact, w.clock.Now())
			if err := w.v.Announcement(t.Context(), a); !errors.Is(err, countersigned.ErrEpoch) {
				t.Errorf("%s: got %v, want ErrEpoch", h.Role, err)
			}
		}
	})
	t.Run("fail/another-role", func(t *testing.T) {
		// The fraud service, with all its keys, answers the hello of another
		// role's place.
		w := opened(t)
		a := decodeAnnouncement(t, w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now()))
		a.Role = "authorization"
		a.Identity = w.roles["fraud"].SignIdentity(a.AnnouncementBody)
		err := w.v.Announcement(t.Context(), w.roles["fraud"].MAC(a))
		if !errors.Is(err, message.ErrHeader) {
			t.Errorf("got %v, want ErrHeader: the key id is the other role's", err)
		}
		wantSilent(t, w, "authorization")
	})
	t.Run("fail/after-its-lifetime", func(t *testing.T) {
		w := opened(t)
		short := w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now(), func(b *message.AnnouncementBody) {
			b.Expires = message.At(w.clock.Now().Add(time.Minute))
		})
		w.clock.advance(time.Minute)
		if err := w.v.Announcement(t.Context(), short); !errors.Is(err, countersigned.ErrTimes) {
			t.Errorf("got %v, want ErrTimes", err)
		}
		wantSilent(t, w, "fraud")
	})
	t.Run("fail/spent-key-after-the-clock-is-set-back", func(t *testing.T) {
		w := opened(t)
		short := w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now(), func(b *message.AnnouncementBody) {
			b.Expires = message.At(w.clock.Now().Add(time.Minute))
		})
		must(t, w.v.Announcement(t.Context(), short))
		w.clock.advance(time.Minute)
		wantSilent(t, w, "fraud")
		w.v.Sweep()
		w.clock.set(-time.Minute)
		must(t, w.v.Announcement(t.Context(), short)) // the same bytes: nothing happens
		wantSilent(t, w, "fraud")
	})
}

// TestAttackAlteredAnnouncement alters every field, once as the database can
// (under the old MAC) and once as one who has the MAC key but not the identity
// key.
func TestAttackAlteredAnnouncement(t *testing.T) {
	w := opened(t)
	role := w.roles["fraud"]
	genuine := role.Announce(w.hellos["fraud"], w.clock.Now())
	base := decodeAnnouncement(t, genuine)
	fields := alterations(reflect.TypeFor[message.Announcement](), "", nil)
	if len(fields) < 16 {
		t.Fatalf("only %d fields found", len(fields))
	}
	for _, f := range fields {
		t.Run("fail/"+f.name, func(t *testing.T) {
			a := base
			alter(reflect.ValueOf(&a).Elem().FieldByIndex(f.index))
			if err := w.v.Announcement(t.Context(), withPayload(t, genuine, a)); err == nil {
				t.Error("altered under the old MAC: accepted")
			}
			if err := w.v.Announcement(t.Context(), role.MAC(a)); err == nil {
				t.Error("altered under a new MAC: accepted")
			}
			wantSilent(t, w, "fraud")
		})
	}
	must(t, w.v.Announcement(t.Context(), genuine))
}

type field struct {
	name  string
	index []int
}

// alterations lists the leaves of a message, so that a field that is added
// later is altered too.
func alterations(typ reflect.Type, name string, index []int) []field {
	var out []field
	for i := range typ.NumField() {
		f := typ.Field(i)
		path := append(append([]int{}, index...), i)
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[message.Time]() {
			out = append(out, alterations(f.Type, name+f.Name+"-", path)...)
			continue
		}
		out = append(out, field{name + f.Name, path})
	}
	return out
}

func alter(v reflect.Value) {
	switch x := v.Interface().(type) {
	case int:
		v.SetInt(int64(x) + 1)
	case string:
		v.SetString(x + "x")
	case message.Bytes:
		y := append(message.Bytes{}, x...)
		if len(y) == 0 {
			y = message.Bytes{1}
		}
		y[0] ^= 1
		v.SetBytes(y)
	case message.Time:
		v.Set(reflect.ValueOf(message.At(x.Add(time.Second))))
	case message.Hash, message.EpochID:
		first := v.Index(0)
		first.SetUint(first.Uint() ^ 1)
	default:
		panic(fmt.Sprintf("field of type %T", x))
	}
}

// withPayload puts another payload under a compact JWS's header and MAC.
func withPayload(t *testing.T, compact []byte, v any) []byte {
	t.Helper()
	parts := bytes.Split(compact, []byte{'.'})
	payload, err := message.Encode(v)
	must(t, err)
	parts[1] = []byte(base64.RawURLEncoding.EncodeToString(payload))
	return bytes.Join(parts, []byte{'.'})
}

func TestAttackWrongIdentityKey(t *testing.T) {
	w := opened(t)
	role := w.roles["fraud"]
	role.Identity = deploymenttest.Key(t)
	if err := w.v.Announcement(t.Context(), role.Announce(w.hellos["fraud"], w.clock.Now())); !errors.Is(err, countersigned.ErrIdentity) {
		t.Errorf("key that the policy does not name: got %v, want ErrIdentity", err)
	}
	role.Identity = w.d.IdentityKey("approval")
	if err := w.v.Announcement(t.Context(), role.Announce(w.hellos["fraud"], w.clock.Now())); !errors.Is(err, countersigned.ErrIdentity) {
		t.Errorf("another role's identity key: got %v, want ErrIdentity", err)
	}
	wantSilent(t, w, "fraud")
}

func TestAttackOneKeyAnnouncedForTwoRoles(t *testing.T) {
	w := newWorld(t)
	thief := policytest.New(t, w.d, "approval")
	thief.Key = w.roles["fraud"].Key
	if err := w.v.Announcement(t.Context(), thief.Announce(w.hellos["approval"], w.clock.Now())); !errors.Is(err, countersigned.ErrKeyTaken) {
		t.Errorf("in the same epoch: got %v, want ErrKeyTaken", err)
	}
	w.clock.advance(countersigned.RenewAfter - 4*time.Minute)
	w.open()
	if err := w.v.Announcement(t.Context(), thief.Announce(w.hellos["approval"], w.clock.Now())); !errors.Is(err, countersigned.ErrKeyTaken) {
		t.Errorf("in the next epoch: got %v, want ErrKeyTaken", err)
	}
	must(t, w.v.Announcement(t.Context(), w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now())))
}

func TestAttackMessageOfAnotherTyp(t *testing.T) {
	w := opened(t)
	a := decodeAnnouncement(t, w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now()))
	key, err := w.d.Keyrings["fraud"].Key(secrets.Announce("fraud"), 1)
	must(t, err)
	kid := secrets.KeyID(secrets.Announce("fraud"), 1)
	for _, typ := range []message.Typ{message.TypHello, message.TypApproval, message.TypResult} {
		compact, err := message.SignMAC(typ, kid, key.Bytes(), a)
		must(t, err)
		if err := w.v.Announcement(t.Context(), compact); !errors.Is(err, message.ErrHeader) {
			t.Errorf("%s: got %v, want ErrHeader", typ, err)
		}
	}
}

func TestAnnouncementBounds(t *testing.T) {
	tests := []struct {
		name string
		edit func(w *world, b *message.AnnouncementBody)
		want error // nil: any
	}{
		{"fail/longer-than-ten-minutes", func(_ *world, b *message.AnnouncementBody) {
			b.Expires = message.At(b.Issued.Add(countersigned.MaxLifetime + time.Second))
		}, countersigned.ErrTimes},
		{"fail/from-the-future", func(_ *world, b *message.AnnouncementBody) {
			b.Issued = message.At(b.Issued.Add(countersigned.Skew + time.Second))
		}, countersigned.ErrTimes},
		{"fail/before-its-hello", func(_ *world, b *message.AnnouncementBody) {
			b.Issued = message.At(b.Issued.Add(-countersigned.Skew - time.Second))
		}, countersigned.ErrTimes},
		{"fail/ends-before-it-begins", func(_ *world, b *message.AnnouncementBody) {
			b.Issued, b.Expires = b.Expires, b.Issued
		}, countersigned.ErrTimes},
		{"fail/ends-before-it-begins-within-the-skew", func(_ *world, b *message.AnnouncementBody) {
			b.Expires = message.At(b.Issued.Add(10 * time.Second))
			b.Issued = message.At(b.Issued.Add(20 * time.Second))
		}, countersigned.ErrTimes},
		{"fail/other-generation", func(_ *world, b *message.AnnouncementBody) { b.Generation = 2 }, countersigned.ErrOrigin},
		{"fail/other-hello", func(w *world, b *message.AnnouncementBody) {
			b.Hello = message.Sum(w.hellos["approval"])
		}, countersigned.ErrHello},
		{"fail/instance-name", func(_ *world, b *message.AnnouncementBody) { b.Instance = "x\ny" }, nil},
		{"fail/short-encapsulation", func(_ *world, b *message.AnnouncementBody) { b.Encapsulation = b.Encapsulation[1:] }, nil},
		{"fail/unchecked-attestation", func(_ *world, b *message.AnnouncementBody) { b.Attestation = []byte("quote") }, nil},
		{"fail/no-key", func(_ *world, b *message.AnnouncementBody) { b.PublicKey = message.JWK{} }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := opened(t)
			made := w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now(), func(b *message.AnnouncementBody) { tt.edit(w, b) })
			err := w.v.Announcement(t.Context(), made)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			wantSilent(t, w, "fraud")
		})
	}
}

func TestEpochsOverlapAndEnd(t *testing.T) {
	w := bareWorld(t)
	if !w.v.Renew() {
		t.Error("no epoch, and none wanted")
	}
	w.open()
	first := w.v.Epochs()
	w.clock.advance(countersigned.RenewAfter - time.Second)
	if w.v.Renew() {
		t.Error("renewed too early")
	}
	w.clock.advance(time.Second)
	if !w.v.Renew() {
		t.Error("not renewed in time")
	}
	w.open()
	if got := w.v.Epochs(); len(got) != 2 || got[0] != first[0] {
		t.Errorf("live epochs are %v, want two with %v first", got, first)
	}
	w.clock.advance(countersigned.MaxLifetime - countersigned.RenewAfter)
	w.v.Sweep()
	if got := w.v.Epochs(); len(got) != 1 || got[0] == first[0] {
		t.Errorf("live epochs are %v, want the second alone", got)
	}
}

// TestAttackClocks: each clock alone ends an epoch and a key, and the wall
// clock set back ends the epoch too.
func TestAttackClocks(t *testing.T) {
	tests := []struct {
		name  string
		move  func(*clock)
		epoch bool // the epoch lives on
		key   bool // so does the key
	}{
		{"ok/nothing-moved", func(*clock) {}, true, true},
		{"ok/little-back", func(c *clock) { c.set(-countersigned.Skew / 2) }, true, true},
		{"fail/wall-clock-ends-the-key", func(c *clock) { c.set(policytest.Lifetime) }, true, false},
		{"fail/monotonic-clock-ends-the-key", func(c *clock) { c.elapsed += policytest.Lifetime }, true, false},
		{"fail/wall-clock-ends-the-epoch", func(c *clock) { c.set(countersigned.MaxLifetime) }, false, false},
		{"fail/monotonic-clock-ends-the-epoch", func(c *clock) { c.elapsed += countersigned.MaxLifetime }, false, false},
		{"fail/wall-clock-far-back", func(c *clock) { c.set(-countersigned.Skew) }, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.move(w.clock)
			if got := len(w.v.Epochs()) == 1; got != tt.epoch {
				t.Errorf("epoch lives: %v, want %v", got, tt.epoch)
			}
			if got := len(w.v.Silent()) == 0; got != tt.key {
				t.Errorf("keys are usable: %v, want %v", got, tt.key)
			}
		})
	}
}

// TestAttackClockAheadAndBack: a wall clock that was past the end of the keys for
// a moment, but not of the epoch, leaves nothing behind that is approved and
// cannot be signed.
func TestAttackClockAheadAndBack(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	replies := w.approvals(asked, "")
	w.clock.set(policytest.Lifetime)
	w.v.Sweep()
	w.clock.set(-policytest.Lifetime)
	w.finish(w.verify(asked, replies))
}

// TestKeyIsAnnouncedOnceToAnEpoch: a second announcement would leave two
// channels to choose from.
func TestKeyIsAnnouncedOnceToAnEpoch(t *testing.T) {
	w := newWorld(t)
	again := w.roles["fraud"].Announce(w.hellos["fraud"], w.clock.Now())
	if err := w.v.Announcement(t.Context(), again); !errors.Is(err, countersigned.ErrKeyTaken) {
		t.Errorf("got %v, want ErrKeyTaken", err)
	}
}

func TestNoHelloBeforeAPolicy(t *testing.T) {
	w := bareWorld(t)
	w.active = nil
	if _, err := w.v.OpenEpoch(t.Context()); !errors.Is(err, countersigned.ErrNoPolicy) {
		t.Errorf("got %v, want ErrNoPolicy", err)
	}
	if w.v.Renew() {
		t.Error("an epoch is wanted without a policy")
	}
}
