package docs_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/trust/httpsig"
)

// approverSignature signs a reading call by the product, and its base by the
// standard library.
func approverSignature(t *testing.T, b block) answers {
	priv := ed25519.NewKeyFromSeed(b.bytes(t, "user seed"))
	kid := must(message.NewJWK(priv.Public()))(t).Thumbprint()
	created := must(time.Parse(time.RFC3339, b.get(t, "created")))(t)
	call := httpsig.Message{Method: b.get(t, "method"), Authority: b.get(t, "authority"), Path: b.get(t, "path")}
	s := must(httpsig.Sign(call, httpsig.ReadProfile, priv, kid, created))(t)
	params := fmt.Sprintf(`("@method" "@authority" "@path");created=%d;keyid="%s";tag="countersign-approver"`, created.Unix(), kid)
	base := fmt.Sprintf("\"@method\": %s\n\"@authority\": %s\n\"@path\": %s\n\"@signature-params\": %s",
		call.Method, call.Authority, call.Path, params)
	agree(t, []byte(s.SignatureInput), []byte("sig="+params))
	agree(t, []byte(s.Signature), []byte("sig=:"+base64.StdEncoding.EncodeToString(ed25519.Sign(priv, []byte(base)))+":"))
	until(t, call, s, created, priv.Public())
	return answers{
		"base": strings.ReplaceAll(base, "\n", `\n`), "signature-input": s.SignatureInput, "signature": s.Signature,
	}
}

// until holds the page's 60 and 30 seconds against the profile of the calls.
func until(t *testing.T, call httpsig.Message, s httpsig.Signed, created time.Time, key crypto.PublicKey) {
	t.Helper()
	for seconds, good := range map[int]bool{-31: false, -30: true, 0: true, 60: true, 61: false} {
		now := created.Add(time.Duration(seconds) * time.Second)
		_, err := httpsig.Verify(call, httpsig.ReadProfile, s.SignatureInput, s.Signature, now,
			func(string) (crypto.PublicKey, error) { return key, nil })
		if (err == nil) != good {
			t.Errorf("%d s after it was made: %v", seconds, err)
		}
	}
}

// TestSpecApprovals holds what the page says of the approvals API against the
// code: paths, entry, media type and codes.
func TestSpecApprovals(t *testing.T) {
	text := specSection(t, "## 11. Approvals API")
	p := httpsig.ReadProfile
	components := []string{"@method", "@authority", "@path"}
	if !slices.Equal(p.Required, components) || len(p.Optional) > 0 {
		t.Errorf("a call covers %v and may cover %v, the page says %v", p.Required, p.Optional, components)
	}
	for _, want := range []string{
		"`GET " + api.Path + "`", "`GET " + api.Path + "/{id}`", "`POST " + api.Path + "/{id}/votes`",
		"Content-Type: " + api.VoteMediaType, "`@method`, `@authority` and `@path`", "`" + p.Tag + "`",
		fmt.Sprintf("more than %d s after `created`, more than %d s before it", int(p.MaxAge.Seconds()), int(p.Skew.Seconds())),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	compareCodes(t, text)
}

func compareCodes(t *testing.T, text string) {
	t.Helper()
	inPage := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-9]{3}) \| (.*) \|$`).FindAllStringSubmatch(text, -1) {
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1) {
			inPage[code[1]] = row[1]
		}
	}
	inCode := approvalCodes(t)
	for code, status := range inCode {
		if inPage[code] != status {
			t.Errorf("%s has status %s, in the page %q", code, status, inPage[code])
		}
	}
	for code := range inPage {
		if inCode[code] == "" {
			t.Errorf("the page has a code %s, the code has none", code)
		}
	}
}

// approvalCodes reads the table of the approval service's problems.
func approvalCodes(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("../policy/approval/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(code[A-Za-z]+)\s+code = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		names[m[1]] = m[2]
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(code[A-Za-z]+):\s+\{Status: http\.Status([A-Za-z]+),`).FindAllStringSubmatch(string(source), -1) {
		out[names[m[1]]] = statusNumber(m[2])
	}
	if len(out) < 15 || len(out) != len(names) {
		t.Fatalf("%d codes and %d statuses found", len(names), len(out))
	}
	return out
}

// statusNumber finds a status by its name in net/http, which is its text
// without what separates words.
func statusNumber(name string) string {
	if name == "RequestEntityTooLarge" {
		return fmt.Sprint(http.StatusRequestEntityTooLarge)
	}
	for status := 400; status < 600; status++ {
		if strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status)) == name {
			return fmt.Sprint(status)
		}
	}
	return ""
}
