package activation_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
)

// signed returns the default policy of a version, changed, and signed by these.
func signed(t *testing.T, d *deploymenttest.Deployment, n int, edit func(*document.Document), admins ...ed25519.PrivateKey) message.PolicyBundle {
	t.Helper()
	doc := d.Document()
	doc.Version = n
	if edit != nil {
		edit(doc)
	}
	raw, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return d.Sign(raw, admins...)
}

// change is a deployment whose second document replaces all admins.
type change struct {
	*deploymenttest.Deployment
	dan, eve      ed25519.PrivateKey
	introduce     func(*document.Document)
	one, two      message.PolicyBundle
	three, forked message.PolicyBundle // by the new admins, by the old
}

func newChange(t *testing.T) change {
	t.Helper()
	c := change{Deployment: deploymenttest.New(t), dan: deploymenttest.Key(t), eve: deploymenttest.Key(t)}
	c.introduce = func(x *document.Document) {
		x.Admins = &document.Admins{Threshold: 2, Keys: []document.Admin{
			{Name: "dan", Key: deploymenttest.JWK(t, c.dan)}, {Name: "eve", Key: deploymenttest.JWK(t, c.eve)},
		}}
	}
	c.one = c.Policy(nil)
	c.two = signed(t, c.Deployment, 2, c.introduce, c.Admins[0], c.Admins[1], c.dan, c.eve)
	c.three = signed(t, c.Deployment, 3, c.introduce, c.dan, c.eve)
	c.forked = signed(t, c.Deployment, 3, nil, c.Admins...)
	return c
}

func refOf(b message.PolicyBundle, n int) message.PolicyRef {
	return message.PolicyRef{Version: n, Hash: message.Sum(b.Document)}
}

func (c change) holder(b *board, options ...activation.Option) *activation.Holder {
	return activation.New(c.Genesis, c.ID, b, nil, options...)
}

// TestSuccession: a fresh service with all documents ends at the newest, in
// whatever order they stand.
func TestSuccession(t *testing.T) {
	c := newChange(t)
	for _, bundles := range [][]message.PolicyBundle{
		{c.one, c.two, c.three}, {c.three, c.two, c.one}, {c.two, c.three}, {c.forked, c.three, c.one, c.two},
	} {
		b := newBoard()
		h := c.holder(b)
		b.set(t, bundles...)
		refresh(t, h, true, 3)
		if h.Active().Ref != refOf(c.three, 3) || h.Newest() != refOf(c.three, 3) {
			t.Fatal("the old admins' document is active")
		}
		if q := h.Quorum(); q.Threshold != 2 || len(q.Admins) != 2 || q.Admins[0].Name != "dan" {
			t.Fatalf("in force are %+v", q)
		}
	}
}

// TestSigners: another bundle of the newest document is judged by those who were
// to sign it, not by those whom it names for the next.
func TestSigners(t *testing.T) {
	c, b := newChange(t), newBoard()
	b.set(t, c.one, c.two)
	h := c.holder(b)
	refresh(t, h, true, 2)
	again := c.Sign(c.two.Document, c.Admins[1], c.Admins[2], c.dan, c.eve)
	if _, err := document.VerifySuccessor(again, h.Signers(), c.Genesis, c.ID); err != nil {
		t.Error(err)
	}
	if _, err := document.VerifySuccessor(again, h.Quorum(), c.Genesis, c.ID); err == nil {
		t.Error("those after it judge it too")
	}
	if q := c.holder(newBoard()).Signers(); q.Threshold != 0 || len(q.Admins) != 0 {
		t.Errorf("before version 1: %+v", q)
	}
}

// TestSuccessionLater: a document that does not verify yet does when the one
// arrives that introduces its admins.
func TestSuccessionLater(t *testing.T) {
	c, b := newChange(t), newBoard()
	h := c.holder(b)
	b.set(t, c.one, c.three)
	refresh(t, h, true, 1)
	refresh(t, h, false, 1)
	b.set(t, c.one, c.two, c.three)
	refresh(t, h, true, 3)
}

// TestAttackRemovedAdminsSignASuccessor: whoever was removed signs nothing more,
// whichever version it names.
func TestAttackRemovedAdminsSignASuccessor(t *testing.T) {
	c, b := newChange(t), newBoard()
	h := c.holder(b)
	b.set(t, c.one, c.two)
	refresh(t, h, true, 2)
	b.set(t, c.one, c.two, c.forked, signed(t, c.Deployment, 9, nil, c.Admins...),
		signed(t, c.Deployment, 4, nil, append([]ed25519.PrivateKey{c.dan}, c.Admins...)...))
	refresh(t, h, false, 2)
	b.set(t, c.forked, c.three)
	refresh(t, h, true, 3)
	if h.Active().Ref != refOf(c.three, 3) {
		t.Fatal("removed admins have signed the active document")
	}
}

