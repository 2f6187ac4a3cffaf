package strictyaml_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/strictyaml"
)

var errColour = errors.New("colour is not red or blue")

type colour string

func (c *colour) UnmarshalText(text []byte) error {
	if *c = colour(text); *c != "red" && *c != "blue" {
		return errColour
	}
	return nil
}

type day struct{}

func (*day) UnmarshalYAML(n *yaml.Node) error {
	if n.Value != "monday" {
		return errors.New("day is not monday")
	}
	return nil
}

type shared struct {
	Level int `yaml:"level,omitempty"`
}

type thing struct {
	ID     string `yaml:"id"`
	Colour colour `yaml:"colour,omitempty"`
	Sizes  []int  `yaml:"sizes,omitempty"`
}

type file struct {
	shared `yaml:",inline"`
	Things []thing          `yaml:"things"`
	On     bool             `yaml:"on"`
	Wait   time.Duration    `yaml:"wait"`
	Day    day              `yaml:"day"`
	More   *thing           `yaml:"more"`
	By     map[string]thing `yaml:"by"`
	hidden string
}

func TestDecode(t *testing.T) {
	var f file
	err := strictyaml.Decode([]byte("level: 3\nthings: [{id: 7, colour: red, sizes: [1, 2]}]\non: true\nwait: 5s\nday: monday\nmore: {id: x}\nby: {a: {id: y}}\n"), &f)
	if err != nil {
		t.Fatal(err)
	}
	if f.Level != 3 || len(f.Things) != 1 || f.Things[0].ID != "7" || f.Things[0].Colour != "red" || !f.On || f.Wait != 5*time.Second || f.More.ID != "x" || f.By["a"].ID != "y" || f.hidden != "" {
		t.Errorf("%+v", f)
	}
}

