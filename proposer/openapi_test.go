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
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/proposer/token"
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
	if mediaType == api.ProblemMediaType && r.Method != http.MethodHead {
		d.lists(t, response, a)
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

// lists checks that the description of a response names the code of a problem.
func (d *description) lists(t testing.TB, response map[string]any, a answer) {
	t.Helper()
	var p api.Problem
	must(t, message.DecodeStrict(a.body, &p))
	codes := strings.TrimSuffix(strings.TrimPrefix(response["description"].(string), "Problem: "), ".")
	if !slices.Contains(strings.Split(codes, ", "), p.Code) {
		t.Fatalf("problem %s is not among those documented: %s", p.Code, codes)
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

// TestOpenAPIHoldsForEveryKind asks for each kind that the document lists, and
// reads what is answered in every way; world.do holds it against the document.
func TestOpenAPIHoldsForEveryKind(t *testing.T) {
	kinds := described().doc["components"].(map[string]any)["schemas"].(map[string]any)["Kind"].(map[string]any)["enum"].([]any)
	for _, kind := range kinds {
		t.Run(kind.(string), func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, nil)
			statement := w.statementOf(message.Kind(kind.(string)))
			described().validate(t, "/components/schemas/Statement", answer{body: statement})
			r := wantRequest(t, w.propose(statement), http.StatusAccepted)
			wantRequest(t, w.propose(statement), http.StatusAccepted)
			wantRequest(t, w.cancel(r.ID, deploymenttest.User, "Prefer", "wait=0"), http.StatusAccepted)
			w.everyWay(r.ID, 1)
			w.end(m, r.ID, func(r *message.Result) { r.Status, r.Output = message.StatusCancelled, nil })
			wantRequest(t, w.propose(statement), http.StatusOK)
			wantRequest(t, w.cancel(r.ID, deploymenttest.User), http.StatusOK)
			w.everyWay(r.ID, 1)
		})
	}
}

// statementOf returns a statement of a kind: with a wallet and an account where
// the kind wants them.
func (w *world) statementOf(kind message.Kind) []byte {
	w.t.Helper()
	id, expires := strings.Repeat("ab", 32), w.clock.Now().Add(time.Hour)
	for _, names := range [][2]string{{"", ""}, {id, ""}, {id, id}} {
		statement := w.d.Statement(kind, names[0], names[1], map[string]string{"label": "test"}, expires)
		if _, err := message.ParseStatement(statement, w.d.ID); err == nil {
			return statement
		}
	}
	w.t.Fatalf("no statement of kind %s can be made", kind)
	return nil
}

// TestOpenAPIListsWhatEveryCallMayMeet makes every call that needs a user while
// nobody can say who calls, and while no policy document says who is a user.
func TestOpenAPIListsWhatEveryCallMayMeet(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(cfg *proposer.Config) {
		down, err := token.New(token.Config{Issuers: []token.Issuer{{Name: issuer, Audiences: []string{audience}}}, Timing: token.Timing{Wait: time.Millisecond}})
		must(t, err)
		cfg.Tokens = down
	})
	bearer := w.token(deploymenttest.User, nil)
	for _, code := range []proposer.Code{proposer.CodeIssuerUnavailable, proposer.CodeNotReady} {
		for _, route := range proposer.Routes() {
			method, path, _ := strings.Cut(strings.ReplaceAll(route, "{id}", "01890a5d-ac96-774b-bcce-b302099a8057"), " ")
			if strings.HasPrefix(path, "/v1/") {
				wantProblem(t, w.do(w.client(false), w.request(method, path, nil, bearer)), code)
			}
		}
		w.policy.Set(nil)
	}
}

// TestStatementFitsOpenAPI checks that what the document says of a statement
// is true of one that is accepted.
func TestStatementFitsOpenAPI(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	described().validate(t, "/components/schemas/Statement", answer{body: w.statement()})
}
