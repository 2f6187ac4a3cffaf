package proposer_test

import (
	"bytes"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
)

// description is the OpenAPI document, ready to hold answers against. Every
// answer that any test of this package gets goes through it (see world.do).
type description struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

const documentURL = "https://countersign.test/openapi.json"

var described = sync.OnceValue(func() *description {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(proposer.OpenAPI()))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(documentURL, doc); err != nil {
		panic(err)
	}
	return &description{doc: doc.(map[string]any), compiler: c, schemas: map[string]*jsonschema.Schema{}}
})

func (d *description) schema(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.schemas[pointer]; ok {
		return s
	}
	s, err := d.compiler.Compile(documentURL + "#" + pointer)
	must(t, err)
	d.schemas[pointer] = s
	return s
}

// operation finds the template and operation of a call; nil if none is
// documented.
func (d *description) operation(method, path string) (string, map[string]any) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for template, item := range d.doc["paths"].(map[string]any) {
		if matches(template, path) {
			operation, _ := item.(map[string]any)[strings.ToLower(method)].(map[string]any)
			return template, operation
		}
	}
	return "", nil
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i, part := range want {
		if part != got[i] && !strings.HasPrefix(part, "{") {
			return false
		}
	}
	return true
}

// conform holds an answer against the document.
func (d *description) conform(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	template, operation := d.operation(r.Method, r.URL.Path)
	if operation == nil || r.URL.Opaque != "" {
		if a.status < 400 {
			t.Fatalf("%s %s is answered with %d, but not documented", r.Method, r.URL.Path, a.status)
		}
		d.validate(t, "/components/schemas/Problem", a)
		return
	}
	status := strconv.Itoa(a.status)
	response, ok := operation["responses"].(map[string]any)[status].(map[string]any)
	if !ok {
		t.Fatalf("%s %s: status %d is not documented: %s", r.Method, template, a.status, a.body)
	}
	d.headers(t, response, a)
	if a.status == http.StatusNoContent {
		return
	}
	mediaType := a.header.Get("Content-Type")
	if _, ok := response["content"].(map[string]any)[mediaType]; !ok {
		t.Fatalf("%s %s: %d with media type %q is not documented", r.Method, template, a.status, mediaType)
	}
	if mediaType == api.EventMediaType {
		for _, e := range events(t, bytes.NewReader(a.body)) {
			d.validate(t, "/components/schemas/Request", answer{body: []byte(e.data)})
		}
		return
	}
	if r.Method != http.MethodHead {
		escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
		d.validate(t, "/paths/"+escape.Replace(template)+"/"+strings.ToLower(r.Method)+"/responses/"+status+"/content/"+escape.Replace(mediaType)+"/schema", a)
	}
}

func (d *description) headers(t testing.TB, response map[string]any, a answer) {
	t.Helper()
	headers, _ := response["headers"].(map[string]any)
	for name, h := range headers {
		if h.(map[string]any)["required"] == true && a.header.Get(name) == "" {
			t.Fatalf("header %s is missing", name)
		}
	}
}

func (d *description) validate(t testing.TB, pointer string, a answer) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	must(t, err)
	if err := d.schema(t, pointer).Validate(value); err != nil {
		t.Fatalf("answer does not fit the document: %v: %s", err, a.body)
	}
}

// TestOpenAPIListsEveryRoute holds the table of routes and the document
// against each other.
func TestOpenAPIListsEveryRoute(t *testing.T) {
	var documented []string
	for path, item := range described().doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	routes := proposer.Routes()
	sort.Strings(routes)
	sort.Strings(documented)
	if !slices.Equal(routes, documented) {
		t.Fatalf("routes %v\ndocumented %v", routes, documented)
	}
}

// TestOpenAPIParameters holds the query parameters that each route knows
// against the document.
func TestOpenAPIParameters(t *testing.T) {
	for route, known := range proposer.QueryParameters() {
		method, path, _ := strings.Cut(route, " ")
		_, operation := described().operation(method, path)
		var documented []string
		parameters, _ := operation["parameters"].([]any)
		for _, p := range parameters {
			if p := p.(map[string]any); p["in"] == "query" {
				documented = append(documented, p["name"].(string))
			}
		}
		if !slices.Equal(known, documented) {
			t.Errorf("%s knows %v, documented %v", route, known, documented)
		}
	}
}

func TestOpenAPIListsEveryCode(t *testing.T) {
	schemas := described().doc["components"].(map[string]any)["schemas"].(map[string]any)
	codes := schemas["Problem"].(map[string]any)["properties"].(map[string]any)["code"].(map[string]any)["enum"].([]any)
	var documented, want []string
	for _, c := range codes {
		documented = append(documented, c.(string))
	}
	for c := range proposer.Codes() {
		want = append(want, string(c))
	}
	sort.Strings(want)
	if !slices.Equal(documented, want) {
		t.Fatalf("codes %v\ndocumented %v", want, documented)
	}
	for name := range schemas {
		described().schema(t, "/components/schemas/"+name)
	}
}

// TestOpenAPIHoldsForEveryRoute calls every route with success; world.do holds
// the answers against the document.
func TestOpenAPIHoldsForEveryRoute(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	statement := w.statement()
	open := wantRequest(t, w.propose(statement), http.StatusAccepted)
	wallet := open.Wallet
	m.wallets[wallet] = message.WalletDescriptor{Version: 1, Deployment: w.d.ID, ID: wallet, Owner: deploymenttest.User, Roles: w.d.Genesis.Roles, Generation: 1, SeedType: "raw", Source: "software"}
	account := w.d.Statement(message.KindAccountCreate, wallet, "", message.AccountCreate{}, w.clock.Now().Add(3600e9))
	second := wantRequest(t, w.propose(account), http.StatusAccepted)
	m.accounts[second.Account] = message.AccountDescriptor{Version: 1, Deployment: w.d.ID, ID: second.Account, Owner: deploymenttest.User, Generation: 1, Wallet: wallet, Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'", PublicKey: []byte{2}, Address: "0x"}
	w.end(m, open.ID, nil)
	wantRequest(t, w.propose(statement), http.StatusOK)

	paths := map[string]string{"{id}": open.ID}
	for _, route := range proposer.Routes() {
		method, template, _ := strings.Cut(route, " ")
		if method == http.MethodPost {
			continue
		}
		path := strings.ReplaceAll(template, "{id}", paths["{id}"])
		if strings.HasPrefix(path, "/v1/wallets/") {
			path = strings.ReplaceAll(template, "{id}", wallet)
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if a := w.do(w.client(false), w.request(method, path, nil, token)); a.status != http.StatusOK {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if a := w.get("/openapi.json", ""); !bytes.Equal(a.body, proposer.OpenAPI()) {
		t.Error("another document is served")
	}
}

// TestStatementFitsOpenAPI checks that what the document says of a statement
// is true of one that is accepted.
func TestStatementFitsOpenAPI(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	described().validate(t, "/components/schemas/Statement", answer{body: w.statement()})
}
