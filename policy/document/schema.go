package document

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the document's JSON schema (draft 2020-12), for editors. What
// it accepts need not be valid: Validate says more, such as whether a name that
// is used is there.
func Schema() []byte { return slices.Clone(schema) }
