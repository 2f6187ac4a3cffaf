package secrets_test

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/wallet"
)

// This file checks the table "subset of secrets x what it can do": for every
// subset of the services, and for each half alone, everything that somebody
// who holds these branches can do is really tried against a deployment.

// world is one deployment with all its keys, and a sealed seed in it.
type world struct {
	build, deploy secrets.SecretFile
	all           []secrets.Purpose
	keys          map[secrets.Purpose]*secrets.Secret
	sealing       wallet.Sealing
	descriptor    []byte
	ciphertext    []byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		build: secrets.NewSecretFile(secrets.HalfBuild, 1), deploy: secrets.NewSecretFile(secrets.HalfDeploy, 1),
		keys: map[secrets.Purpose]*secrets.Secret{},
	}
	for _, service := range secrets.Services(roles) {
		for _, p := range must(secrets.Purposes(service, roles))(t) {
			b, d := must(secrets.Branch(w.build.Secret, p))(t), must(secrets.Branch(w.deploy.Secret, p))(t)
			w.keys[p] = must(secrets.Key(b, d, deployment, p))(t)
		}
	}
	w.all = slices.Sorted(maps.Keys(w.keys))
	w.seal(t)
	return w
}

func (w *world) seal(t *testing.T) {
	t.Helper()
	id := message.Sum([]byte("create"))
	w.descriptor = must(message.Encode(message.WalletDescriptor{
		Version: 1, Deployment: deployment, ID: id.String(), Owner: "alice", Roles: roles,
		Generation: 1, SeedType: "raw", Source: "software", Create: id,
	}))(t)
	w.sealing = wallet.Sealing{Deployment: deployment, Roles: roles, Scope: message.ScopeSeed, ID: id.String(), Generation: 1}
	own, shares := w.shares(t, w.keys)
	seed := must(wallet.NewSoftwareSource().NewSeed(t.Context(), "raw"))(t)
	w.ciphertext = must(wallet.Seal(w.sealing, own, shares, w.descriptor, seed))(t)
}

// shares makes what shares the given keys allow.
func (w *world) shares(t *testing.T, keys map[secrets.Purpose]*secrets.Secret) (*secrets.Secret, wallet.Shares) {
	t.Helper()
	var own *secrets.Secret
	shares := wallet.Shares{}
	for p, key := range keys {
		role, isShare := strings.CutPrefix(string(p), "share/")
		switch {
		case p == secrets.PurposeWallet:
			own = must(secrets.NewShare(key, w.sealing.Scope, w.sealing.ID))(t)
		case isShare:
			shares[role] = must(secrets.NewShare(key, w.sealing.Scope, w.sealing.ID))(t)
		}
	}
	return own, shares
}

// holding is what somebody got hold of.
type holding struct {
	build, deploy map[secrets.Purpose]*secrets.Secret
}

func (w *world) holdingOf(t *testing.T, services ...string) holding {
	t.Helper()
	out := holding{map[secrets.Purpose]*secrets.Secret{}, map[secrets.Purpose]*secrets.Secret{}}
	for _, s := range services {
		maps.Copy(out.build, must(w.build.Split(s, roles))(t).Branches)
		maps.Copy(out.deploy, must(w.deploy.Split(s, roles))(t).Branches)
	}
	return out
}