// TestAttackOldPolicyReplayedAfterChangeOfAdmins.
func TestAttackOldPolicyReplayedAfterChangeOfAdmins(t *testing.T) {
	c, b := newChange(t), newBoard()
	h := c.holder(b)
	b.set(t, c.one, c.two)
	refresh(t, h, true, 2)
	b.set(t, c.one)
	refresh(t, h, false, 2)
	// Another version 2, by the admins who were in force then.
	b.set(t, signed(t, c.Deployment, 2, func(x *document.Document) { x.Users[0].Subject = "a" }, c.Admins...))
	refresh(t, h, false, 2)
	if h.Active().Ref != refOf(c.two, 2) {
		t.Fatal("another version 2 is active")
	}
}

// TestAttackChangeOfAdminsHidden: who controls the database hides the document
// that removed the old admins, who sign another history. A role whose records
// have seen the new one does not follow.
func TestAttackChangeOfAdminsHidden(t *testing.T) {
	c := newChange(t)
	for name, floor := range map[string]message.PolicyRef{"change": refOf(c.two, 2), "after": refOf(c.three, 3)} {
		for _, early := range []bool{true, false} { // told of the floor before the first refresh, or after
			t.Run(name, func(t *testing.T) {
				b := newBoard()
				h := c.holder(b)
				if early {
					h.RequireAtLeast(floor)
				}
				b.set(t, c.one, c.forked)
				if _, err := h.Refresh(context.Background()); err != nil {
					t.Fatal(err)
				}
				h.RequireAtLeast(floor)
				if a := h.Active(); a != nil {
					t.Fatalf("version %d is active without the floor", a.Version)
				}
				refresh(t, h, false, 0)
				b.set(t, c.one, c.forked, signed(t, c.Deployment, 7, nil, c.Admins...))
				refresh(t, h, false, 0)
				b.set(t, c.one, c.forked, c.two, c.three)
				refresh(t, h, true, 3)
				if h.Active().Ref != refOf(c.three, 3) {
					t.Fatal("the fork is active")
				}
			})
		}
	}
}

// TestAttackFloorSignedAgain: removed admins sign the very bytes of the floor,
// so that it is accepted without the document that removed them. They are out of
// force all the same.
func TestAttackFloorSignedAgain(t *testing.T) {
	c, b := newChange(t), newBoard()
	h := c.holder(b)
	h.RequireAtLeast(refOf(c.three, 3))
	again := c.three
	again.Signatures = append(c.Sign(again.Document, c.Admins[:2]...).Signatures, again.Signatures...)
	b.set(t, c.one, again, signed(t, c.Deployment, 4, nil, c.Admins...))
	refresh(t, h, true, 3)
	if !h.Quorum().Equal(c.afterTwo()) {
		t.Fatalf("in force are %+v", h.Quorum())
	}
}

// afterTwo are the admins whom the second document names.
func (c change) afterTwo() document.Quorum {
	x := c.Document()
	c.introduce(x)
	q := document.Quorum{Threshold: x.Admins.Threshold}
	for _, a := range x.Admins.Keys {
		q.Admins = append(q.Admins, message.Admin(a))
	}
	return q
}

// TestAttackForkOfTheFloor: of the floor's version no other document counts, and
// nothing that stands on another.
func TestAttackForkOfTheFloor(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	two, other := d.Policy(version(2)), signed(t, d, 2, func(x *document.Document) { x.Users[0].Subject = "a" }, d.Admins...)
	h := activation.New(d.Genesis, d.ID, b, nil)
	b.set(t, d.Policy(nil), other)
	refresh(t, h, true, 2)
	h.RequireAtLeast(refOf(two, 2))
	if h.Active() != nil {
		t.Fatal("the fork stays active")
	}
	refresh(t, h, false, 0)
	b.set(t, d.Policy(nil), other, two)
	refresh(t, h, true, 2)
	if h.Active().Ref != refOf(two, 2) {
		t.Fatal("the fork is active")
	}
}