// ofTheProgram is what no error may say: types of Go, and tags of YAML.
var ofTheProgram = regexp.MustCompile(`!!|strictyaml|\bfile\.|\bint\b|\bslice\b|\bstruct\b|yaml:|unmarshal`)

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "it is empty"},
		"comment":          {"# nothing\n", "it is empty"},
		"two":              {"on: true\n---\non: true\n", "more than one YAML document"},
		"no-yaml":          {"on: [\n", "line 1: did not find expected node content"},
		"tab":              {"on: true\nmore:\n  id: x\n\tsizes: []\n", "line 4: a tab stands before the text: write spaces"},
		"tab-told-right":   {"on: true\n\tlevel: 3\n", "line 2: a tab stands before the text: write spaces"},
		"tab-as-value":     {"on: true\nmore:\n\tid: x\n", "line 3: a tab stands before the text: write spaces"},
		"tab-at-first":     {"\ton: true\n", "line 1: a tab stands before the text: write spaces"},
		"no-tab":           {"on: true\nlevel: @3\n", "line 2: found character that cannot start any token"},
		"colon":            {"on: true\nwait: a: b\n", "line 2: mapping values are not allowed in this context"},
		"less-indented":    {"more:\n    id: x\n  sizes: []\n", "line 3: did not find expected key"},
		"behind-quotes":    {"on: true\nwait: \"x\" y\nlevel: 3\n", "line 2: did not find expected key"},
		"bracket":          {"more: {id: x]\n", "line 1: did not find expected ',' or '}'"},
		"not-utf-8":        {"on: true # \xff\n", "it is not UTF-8"},
		"hidden-line":      {"wait: 5s\nday: monday # as ever\u2028on: true\n", "line 2: character U+2028: it cannot be seen, and others may read it otherwise: take it out, or write it in quotes as an escape"},
		"no-mapping":       {"[1]\n", "line 1: the document is a list, want the keys level, things, on, wait, day, more, by"},
		"unknown":          {"on: true\noff: true\n", "line 2: field off not found: there are level, things, on, wait, day, more, by"},
		"private":          {"hidden: x\n", "line 1: field hidden not found: there are level, things, on, wait, day, more, by"},
		"inside-by-id":     {"things:\n  - id: a\n    color: red\n", "line 3: things[a]: field color not found: there are id, colour, sizes"},
		"inside-by-number": {"things:\n  - id: a\n  - ident: b\n", "line 3: things[2]: field ident not found: there are id, colour, sizes"},
		"number":           {"things: [{id: a, sizes: [1, two]}]\n", `line 1: things[a].sizes[2] is "two", want a whole number in decimal digits, without quotes`},
		"quoted-number":    {"level: '3'\n", `line 1: level is "3", want a whole number in decimal digits, without quotes`},
		"octal":            {"level: 010\n", `line 1: level is "010", want a whole number in decimal digits, without quotes`},
		"hexadecimal":      {"level: 0x10\n", `line 1: level is "0x10", want a whole number in decimal digits, without quotes`},
		"underscored":      {"level: 1_0\n", `line 1: level is "1_0", want a whole number in decimal digits, without quotes`},
		"fraction":         {"level: 1.5\n", `line 1: level is "1.5", want a whole number in decimal digits, without quotes`},
		"exponent":         {"level: 1e5\n", `line 1: level is "1e5", want a whole number in decimal digits, without quotes`},
		"octal-in-a-list":  {"things: [{id: a, sizes: [1, 010]}]\n", `line 1: things[a].sizes[2] is "010", want a whole number in decimal digits, without quotes`},
		"boolean":          {"on: perhaps\n", `line 1: on is "perhaps", want true or false`},
		"duration":         {"wait: soon\n", `line 1: wait is "soon", want a duration such as 30s`},
		"text":             {"things: [{id: [a]}]\n", "line 1: things[1].id is a list, want text"},
		"list":             {"things: {id: a}\n", "line 1: things is keys with values, want a list: [...], or lines that begin with -"},
		"keys":             {"more: x\n", `line 1: more is "x", want the keys id, colour, sizes`},
		"map":              {"by: 5\n", `line 1: by is "5", want keys with values`},
		"in-map":           {"by: {a: {id: y, size: 1}}\n", "line 1: by.a: field size not found: there are id, colour, sizes"},
		"own-text":         {"things:\n  - id: a\n    colour: green\n", "line 3: things[a].colour: colour is not red or blue"},
		"own-node":         {"day: friday\n", "line 1: day: day is not monday"},
		"twice":            {"on: true\non: false\n", "line 2: on is already defined in line 1"},
		"long":             {"wait: " + strings.Repeat("x", 99) + "\n", `line 1: wait is "` + strings.Repeat("x", 60) + `...", want a duration such as 30s`},
		"behind-an-alias":  {"things: [&a {id: x, sizes: [y]}, *a]\n", `line 1: things[x].sizes[1] is "y", want a whole number in decimal digits, without quotes`},
		"every-one":        {"on: 1\nlevel: x\n", "line 1: on is \"1\", want true or false\nline 2: level is \"x\", want a whole number in decimal digits, without quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			err := strictyaml.Decode([]byte(c.text), &file{})
			if err == nil || err.Error() != c.want {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if said := ofTheProgram.FindString(err.Error()); said != "" {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// What is no YAML can be told from what is not meant by it.
func TestSyntaxError(t *testing.T) {
	for text, syntax := range map[string]bool{"wait: a: b\n": true, "more:\n\tid: x\n": true, "off: true\n": false, "": false} {
		err := strictyaml.Decode([]byte(text), &file{})
		if got := errors.As(err, new(strictyaml.SyntaxError)); err == nil || got != syntax {
			t.Errorf("%q: %v is a syntax error: %v", text, err, got)
		}
	}
}

// What a value's own type says can still be told by its error.
func TestOwnError(t *testing.T) {
	if err := strictyaml.Decode([]byte("things: [{colour: green}]\n"), &file{}); !errors.Is(err, errColour) {
		t.Errorf("got %v", err)
	}
}

// A file that is wrong everywhere is not repeated in full.
func TestErrorsAreBounded(t *testing.T) {
	err := strictyaml.Decode([]byte("things: ["+strings.Repeat("{sizes: [x]}, ", 5000)+"]\n"), &file{})
	if n := strings.Count(err.Error(), "\n") + 1; n != 20 {
		t.Errorf("%d faults are told", n)
	}
}
