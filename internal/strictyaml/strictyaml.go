// Package strictyaml reads the YAML files that people write - the policy
// document, cases, configurations - into structs, and says what is wrong with
// one by its line, its key and what is wanted there, all of it at once and
// without a name of this program.
//
// It fails closed: an unknown or repeated key, a value of another form, a
// character that cannot be seen or a second document is an error. It trusts
// nothing in the file, keeps no state, and knows no file's meaning.
package strictyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Errors of Decode about the file as a whole.
var (
	ErrEmpty   = errors.New("it is empty")
	ErrMore    = errors.New("more than one YAML document")
	ErrUnseen  = errors.New("it cannot be seen, and others may read it otherwise: take it out, or write it in quotes as an escape")
	ErrNotUTF8 = errors.New("it is not UTF-8")
)

// Lines checks that a text has the same lines to a person and to every program: it
// is UTF-8, and its lines end with "\n" or "\r\n". To this YAML decoder one also
// ends at U+0085, U+2028, U+2029 and a lone "\r", so that what an editor shows as
// the rest of a comment would count.
func Lines(raw []byte) error {
	return seen(raw, func(r rune) bool { return strings.ContainsRune("\r\u0085\u2028\u2029", r) })
}

// Visible checks that a text has the same Lines and words to a person and to every
// program: all in it can be seen, and keeps the direction of the text.
func Visible(raw []byte) error { return seen(raw, unseen) }

