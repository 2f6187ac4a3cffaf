package document_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/policy/document"
)

// TestExampleOfThePage: the pieces on docs/policy.md are one document, with every
// section, that parses and that the schema accepts.
func TestExampleOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		text.Write(m[1])
	}
	doc, err := document.Parse([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(plain(t, text.String())); err != nil {
		t.Error(err)
	}
	d := deploymenttest.New(t)
	doc.Deployment = d.ID.String()
	if err := doc.Validate(d.Genesis); err != nil {
		t.Error(err)
	}
	if doc.Version != 7 || len(doc.Lists) != 2 || len(doc.Rules.Approval) != 2 || len(doc.Webhooks) != 1 || doc.Approval.Quorum != 1 {
		t.Errorf("read as %+v", doc)
	}
}