// TestFloorReached: a floor that the process has gone through changes nothing,
// and a lower one neither.
func TestFloorReached(t *testing.T) {
	c, b := newChange(t), newBoard()
	h := c.holder(b)
	b.set(t, c.one, c.two, c.three)
	refresh(t, h, true, 3)
	for _, floor := range []message.PolicyRef{{}, refOf(c.three, 3), refOf(c.two, 2), refOf(c.forked, 3)} {
		h.RequireAtLeast(floor)
		refresh(t, h, false, 3)
	}
}

func TestExpiry(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	until := func(n int, at time.Time) message.PolicyBundle {
		return d.Policy(func(x *document.Document) { x.Version, x.Expires = n, document.At(at) })
	}
	var logged bytes.Buffer
	c := standin.NewClock(end.Add(-time.Second))
	h := activation.New(d.Genesis, d.ID, b, slog.New(slog.NewTextHandler(&logged, nil)), activation.WithClock(c.Now))
	b.set(t, until(1, end))
	refresh(t, h, true, 1)
	c.Set(end)
	for range 3 {
		refresh(t, h, false, 0)
	}
	if n := strings.Count(logged.String(), "level=ERROR"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, logged.String())
	}
	// A clock that is put right makes it active again.
	c.Set(end.Add(-time.Minute))
	if h.Active() == nil {
		t.Fatal("it has not expired")
	}
	refresh(t, h, true, 1)
	c.Set(end)
	refresh(t, h, false, 0)
	b.set(t, until(1, end), until(2, end.Add(time.Hour)))
	refresh(t, h, true, 2)
}

// TestAttackExpiredPolicyPutBack: to a process that starts as well.
func TestAttackExpiredPolicyPutBack(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	long := d.Policy(nil) // version 1 has not expired
	short := d.Policy(func(x *document.Document) { x.Version, x.Expires = 2, document.At(end) })
	c := standin.NewClock(end.Add(time.Hour))
	b.set(t, short)
	refresh(t, activation.New(d.Genesis, d.ID, b, nil, activation.WithClock(c.Now)), false, 0)
	// What it replaced does not count again either.
	b.set(t, long, short)
	h := activation.New(d.Genesis, d.ID, b, nil, activation.WithClock(c.Now))
	refresh(t, h, false, 0)
	b.set(t, long, short, d.Policy(version(3)))
	refresh(t, h, true, 3)
}

// TestExpiredAdminsStay: whom an expired document named signs the next.
func TestExpiredAdminsStay(t *testing.T) {
	c, b := newChange(t), newBoard()
	k := standin.NewClock(deploymenttest.Expires.Add(time.Hour))
	b.set(t, c.one, c.two, c.forked, signed(t, c.Deployment, 4, func(x *document.Document) {
		c.introduce(x)
		x.Expires = document.At(k.Now().Add(time.Hour))
	}, c.dan, c.eve))
	refresh(t, c.holder(b, activation.WithClock(k.Now)), true, 4)
}

// ofEarlierRelease is a document of version 2 that this release does not sign.
func ofEarlierRelease(t *testing.T, d *deploymenttest.Deployment, raw []byte) message.PolicyBundle {
	t.Helper()
	bundle := message.PolicyBundle{Document: raw}
	for _, admin := range d.Admins {
		compact, err := message.SignEd25519(message.TypPolicySignature, deploymenttest.JWK(t, admin).Thumbprint(), admin,
			message.PolicySignature{Version: message.Version, Deployment: d.ID, Policy: message.PolicyRef{Version: 2, Hash: message.Sum(raw)}})
		if err != nil {
			t.Fatal(err)
		}
		bundle.Signatures = append(bundle.Signatures, string(compact))
	}
	return bundle
}

// TestUnreadableIsHistory: a signed document that this release cannot use is
// passed over, and what comes after it counts, also where it is the floor.
func TestUnreadableIsHistory(t *testing.T) {
	d := deploymenttest.New(t)
	second := d.Policy(version(2)).Document
	for name, bad := range map[string]message.PolicyBundle{
		"invalid": signed(t, d, 2, func(x *document.Document) { x.Approval.Quorum = 9 }, d.Admins...),
		"unseen":  ofEarlierRelease(t, d, append(bytes.Clone(second), "# at most 10\u00a0000\n"...)),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard()
			h := activation.New(d.Genesis, d.ID, b, nil)
			h.RequireAtLeast(refOf(bad, 2))
			b.set(t, d.Policy(nil))
			refresh(t, h, false, 0)
			b.set(t, d.Policy(nil), bad)
			refresh(t, h, true, 1)
			b.set(t, d.Policy(nil), bad, d.Policy(version(3)))
			refresh(t, h, true, 3)
		})
	}
}

