package document_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(document.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("policy.json", text); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain is a document as an editor sees it: times are texts.
func plain(t *testing.T, text string) any {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	var untime func(n *yaml.Node)
	untime = func(n *yaml.Node) {
		if n.Tag == "!!timestamp" {
			n.Tag = "!!str"
		}
		for _, child := range n.Content {
			untime(child)
		}
	}
	untime(&root)
	var out any
	if err := root.Decode(&out); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	out, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// full is a document with every section.
func full(t *testing.T, d *deploymenttest.Deployment) *document.Document {
	t.Helper()
	x := d.Document()
	names(x)
	introduce(t, 2, deploymenttest.Key(t), deploymenttest.Key(t))(x)
	x.Lists[0].Entries[0].Since = document.At(now)
	x.Approvers[0].User = "alice"
	x.Users[0].Certificates = []string{message.Sum(nil).String()}
	x.Webhooks = []document.Webhook{{ID: "books", URL: "https://hooks.test/a", Users: []string{"alice"}, Statuses: []message.Status{message.StatusDone}}}
	return x
}

func TestSchemaAcceptsWhatIsValid(t *testing.T) {
	d, s := deploymenttest.New(t), compileSchema(t)
	for name, x := range map[string]*document.Document{"default": d.Document(), "full": full(t, d)} {
		if err := x.Validate(d.Genesis); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(plain(t, encode(t, x))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses what Parse or Validate refuses, as far as a schema can tell.
func TestSchemaRefuses(t *testing.T) {
	d, s := deploymenttest.New(t), compileSchema(t)
	type doc = *document.Document
	edits := map[string]func(doc){
		"version":          func(x doc) { x.Version = 0 },
		"deployment":       func(x doc) { x.Deployment = "ab" },
		"admins-threshold": func(x doc) { x.Admins.Threshold = 0 },
		"admins-none":      func(x doc) { x.Admins.Keys = nil },
		"admins-name":      func(x doc) { x.Admins.Keys[0].Name = "" },
		"admins-key":       func(x doc) { x.Admins.Keys[0].Key.Crv = "P-256" },
		"no-signing":       func(x doc) { delete(x.Services, "signing") },
		"service-keys":     func(x doc) { x.Services["fraud"] = nil },
		"user-id":          func(x doc) { x.Users[0].ID = "a b" },
		"user-subject":     func(x doc) { x.Users[0].Subject = "" },
		"certificate":      func(x doc) { x.Users[0].Certificates[0] = "AB" },
		"approver-keys":    func(x doc) { x.Approvers[0].Keys = nil },
		"group-id":         func(x doc) { x.Groups[0].ID = "" },
		"group-twice":      func(x doc) { x.Groups[0].Members = []string{"alice", "alice"} },
		"list-neither":     func(x doc) { x.Lists[0].Entries = nil },
		"list-both":        func(x doc) { x.Lists[0].File = x.Lists[2].File },
		"entry-case":       func(x doc) { x.Lists[0].Entries[0].Account = strings.ToUpper(payee) },
		"entry-short":      func(x doc) { x.Lists[0].Entries[0].Account = "eip155:1:0xab" },
		"label":            func(x doc) { x.Lists[0].Entries[0].Label = strings.Repeat("x", 129) },
		"file-sha256":      func(x doc) { x.Lists[2].File.SHA256 = "" },
		"file-entries":     func(x doc) { x.Lists[2].File.Entries = 0 },
		"asset-form":       func(x doc) { x.Assets[0].Asset = "ETH" },
		"asset-short":      func(x doc) { x.Assets[0].Asset = "eip155:1/erc20:0xab" },
		"asset-coin":       func(x doc) { x.Assets[0].Asset = "eip155:137/slip44:966" },
		"asset-items":      func(x doc) { x.Assets[0].Asset = "eip155:1/erc1155:0x" + strings.Repeat("ab", 20) },
		"asset-standard":   func(x doc) { x.Assets[0].Asset = "eip155:1/erc777:0x" + strings.Repeat("ab", 20) },
		"decimals":         func(x doc) { x.Assets[0].Decimals = 78 },
		"call-function":    func(x doc) { x.Calls[0].Function = "" },
		"call-contract":    func(x doc) { x.Calls[0].Contract = "0xab" },
		"grant-kind":       func(x doc) { x.Grants[0].Kinds = []message.Kind{message.KindUserFreeze} },
		"grant-wallet":     func(x doc) { x.Grants[0].Wallets = []string{"mine"} },
		"grant-empty":      func(x doc) { x.Grants[0].Users = nil },
		"rule-effect":      func(x doc) { x.Rules.Approval[0].Effect = "permit" },
		"rule-kind":        func(x doc) { x.Rules.Approval[0].Kinds = []message.Kind{"*"} },
		"ask-in-fraud":     func(x doc) { x.Rules.Fraud[0].Effect = document.EffectAsk },
		"when":             func(x doc) { x.Rules.Fraud[0].When = "" },
		"when-long":        func(x doc) { x.Rules.Fraud[0].When = strings.Repeat("x", 4097) },
		"reason":           func(x doc) { x.Rules.Approval[2].Reason = strings.Repeat("x", 201) },
		"quorum-alone":     func(x doc) { x.Rules.Approval[1].Approvers = nil },
		"approvers-alone":  func(x doc) { x.Rules.Approval[1].Quorum = 0 },
		"deny-quorum":      func(x doc) { x.Rules.Approval[2].Quorum = 1 },
		"deny-unknown":     func(x doc) { x.Rules.Approval[2].UnknownCalls = true },
		"thaw":             func(x doc) { x.Thaw[0] = strings.ToUpper(thawed) },
		"thaw-v4":          func(x doc) { x.Thaw[0] = "019400aa-0000-4000-8000-000000000001" },
		"webhook-url":      func(x doc) { x.Webhooks[0].URL = "http://hooks.test" },
		"webhook-status":   func(x doc) { x.Webhooks[0].Statuses = []message.Status{"over"} },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			x := full(t, d)
			edit(x)
			if x.Validate(d.Genesis) == nil {
				t.Error("it is valid")
			}
			if s.Validate(plain(t, encode(t, x))) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
	good := encode(t, full(t, d))
	for name, change := range map[string][2]string{
		"unknown-key": {"expires:", "expiry:"}, "nested-key": {"threshold:", "treshold:"}, "rule-key": {"effect:", "affect:"},
		"zone": {"01T00:00:00Z", "01T00:00:00+01:00"}, "day-only": {"01T00:00:00Z", "01"}, "number-as-text": {"decimals: 18", `decimals: "18"`},
		"no-decimals": {"      decimals: 18\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, change[0], change[1], 1)
			if text == good {
				t.Fatalf("the document has no %q", change[0])
			}
			if _, err := document.Parse([]byte(text)); err == nil {
				t.Error("it parses")
			}
			if s.Validate(plain(t, text)) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

// TestSchemaHasEveryField and no other, each with words on it.
func TestSchemaHasEveryField(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(document.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	compareType(t, root, "document", reflect.TypeFor[document.Document](), root)
}

func compareType(t *testing.T, root map[string]any, where string, typ reflect.Type, node map[string]any) {
	t.Helper()
	described := node["description"] != nil
	node = resolve(root, node)
	if !described && node["description"] == nil {
		t.Errorf("%s: no description", where)
	}
	switch {
	case typ.Kind() == reflect.Pointer:
		compareType(t, root, where, typ.Elem(), describe(node))
	case typ == reflect.TypeFor[document.Time](), typ == reflect.TypeFor[message.Bytes]():
	case typ.Kind() == reflect.Slice:
		compareType(t, root, where, typ.Elem(), describe(child(t, where, node, "items")))
	case typ.Kind() == reflect.Map:
		compareType(t, root, where, typ.Elem(), describe(child(t, where, node, "additionalProperties")))
	case typ.Kind() == reflect.Struct:
		compareFields(t, root, where, typ, node)
	}
}

func compareFields(t *testing.T, root map[string]any, where string, typ reflect.Type, node map[string]any) {
	t.Helper()
	properties := child(t, where, node, "properties")
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
		property, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("%s: the schema lacks %q", where, name)
			continue
		}
		compareType(t, root, where+"."+name, typ.Field(i).Type, property)
		delete(properties, name)
	}
	for name := range properties {
		t.Errorf("%s: the schema has %q, the document does not", where, name)
	}
	if node["additionalProperties"] != false {
		t.Errorf("%s: the schema lets unknown members pass", where)
	}
}

// resolve follows references, and an allOf that begins with one.
func resolve(root, node map[string]any) map[string]any {
	if all, ok := node["allOf"].([]any); ok && node["properties"] == nil {
		return resolve(root, all[0].(map[string]any))
	}
	to, ok := node["$ref"].(string)
	if !ok {
		return node
	}
	named := root["$defs"].(map[string]any)[strings.TrimPrefix(to, "#/$defs/")]
	raw, _ := json.Marshal(named) // a copy, for properties are taken out
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	return resolve(root, out)
}

// describe is for parts whose owner has the words.
func describe(node map[string]any) map[string]any {
	if node["description"] == nil {
		node["description"] = "-"
	}
	return node
}

func child(t *testing.T, where string, node map[string]any, name string) map[string]any {
	t.Helper()
	out, ok := node[name].(map[string]any)
	if !ok {
		t.Fatalf("%s: %s is not there", where, name)
	}
	return out
}