// keysOf computes what keys a holding gives, by trying: for every purpose each
// pair of values in hand (also of other purposes, zeros, and the halves
// exchanged) is combined, and the results compared with the real key. It is how
// an attacker would look for a mix-up.
func (w *world) keysOf(t *testing.T, h holding) map[secrets.Purpose]*secrets.Secret {
	t.Helper()
	out := map[secrets.Purpose]*secrets.Secret{}
	zero := secrets.NewSecret(make([]byte, 32))
	values := append(slices.Collect(maps.Values(h.build)), slices.Collect(maps.Values(h.deploy))...)
	for _, purpose := range w.all {
		candidates := [][2]*secrets.Secret{{h.build[purpose], h.deploy[purpose]}, {h.deploy[purpose], h.build[purpose]}}
		for _, mine := range []*secrets.Secret{h.build[purpose], h.deploy[purpose]} {
			candidates = append(candidates, [2]*secrets.Secret{mine, zero}, [2]*secrets.Secret{zero, mine}, [2]*secrets.Secret{mine, mine})
		}
		for _, v := range values {
			candidates = append(candidates,
				[2]*secrets.Secret{v, h.deploy[purpose]}, [2]*secrets.Secret{h.build[purpose], v}, [2]*secrets.Secret{v, zero})
		}
		for _, c := range candidates {
			if key, err := secrets.Key(c[0], c[1], deployment, purpose); err == nil && key.Equal(w.keys[purpose]) {
				out[purpose] = key
			}
		}
		for _, v := range values { // a branch that is a key
			if v.Equal(w.keys[purpose]) {
				t.Errorf("a branch is the key %s", purpose)
			}
		}
	}
	return out
}

// abilities tries everything with the keys and returns what worked.
func (w *world) abilities(t *testing.T, keys map[secrets.Purpose]*secrets.Secret) []string {
	t.Helper()
	var can []string
	try := func(ok bool, format string, args ...any) {
		if ok {
			can = append(can, fmt.Sprintf(format, args...))
		}
	}
	for _, role := range roles {
		try(w.forges(t, keys, message.TypHello, secrets.Hello(role), message.Hello{Role: role}), "forge hello to %s", role)
		try(w.forges(t, keys, message.TypAnnouncement, secrets.Announce(role), message.Announcement{}), "forge announcement of %s", role)
		try(w.signsAs(t, keys, secrets.Identity(role)), "sign as %s", role)
		try(keys[secrets.Record(role)] != nil, "forge records of %s", role)
		_, shares := w.shares(t, keys)
		try(shares[role] != nil, "give share of %s", role)
	}
	own, shares := w.shares(t, keys)
	try(own != nil, "give share of signing")
	try(w.signsAs(t, keys, secrets.PurposeIdentitySigning), "sign results")
	try(keys[secrets.PurposeAudit] != nil, "sign checkpoints")
	try(keys[secrets.PurposeWebhook] != nil, "sign webhooks")
	for _, s := range secrets.Services(roles) {
		try(keys[secrets.Database(s)] != nil, "log in as %s", s)
	}
	seed, err := wallet.OpenSeed(w.sealing, own, shares, w.descriptor, w.ciphertext)
	seed.Wipe()
	try(err == nil, "open wallets")
	slices.Sort(can)
	return can
}

// forges makes a MACed message and lets the real receiver verify it.
func (w *world) forges(t *testing.T, keys map[secrets.Purpose]*secrets.Secret, typ message.Typ, p secrets.Purpose, v any) bool {
	t.Helper()
	for _, key := range keys {
		compact := must(message.SignMAC(typ, secrets.KeyID(p, 1), key.Bytes(), v))(t)
		var err error
		if typ == message.TypHello {
			err = message.VerifyMAC(typ, secrets.KeyID(p, 1), w.keys[p].Bytes(), compact, &message.Hello{})
		} else {
			err = message.VerifyMAC(typ, secrets.KeyID(p, 1), w.keys[p].Bytes(), compact, &message.Announcement{})
		}
		if err == nil {
			return true
		}
	}
	return false
}

// signsAs tries every key as the seed of the identity.
func (w *world) signsAs(t *testing.T, keys map[secrets.Purpose]*secrets.Secret, p secrets.Purpose) bool {
	t.Helper()
	public := must(secrets.IdentityKey(w.keys[p]))(t).Public().(ed25519.PublicKey)
	for _, key := range keys {
		compact := must(message.SignEd25519(message.TypResult, "k", must(secrets.IdentityKey(key))(t), message.Result{}))(t)
		if message.VerifyEd25519(message.TypResult, "k", public, compact, &message.Result{}) == nil {
			return true
		}
	}
	return false
}