// TestRunAfterRequire: a floor that was not reached is looked for at once.
func TestRunAfterRequire(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	activated := h.Changed()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	two := d.Policy(version(2))
	b.set(t, d.Policy(nil), two)
	b.changed <- struct{}{}
	<-activated
	three := d.Policy(version(3))
	b.set(t, d.Policy(nil), two, three)
	h.RequireAtLeast(refOf(three, 3)) // nobody says that the table has changed
	<-activated
	if got := h.Active().Version; got != 3 {
		t.Fatalf("active is %d", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

var _ activation.Files = (*queue.Queue)(nil)

// TestAttackOvertakenPolicyOutlivesItsSuccessor: what a signed document has
// replaced does not count longer than that one, also where this service could
// not use it.
func TestAttackOvertakenPolicyOutlivesItsSuccessor(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := standin.NewClock(end.Add(-time.Hour))
	h := activation.New(d.Genesis, d.ID, b, nil, activation.WithClock(c.Now))
	b.set(t, d.Policy(nil), signed(t, d, 2, func(x *document.Document) {
		x.Approval.Quorum, x.Expires = 9, document.At(end)
	}, d.Admins...))
	refresh(t, h, true, 1)
	c.Set(end)
	refresh(t, h, false, 0)
}

// TestAttackDocumentThatStopsServices: a row that anybody could have written
// neither crashes a service that starts nor keeps it busy.
func TestAttackDocumentThatStopsServices(t *testing.T) {
	c := newChange(t)
	header := "deployment: " + c.ID.String() + "\nexpires: 2031-01-01T00:00:00Z\nservices: {a: ["
	many := header + strings.Repeat("{}, ", 20_000) + "{}]}\nversion: 2\nadmins: {threshold: 1, keys: [" +
		strings.Repeat("{key: {}}, ", 2000) + "{key: {}}]}\n"
	keys := "version: 2\ndeployment: x\n"
	for i := range 5000 {
		keys += fmt.Sprintf("k%d: 1\n", i)
	}
	for name, text := range map[string]string{
		"fail/version-zero": header + "]}\nversion: 0\n", "fail/negative": header + "]}\nversion: -1\n",
		"fail/many-keys-of-services-and-admins": many, "fail/many-members": keys,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard()
			h := c.holder(b)
			b.set(t, message.PolicyBundle{Document: []byte(text)}, c.one)
			refresh(t, h, true, 1)
		})
	}
}

// TestExamine: what would be activated, and nothing else, is said to be.
func TestExamine(t *testing.T) {
	c, b := newChange(t), newBoard()
	now := time.Now()
	h := c.holder(b, activation.WithClock(func() time.Time { return now }), activation.WithCheck(func(a *document.Active) error {
		if a.Version == 9 {
			return errUnusable
		}
		return nil
	}))
	if err := h.Examine(t.Context(), c.two); !errors.Is(err, activation.ErrInactive) {
		t.Errorf("without a document: %v", err)
	}
	b.set(t, c.one)
	refresh(t, h, true, 1)
	for name, tc := range map[string]struct {
		bundle message.PolicyBundle
		want   error
	}{
		"ok/next":          {c.two, nil},
		"fail/old":         {c.one, activation.ErrOld},
		"fail/strangers":   {c.three, document.ErrQuorum},
		"fail/expired":     {c.Policy(func(d *document.Document) { d.Version, d.Expires = 2, document.At(now) }), activation.ErrExpired},
		"fail/unusable":    {c.Policy(version(9)), errUnusable},
		"fail/half-signed": {message.PolicyBundle{Document: c.two.Document, Signatures: c.two.Signatures[:1]}, document.ErrQuorum},
	} {
		t.Run(name, func(t *testing.T) {
			if err := h.Examine(t.Context(), tc.bundle); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	// After the change of admins, by what was accepted and not by what is active.
	b.set(t, c.one, c.two)
	refresh(t, h, true, 2)
	if err := h.Examine(t.Context(), c.forked); err == nil {
		t.Error("the removed admins' document would be activated")
	}
	if err := h.Examine(t.Context(), c.three); err != nil {
		t.Errorf("the new admins' document: %v", err)
	}
	// An older one names no admins, but it is its version that it is refused for.
	if err := h.Examine(t.Context(), c.one); !errors.Is(err, activation.ErrOld) {
		t.Errorf("an older document: %v", err)
	}
}

var errUnusable = errors.New("its rules do not compile")