// unseen are characters that do not print, or print nothing.
func unseen(r rune) bool {
	const braille, notehead = 0x2800, 0x1d159 // that are blank
	return !unicode.IsPrint(r) || r == braille || r == notehead ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func seen(raw []byte, refused func(rune) bool) error {
	if !utf8.Valid(raw) {
		return ErrNotUTF8
	}
	line := 1
	for i, r := range string(raw) {
		switch {
		case r == '\n':
			line++
		case r == '\t', r == '\r' && bytes.HasPrefix(raw[i+1:], []byte{'\n'}):
		case refused(r):
			return fmt.Errorf("line %d: character %U: %w", line, r, ErrUnseen)
		}
	}
	return nil
}

// Decode reads the one document of raw into v, a pointer to a struct with yaml
// tags. What v is after an error does not matter.
func Decode(raw []byte, v any) error {
	if err := Visible(raw); err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(v); errors.Is(err, io.EOF) {
		return ErrEmpty
	} else if err != nil {
		return explain(raw, reflect.TypeOf(v).Elem(), err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return ErrMore
	}
	return explain(raw, reflect.TypeOf(v).Elem(), nil)
}

// explain finds for itself what the decoder did not like in a document, and what
// it likes and others read otherwise.
func explain(raw []byte, t reflect.Type, decoding error) error {
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil || len(root.Content) != 1 {
		return plain(raw, decoding)
	}
	var e explainer
	e.value(root.Content[0], t, "")
	if len(e.faults) == 0 {
		return plain(raw, decoding)
	}
	return errors.Join(e.faults...)
}

var (
	wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)
	otherTruth  = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off)$`)
)

// Plain reports whether every reader takes a value without quotes for the
// same: 010 is eight or ten, 1_000 a number or text, 1.5 cut to 1 or not, and yes
// is true to some.
func Plain(n *yaml.Node) bool {
	switch n.Tag {
	case "!!int", "!!float":
		return wholeNumber.MatchString(n.Value)
	case "!!bool":
		return n.Value == "true" || n.Value == "false"
	case "!!str":
		return !otherTruth.MatchString(n.Value)
	}
	return true
}

// plain is the decoder's own error without the types of this program.
func plain(raw []byte, err error) error {
	if err == nil {
		return nil
	}
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return Syntax(raw, err)
	}
	faults := make([]error, len(typed.Errors))
	for i, text := range typed.Errors {
		text, _, _ = strings.Cut(text, " in type ")
		text, _, _ = strings.Cut(text, " into ")
		faults[i] = errors.New(text)
	}
	return errors.Join(faults...)
}

// maxFaults are told of one file at the most.
const maxFaults = 20

type explainer struct{ faults []error }

func (e *explainer) fault(n *yaml.Node, format string, args ...any) {
	if len(e.faults) < maxFaults {
		e.faults = append(e.faults, fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...)))
	}
}

var (
	readsNode = reflect.TypeFor[yaml.Unmarshaler]()
	readsText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value looks at the node that is to become a t.
func (e *explainer) value(n *yaml.Node, t reflect.Type, path string) {
	own := reflect.PointerTo(t).Implements(readsNode) || reflect.PointerTo(t).Implements(readsText)
	switch {
	case n.Tag == "!!null", n.Kind == yaml.AliasNode: // none is no fault; an alias is looked at where its anchor stands
	case own:
		if err := n.Decode(reflect.New(t).Interface()); err != nil {
			e.fault(n, "%s: %w", path, err)
		}
	case t.Kind() == reflect.Pointer:
		e.value(n, t.Elem(), path)
	case t.Kind() == reflect.Struct:
		e.entries(n, t, path, fields(t))
	case t.Kind() == reflect.Map:
		e.entries(n, t, path, nil)
	case t.Kind() == reflect.Slice:
		e.list(n, t, path)
	default:
		if n.Decode(reflect.New(t).Interface()) != nil || whole(t) && !Plain(n) {
			e.other(n, t, path)
		}
	}
}

// whole says whether a t is a whole number.
func whole(t reflect.Type) bool { return reflect.Int <= t.Kind() && t.Kind() <= reflect.Uint64 }

// other says that a value is something else than a t.
func (e *explainer) other(n *yaml.Node, t reflect.Type, path string) {
	if path == "" {
		path = "the document"
	}
	e.fault(n, "%s is %s, want %s", path, shown(n), wanted(t))
}

func (e *explainer) list(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.SequenceNode {
		e.other(n, t, path)
		return
	}
	for i, item := range n.Content {
		e.value(item, t.Elem(), fmt.Sprintf("%s[%s]", path, named(item, i+1)))
	}
}

// named is how people find an item of a list: its id or name, or its number,
// counted from 1.
func named(n *yaml.Node, number int) string {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		if (key == "id" || key == "name") && value.Kind == yaml.ScalarNode && value.Value != "" {
			return cut(value.Value)
		}
	}
	return fmt.Sprint(number)
}

// entries looks at keys with their values: the fields of a struct, or the
// entries of a map, where known is nil.
func (e *explainer) entries(n *yaml.Node, t reflect.Type, path string, known []field) {
	if n.Kind != yaml.MappingNode {
		e.other(n, t, path)
		return
	}
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			continue // what it brings is looked at where it stands
		}
		at := strings.TrimPrefix(path+"."+cut(key.Value), ".")
		if first := lines[key.Value]; first > 0 {
			e.fault(key, "%s is already defined in line %d", at, first)
			continue
		}
		lines[key.Value] = key.Line
		if known == nil {
			e.value(value, t.Elem(), at)
			continue
		}
		if of := typeOf(known, key.Value); of != nil {
			e.value(value, of, at)
		} else {
			e.fault(key, "%sfield %s not found: there are %s", within(path), cut(key.Value), names(known))
		}
	}
}

func within(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// field is a key that a struct has, and the type of its value.
type field struct {
	name string
	of   reflect.Type
}

func fields(t reflect.Type) []field {
	out := []field{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			out = append(out, fields(f.Type)...)
		case name != "-" && f.IsExported():
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			out = append(out, field{name, f.Type})
		}
	}
	return out
}

func typeOf(known []field, name string) reflect.Type {
	for _, f := range known {
		if f.name == name {
			return f.of
		}
	}
	return nil
}

func names(known []field) string {
	out := make([]string, len(known))
	for i, f := range known {
		out[i] = f.name
	}
	return strings.Join(out, ", ")
}

// shown is what stands there.
func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys with values"
	}
	return fmt.Sprintf("%q", cut(n.Value))
}

// cut bounds what an error repeats of a file.
func cut(text string) string {
	const most = 60
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "..."
	}
	return text
}

// wanted is what becomes a t, in words.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return "the keys " + names(fields(t))
	case reflect.Map:
		return "keys with values"
	case reflect.Slice:
		return "a list: [...], or lines that begin with -"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float64:
		return "a number"
	}
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 30s"
	}
	return "a whole number in decimal digits, without quotes"
}