// canDo is the table: what each service alone can do. Written by hand, not
// taken from Purposes, which it checks. A MAC is symmetric: who verifies a
// hello or an announcement can make one; the identity signature inside the
// announcement is what the signing service lacks.
var canDo = map[string][]string{
	"proposer": {"log in as proposer", "sign webhooks"},
	"operator": {"log in as operator"},
	"authorization": {
		"forge hello to authorization", "forge announcement of authorization", "sign as authorization",
		"forge records of authorization", "give share of authorization", "log in as authorization",
	},
	"fraud": {
		"forge hello to fraud", "forge announcement of fraud", "sign as fraud",
		"forge records of fraud", "give share of fraud", "log in as fraud",
	},
	"approval": {
		"forge hello to approval", "forge announcement of approval", "sign as approval",
		"forge records of approval", "give share of approval", "log in as approval",
	},
	"signing": {
		"forge hello to authorization", "forge hello to fraud", "forge hello to approval",
		"forge announcement of authorization", "forge announcement of fraud", "forge announcement of approval",
		"give share of signing", "sign results", "sign checkpoints",
		"log in as proposer", "log in as operator", "log in as signing",
		"log in as authorization", "log in as fraud", "log in as approval",
	},
}

// expected is the union of what the services can do; together nothing more,
// but that signing and all roles open wallets.
func expected(services []string) []string {
	set := map[string]bool{}
	for _, s := range services {
		for _, ability := range canDo[s] {
			set[ability] = true
		}
	}
	everyone := slices.Contains(services, "signing")
	for _, r := range roles {
		everyone = everyone && slices.Contains(services, r)
	}
	if everyone {
		set["open wallets"] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func TestSubsetOfSecretsXWhatItCanDo(t *testing.T) {
	w := newWorld(t)
	services := secrets.Services(roles)
	for subset := range 1 << len(services) {
		var in []string
		for i, s := range services {
			if subset>>i&1 == 1 {
				in = append(in, s)
			}
		}
		t.Run("services/"+strings.Join(in, "+"), func(t *testing.T) {
			got := w.abilities(t, w.keysOf(t, w.holdingOf(t, in...)))
			if want := expected(in); !slices.Equal(got, want) {
				t.Errorf("can do\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
	all := func(s *secrets.Secret) map[secrets.Purpose]*secrets.Secret {
		out := map[secrets.Purpose]*secrets.Secret{}
		for _, p := range w.all {
			out[p] = must(secrets.Branch(s, p))(t)
		}
		return out
	}
	build, deploy := all(w.build.Secret), all(w.deploy.Secret)
	other := all(secrets.Generate())
	for name, h := range map[string]holding{
		"build-only":               {build: build},
		"deploy-only":              {deploy: deploy},
		"build-twice":              {build: build, deploy: build},
		"deploy-twice":             {build: deploy, deploy: deploy},
		"build-and-a-guess":        {build: build, deploy: other},
		"deploy-and-a-guess":       {build: other, deploy: deploy},
		"halves-of-other-services": {build: w.holdingOf(t, "fraud").build, deploy: w.holdingOf(t, "approval", "proposer").deploy},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.abilities(t, w.keysOf(t, h)); len(got) != 0 {
				t.Errorf("can %s", strings.Join(got, ", "))
			}
		})
	}
	t.Run("both-secrets", func(t *testing.T) {
		// Honestly: who holds both whole secrets can do everything.
		got := w.abilities(t, w.keysOf(t, holding{build, deploy}))
		if want := expected(services); !slices.Equal(got, want) {
			t.Errorf("can do %v, want %v", got, want)
		}
	})
}

// The deployment id salts every key: with both secrets, but another genesis
// (other admins, roles or mode), no key is the deployment's.
func TestAttackGenesisExchanged(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.all {
		b, d := must(secrets.Branch(w.build.Secret, p))(t), must(secrets.Branch(w.deploy.Secret, p))(t)
		if must(secrets.Key(b, d, message.Sum([]byte("other genesis")), p))(t).Equal(w.keys[p]) {
			t.Errorf("key %s does not depend on the genesis", p)
		}
	}
}
