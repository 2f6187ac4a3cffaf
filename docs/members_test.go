package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// specSection returns a section of SPEC.md, or a subsection, without its
// vectors and without the subsections in it.
func specSection(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n"+heading)
	if !ok {
		t.Fatalf("SPEC.md has no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	rest, _, _ = strings.Cut(rest, "\n### ")
	return regexp.MustCompile("(?s)```vector.*?\n```\n").ReplaceAllString(rest, "")
}

// wireTypes are the structs of the wire by the section that describes them. A
// file without names is described there as a whole.
var wireTypes = []struct {
	heading, file string
	types         []string
}{
	{"## 3.", "internal/message/genesis.go", nil},
	{"## 1.", "internal/message/jwk.go", nil},
	{"## 1.", "internal/message/jws.go", nil},
	{"## 4.", "secrets/file.go", nil},
	{"## 5.", "internal/message/message.go", []string{"Origin", "PolicyRef", "Hello", "AnnouncementBody", "Announcement"}},
	{"## 6.", "internal/message/message.go", []string{
		"Statement", "HTTPSignature", "Envelope", "WalletCreate", "AccountCreate", "WalletFreeze", "UserFreeze", "DryRun", "RoleDecision",
	}},
	{"### Ethereum payloads", "transaction/ethereum/payload.go", nil},
	{"### Ethereum payloads", "transaction/ethereum/personal.go", nil},
	{"### Ethereum payloads", "transaction/ethereum/typed.go", nil},
	{"### Ethereum payloads", "transaction/ethereum/typedtypes.go", nil},
	{"### Ethereum payloads", "transaction/ethereum/assemble.go", nil},
	{"## 7.", "internal/message/message.go", []string{
		"Reason", "Digest", "EpochShares", "Approval", "SealedShare", "Shares", "Attachment", "Vote", "PolicySignature", "PolicyBundle",
		"RoleReason", "Result",
	}},
	{"## 8.", "internal/message/message.go", []string{"WalletDescriptor", "AccountDescriptor"}},
	{"## 10.", "proposer/webhook/webhook.go", nil},
	{"## 11.", "policy/approval/api/api.go", nil},
}

// TestSpecMembers holds the page's JSON members against the code: every member
// of every wire type is named in the section that describes the type, and
// every wire type has one.
func TestSpecMembers(t *testing.T) {
	described := map[string]map[string]bool{}
	for _, w := range wireTypes {
		found := wireStructs(t, w.file)
		if described[w.file] == nil {
			described[w.file] = map[string]bool{}
		}
		text := specSection(t, w.heading)
		for name, members := range found {
			if w.types != nil && !slices.Contains(w.types, name) {
				continue
			}
			described[w.file][name] = true
			for _, m := range members {
				if !strings.Contains(text, "`"+m+"`") && !strings.Contains(text, `"`+m+`":`) {
					t.Errorf("section %q does not name member %s of %s", w.heading, m, name)
				}
			}
		}
		for _, name := range w.types {
			if len(found[name]) == 0 {
				t.Errorf("%s has no %s with members", w.file, name)
			}
		}
	}
	for file, names := range described {
		for name := range wireStructs(t, file) {
			if !names[name] {
				t.Errorf("no section describes %s of %s", name, file)
			}
		}
		if len(names) == 0 {
			t.Errorf("%s has no wire type", file)
		}
	}
}

// TestSpecEthereumMembers: the tables of Ethereum's payloads and outputs name
// no member that the code does not have.
func TestSpecEthereumMembers(t *testing.T) {
	inCode := map[string]bool{}
	for _, w := range wireTypes {
		if w.heading != "### Ethereum payloads" {
			continue
		}
		for _, members := range wireStructs(t, w.file) {
			for _, m := range members {
				inCode[m] = true
			}
		}
	}
	text, _, _ := strings.Cut(specSection(t, "### Ethereum payloads"), "\n*Refusals*")
	rows := regexp.MustCompile("(?m)^\\| `([A-Za-z_]+)` \\| [^|]+ \\| ").FindAllStringSubmatch(text, -1)
	for _, m := range rows {
		if !inCode[m[1]] {
			t.Errorf("the page has a member %s, the code has none", m[1])
		}
	}
	if len(rows) < 25 {
		t.Errorf("only %d members found", len(rows))
	}
}

// wireStructs returns the structs of a file that have JSON members, with these.
func wireStructs(t *testing.T, file string) map[string][]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "../"+file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			if members := jsonMembers(s); len(members) > 0 {
				out[spec.Name.Name] = members
			}
		}
		return true
	})
	return out
}

func jsonMembers(s *ast.StructType) (out []string) {
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		if name, _, _ := strings.Cut(tag.Get("json"), ","); name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}
