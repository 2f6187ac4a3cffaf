package secrets_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/secrets"
)

// proposerRing makes the proposer's keys of two halves, edited before.
func proposerRing(t *testing.T, edit func(build, deploy secrets.BranchFile), files ...[2]secrets.SecretFile) *secrets.Keyring {
	t.Helper()
	var pairs []secrets.Pair
	for _, f := range files {
		p := secrets.Pair{
			Build:  must(f[0].Split(secrets.ServiceProposer, roles))(t),
			Deploy: must(f[1].Split(secrets.ServiceProposer, roles))(t),
		}
		edit(p.Build, p.Deploy)
		pairs = append(pairs, p)
	}
	return must(secrets.NewKeyring(deployment, secrets.ServiceProposer, roles, pairs...))(t)
}

func halves(generation int) [2]secrets.SecretFile {
	return [2]secrets.SecretFile{
		secrets.NewSecretFile(secrets.HalfBuild, generation), secrets.NewSecretFile(secrets.HalfDeploy, generation),
	}
}

func TestWebhookSecrets(t *testing.T) {
	as := func(secrets.BranchFile, secrets.BranchFile) {}
	one, two := halves(1), halves(2)
	first := must(proposerRing(t, as, one).WebhookSecrets("books"))(t)
	if len(first) != 1 || first[0].Len() != secrets.Size {
		t.Fatalf("%d secrets", len(first))
	}
	if again := must(proposerRing(t, as, one).WebhookSecrets("books"))(t); !again[0].Equal(first[0]) {
		t.Error("another secret after a restart")
	}
	if other := must(proposerRing(t, as, one).WebhookSecrets("book"))(t); other[0].Equal(first[0]) {
		t.Error("two webhooks have one secret")
	}
	both := must(proposerRing(t, as, one, two).WebhookSecrets("books"))(t)
	if len(both) != 2 || both[0].Equal(first[0]) || !both[1].Equal(first[0]) {
		t.Error("during a rotation the newest secret does not come first, or the older is gone")
	}
	if _, err := proposerRing(t, as, one).WebhookSecrets(""); err == nil {
		t.Error("a webhook without an id has a secret")
	}
	text, ok := strings.CutPrefix(string(secrets.FormatWebhook(first[0]).Bytes()), "whsec_")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || !secrets.NewSecret(raw).Equal(first[0]) {
		t.Error("a receiver does not get the secret")
	}
}

// Branch files of a proposer from before there were webhooks serve all else.
func TestBranchesWithoutWebhook(t *testing.T) {
	drop := func(f secrets.BranchFile) { delete(f.Branches, secrets.PurposeWebhook) }
	for name, edit := range map[string]func(build, deploy secrets.BranchFile){
		"both":   func(b, d secrets.BranchFile) { drop(b); drop(d) },
		"build":  func(b, _ secrets.BranchFile) { drop(b) },
		"deploy": func(_, d secrets.BranchFile) { drop(d) },
	} {
		t.Run(name, func(t *testing.T) {
			ring := proposerRing(t, edit, halves(1))
			if ring.Holds(secrets.PurposeWebhook) {
				t.Error("a key of half its branches")
			}
			if _, err := ring.WebhookSecrets("books"); !errors.Is(err, secrets.ErrNoWebhookKey) {
				t.Errorf("got %v", err)
			}
			if _, err := ring.Key(secrets.Database(secrets.ServiceProposer), 1); err != nil {
				t.Error(err)
			}
		})
	}
	if !proposerRing(t, func(secrets.BranchFile, secrets.BranchFile) {}, halves(1)).Holds(secrets.PurposeWebhook) {
		t.Error("the key is not held")
	}
}

// Nobody else may hold the branch, and the proposer no other in its place.
func TestAttackWebhookBranchElsewhere(t *testing.T) {
	files := halves(1)
	for _, service := range secrets.Services(roles) {
		p := secrets.Pair{Build: must(files[0].Split(service, roles))(t), Deploy: must(files[1].Split(service, roles))(t)}
		extra := secrets.PurposeWebhook
		if service == secrets.ServiceProposer {
			delete(p.Build.Branches, secrets.PurposeWebhook)
			extra = secrets.PurposeWallet
		}
		p.Build.Branches[extra] = secrets.Generate()
		if _, err := secrets.NewKeyring(deployment, service, roles, p); err == nil {
			t.Errorf("%s takes the branch %s", service, extra)
		}
	}
}
