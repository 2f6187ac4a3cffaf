package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer/api"
)

// workshop is a folder with files of every kind, good and bad, for commands to
// be pointed at.
func workshop(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv(profileVariable, "")
	der, err := x509.MarshalPKCS8PrivateKey(standin.RSA())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"garbage":   "garbage: [x",
		"bad.jwk":   `{"crv": "x"}`,
		"rsa.pem":   string(pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der})),
		"short.pem": string(pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: []byte{0}})),
		"other.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0}})),
		"doc.yaml":  "version: 1\n",
		"profile":   `{"proposer":"https://127.0.0.1:1","console":"https://127.0.0.1:1","deployment":"` + strings.Repeat("a", 64) + `","user_key":"key.pem","approver_key":"key.pem"}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		"key new --out key.pem", "key new --type p256 --out p256.pem", "secrets new --half build --out secret",
		"genesis new --name x --admin a=key.pem --threshold 1 --development --out genesis.json",
	} {
		if code := execute(context.Background(), strings.Fields(line), &bytes.Buffer{}, os.Stderr); code != 0 {
			t.Fatalf("%s ended with %d", line, code)
		}
	}
}

// TestEveryErrorSaysWhatToDoNext points the commands at what is not there, or is
// something else.
func TestEveryErrorSaysWhatToDoNext(t *testing.T) {
	workshop(t)
	for _, line := range []string{
		"key new --out key.pem", "key new --out none/key.pem", "key new --out x --type rsa",
		"key show none", "key show .", "key show garbage", "key show bad.jwk", "key show rsa.pem", "key show short.pem", "key show other.pem",
		"genesis new --name x --admin a --threshold 1 --out g", "genesis new --name x --admin a=none --threshold 1 --out g",
		"genesis new --name x --admin a=key.pem --threshold 7 --out g", "genesis new --name x --admin a=key.pem --threshold 1 --development --out none/g",
		"genesis show none", "genesis show .", "genesis show garbage",
		"secrets new --half third --out x", "secrets new --half build --generation 0 --out x", "secrets new --half build --out secret",
		"secrets branch --secret none --service fraud --genesis genesis.json --out x", "secrets branch --secret garbage --service fraud --genesis genesis.json --out x",
		"secrets branch --secret secret --service nobody --genesis genesis.json --out x", "secrets inspect none", "secrets inspect garbage", "secrets inspect .",
		"database init --address a:1 --ca none --owner o --password-file garbage --genesis genesis.json --verifiers bad.jwk",
		"database init --address a:1 --ca garbage --owner o --password-file garbage --genesis genesis.json --verifiers bad.jwk",
		"database init --address a:1 --ca garbage --owner o --password-file garbage --genesis genesis.json --verifiers garbage",
		"dev --dir d --bin none", "dev --dir d --bin garbage",
		"policy check none", "policy check .", "policy check garbage", "policy check doc.yaml --list none", "policy check doc.yaml --list garbage",
		"policy check doc.yaml --at tomorrow", "policy check doc.yaml --genesis none", "policy test doc.yaml --cases none", "policy test doc.yaml --cases garbage",
		"policy explain doc.yaml --request x", "policy explain doc.yaml --request x --cases none", "policy explain doc.yaml --request none --user alice",
		"policy explain doc.yaml --request x --config none", "policy simulate doc.yaml --config none", "policy simulate doc.yaml --config garbage",
		"policy simulate doc.yaml --config garbage --since -1h", "policy simulate doc.yaml --config garbage --since 30d", "policy simulate doc.yaml --config garbage --until x",
		"policy sign none --genesis genesis.json --key key.pem --out x", "policy sign garbage --genesis genesis.json --key key.pem --out x",
		"policy sign doc.yaml --genesis genesis.json --key key.pem --out x", "policy push doc.yaml --signature none --config none",
		"policy push doc.yaml --signature none --config garbage", "policy update none --signature none", "policy update doc.yaml --signature none",
		"wallet list", "wallet list --profile none", "wallet list --profile garbage", "wallet list --profile profile",
		"wallet list --profile profile --ca none", "wallet list --profile profile --ca garbage", "wallet list --profile profile --deployment x",
		"wallet list --profile profile --token-file none", "wallet list --profile profile --cert none", "wallet list --profile profile --proposer http://x",
		"wallet list --profile profile --policy none", "wallet list --profile profile --policy garbage", "wallet list --profile profile --policy doc.yaml",
		"wallet show x --profile profile", "wallet create --profile profile", "wallet create --profile profile --key none", "wallet create --profile profile --key .",
		"wallet create --profile profile --key garbage", "wallet create --profile profile --key rsa.pem", "wallet create --profile profile --key short.pem",
		"wallet create --profile profile --key other.pem", "account create --profile profile --wallet x", "account list --profile profile --wallet x",
		"sign message --profile profile --account x --wallet y --text hi", "sign typed-data --profile profile --account x none", "sign transaction --account x",
		"request show --profile profile x", "request watch --profile profile x", "request cancel --profile profile x",
		"approvals list --profile profile --key none", "approvals list --profile profile --key p256.pem", "approvals list --profile profile --console http://x",
		"approve --profile profile x", "reject --profile profile x", "freeze --profile profile --wallet a --reason x", "freeze --reason x",
	} {
		var out, errOut bytes.Buffer
		if code := execute(t.Context(), strings.Fields(line), &out, &errOut); code != exitError && code != exitUsage {
			t.Errorf("%s: ended with %d", line, code)
		}
		if !strings.HasPrefix(errOut.String(), "error: ") || !strings.Contains(errOut.String(), "\nnext:  ") {
			t.Errorf("%s: %s", line, &errOut)
		}
		if wrote, err := filepath.Glob("x"); err != nil || len(wrote) > 0 {
			t.Fatalf("%s wrote something", line)
		}
	}
}

// TestEveryProblemHasANextStep: docs/errors.md lists the codes of the services.
func TestEveryProblemHasANextStep(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	problems, _, ok := strings.Cut(string(page), "\n## Reasons of ")
	codes := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]{3} ").FindAllStringSubmatch(problems, -1)
	if !ok || len(codes) < 40 {
		t.Fatalf("%d codes were found", len(codes))
	}
	for _, code := range append(codes, []string{"", "http"}) {
		if nextStep(&client.Problem{Problem: api.Problem{Code: code[1]}}) == "" {
			t.Errorf("%s: nothing says what to do", code[1])
		}
	}
}

// TestNextStepNamesTheRequest: what is to be run next can be run as it stands.
func TestNextStepNamesTheRequest(t *testing.T) {
	const id = "019400aa-0000-7000-8000-000000000001"
	for code, want := range map[string]string{
		"request_ended": "countersign request show " + id, "too_late": "countersign request show " + id, "no_vote_needed": "without people",
	} {
		err := adviseRequest(adviseApprover(&client.Problem{Problem: api.Problem{Code: code}}), id)
		if next := nextStep(err); !strings.HasSuffix(next, want) || client.Code(err) != code {
			t.Errorf("%s: %v, next: %s", code, err, next)
		}
	}
}
