package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/strictyaml"
)

// MaxDocument is the most bytes that a policy document may have, so that its
// bundle fits into one message.
const MaxDocument = 128 << 10

// maxDepth is far above what the document's own structure needs.
const maxDepth = 16

// ErrForm says that the YAML uses something that a policy document must not
// use, because two readers could read it differently.
var ErrForm = errors.New("not in the form of a policy document")

// Parse reads a policy document strictly: one YAML document in UTF-8, no
// unknown, misspelled or repeated keys, no anchors, aliases, merge keys,
// explicit tags or empty values, no number or truth that others might read
// otherwise, no character that cannot be seen, and no asset without decimals. It
// does not check what the document says: see Validate.
func Parse(raw []byte) (*Document, error) {
	root, err := parseForm(raw)
	if err != nil {
		return nil, err
	}
	var d Document
	if err := strictyaml.Decode(raw, &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if err := errors.Join(withoutDecimals(root)...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return &d, nil
}

// withoutDecimals finds assets that do not say their decimals: 0 is a number that
// some assets have, and would be meant of all that forget theirs.
func withoutDecimals(root *yaml.Node) (faults []error) {
	assets := valueOf(root, "assets")
	if assets == nil {
		return nil
	}
	for _, asset := range assets.Content {
		if valueOf(asset, "decimals") != nil {
			continue
		}
		name := ""
		if id := valueOf(asset, "id"); id != nil {
			name = id.Value
		}
		faults = append(faults, fmt.Errorf("line %d: asset %q: decimals are missing: write how many its whole unit has, such as 18 for ether, or 0", asset.Line, name))
	}
	return faults
}

// valueOf returns what stands in a mapping under a key, or nil.
func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// parseForm looks at the node tree, where aliases and tags are still visible,
// and returns it. A document of an earlier release must pass it to keep its place
// in the succession: what it did not refuse then it does not refuse now.
func parseForm(raw []byte) (*yaml.Node, error) {
	if len(raw) > MaxDocument {
		return nil, fmt.Errorf("%w: %d bytes exceed %d", ErrForm, len(raw), MaxDocument)
	}
	if bytes.HasPrefix(raw, []byte("\ufeff")) {
		return nil, fmt.Errorf("%w: it begins with a byte order mark", ErrForm)
	}
	if err := strictyaml.Lines(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	var root, second yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: %w", ErrForm, strictyaml.ErrEmpty)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrForm, strictyaml.Syntax(raw, err))
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one YAML document", ErrForm)
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%w: the document is not a mapping", ErrForm)
	}
	return root.Content[0], checkNode(root.Content[0], 0)
}

func checkNode(n *yaml.Node, depth int) error {
	fault := func(what string) error { return fmt.Errorf("%w: line %d: %s", ErrForm, n.Line, what) }
	unquoted := func(what string) error {
		return fmt.Errorf("%w: %w", ErrForm, strictyaml.SyntaxError(fmt.Sprintf("line %d: %s", n.Line, what)))
	}
	switch {
	case depth > maxDepth:
		return fault("nested too deeply")
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return unquoted("anchors and aliases are not allowed")
	case n.Style&yaml.TaggedStyle != 0:
		return unquoted("explicit tags are not allowed")
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return fault("empty value: leave the key out or write [] or \"\"")
	case n.Kind == yaml.ScalarNode && n.Style == 0 && !strictyaml.Plain(n):
		return fault(fmt.Sprintf("%q: write a whole number in decimal digits, true or false, or put text into quotes", n.Value))
	case n.Kind == yaml.MappingNode:
		if err := checkKeys(n); err != nil {
			return err
		}
	}
	for _, child := range n.Content {
		if err := checkNode(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// maxKeys is far above what any mapping of a document needs: the YAML decoder
// compares all keys of a mapping with each other.
const maxKeys = 256

func checkKeys(n *yaml.Node) error {
	if len(n.Content) > 2*maxKeys {
		return fmt.Errorf("%w: line %d: more than %d keys", ErrForm, n.Line, maxKeys)
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" {
			return fmt.Errorf("%w: line %d: key is not a word", ErrForm, key.Line)
		}
		if seen[key.Value] {
			return fmt.Errorf("%w: line %d: key %q stands twice", ErrForm, key.Line, key.Value)
		}
		seen[key.Value] = true
	}
	return nil
}
