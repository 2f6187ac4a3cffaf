package trial_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
)

// templates are the folders of deploy/policies.
func templates(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../deploy/policies/*/policy.yaml")
	if err != nil || len(found) < 3 {
		t.Fatalf("templates: %v, %v", found, err)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

// template is one folder, read.
func template(t testing.TB, dir string) (*document.Document, map[string]*document.ListFile, *trial.Cases) {
	t.Helper()
	doc, err := document.Parse(read(t, filepath.Join(dir, "policy.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := trial.ParseCases(read(t, filepath.Join(dir, "cases.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*document.ListFile{}
	for _, name := range cases.Lists {
		f, err := document.ReadList(read(t, filepath.Join(dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		files[f.SHA256()] = f
	}
	return doc, files, cases
}

// ruleOf is the rule of a section that has this id.
func ruleOf(section []document.Rule, id string) *document.Rule {
	return &section[slices.IndexFunc(section, func(r document.Rule) bool { return r.ID == id })]
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// leastCases is how many cases a template has at least.
const leastCases = 15

// TestTemplates runs the cases of each template: each must come out as its file
// says, and no rule may decide none of them.
func TestTemplates(t *testing.T) {
	for _, dir := range templates(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			doc, files, cases := template(t, dir)
			var outcomes []trial.Outcome
			for _, c := range cases.Cases {
				o := trial.Run(t.Context(), doc, files, cases, c)
				outcomes = append(outcomes, o)
				if !o.Passed {
					t.Errorf("%s: %s", c.Name, strings.Join(o.Faults, "; "))
				}
			}
			if len(outcomes) < leastCases {
				t.Errorf("%d cases, want at least %d", len(outcomes), leastCases)
			}
			for _, rule := range trial.Undecided(doc, outcomes) {
				t.Errorf("rule %s decides no case", rule)
			}
		})
	}
}

// TestAttackSplitWithinOneWithdrawal: what one account gets counts together, also
// where one transaction pays it in parts that are each within the limit.
func TestAttackSplitWithinOneWithdrawal(t *testing.T) {
	doc, files, cases := template(t, "../../deploy/policies/exchange")
	for parts, denied := range map[[2]int64]bool{{75, 75}: false, {75, 76}: true, {76, 76}: true} {
		c := cases.Cases[0]
		c.Transaction = &trial.Transaction{To: "second", Data: batchTo("7777777777777777777777777777777777777777", parts), GasLimit: 200_000}
		c.History = nil
		decision, filing, err := trial.Decide(t.Context(), doc, files, cases, c)
		if err != nil || len(filing.Meaning.Effects.Moves) < 2 {
			t.Fatalf("%v: %+v", err, filing.Meaning.Effects)
		}
		said, err := json.Marshal(decision)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(said), "rule destination-day-eth: "); got != denied {
			t.Errorf("%d ether: the rule denies: %v, want %v", parts, got, denied)
		}
	}
}

// batchTo is executeBatch of a contract wallet that pays ether to one account in
// two parts.
func batchTo(address string, ether [2]int64) string {
	data := "0x47e1da2a" // executeBatch(address[],uint256[],bytes[])
	for _, offset := range []int64{3 * 32, 6 * 32, 9 * 32} {
		data += fmt.Sprintf("%064x", offset)
	}
	data += fmt.Sprintf("%064x%064s%064s%064x", 2, address, address, 2)
	for _, n := range ether {
		data += fmt.Sprintf("%064x", new(big.Int).Mul(big.NewInt(n), big.NewInt(1e18)))
	}
	return data + fmt.Sprintf("%064x%064x%064x%064x%064x", 2, 2*32, 3*32, 0, 0)
}

// TestTemplatesAreClean: a person who begins with a template gets no fault and no
// warning.
func TestTemplatesAreClean(t *testing.T) {
	for _, dir := range templates(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			doc, files, _ := template(t, dir)
			report := trial.Check(doc, files, trial.Deployment{}, time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC))
			if len(report.Faults) > 0 || len(report.Warnings) > 0 {
				t.Errorf("faults %v, warnings %v", report.Faults, report.Warnings)
			}
		})
	}
}

// TestTemplatesAreExplained: of each role, the page beside a template speaks of
// every rule under the role's heading, and of no other.
func TestTemplatesAreExplained(t *testing.T) {
	for _, dir := range templates(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			doc, _, _ := template(t, dir)
			page := string(read(t, filepath.Join(dir, "README.md")))
			for _, role := range message.PolicyRoles() {
				told := explained(page, role)
				for _, rule := range doc.Rules.Of(role) {
					if !told[rule.ID] {
						t.Errorf("README.md does not explain rule %s of %s", rule.ID, role)
					}
					delete(told, rule.ID)
				}
				for name := range told {
					t.Errorf("README.md explains %s, which is no rule of %s", name, role)
				}
			}
		})
	}
}

// row is one of a table that explains rules.
var row = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|")

// explained are the rules in the table under a role's heading.
func explained(page, role string) map[string]bool {
	told := map[string]bool{}
	_, section, _ := strings.Cut(page, "\n## "+strings.ToUpper(role[:1])+role[1:]+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			told[strings.Trim(name, "`")] = true
		}
	}
	return told
}

// TestTemplatesFitTheSchema: an editor that goes by the schema marks nothing.
func TestTemplatesFitTheSchema(t *testing.T) {
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(document.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("policy.json", text); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range templates(t) {
		var doc any
		if err := yaml.Unmarshal(read(t, filepath.Join(dir, "policy.yaml")), &doc); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(doc) // times as RFC 3339
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
