package main

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/countersign/countersign/internal/message"
)

// marks know what is in the requests of a development deployment, and look for
// it in logs and metrics: no part of a payload, no token and no signature may
// stand there. Ids may.
type marks struct {
	*testing.T
	forms map[string]string // as it could be written, in lower case -> what it is
	asked int               // searches that were made
}

// wanted are marks of the scripts and of strangers' requests below: without them
// there is nothing to look for.
var wanted = []string{
	"leak-mark-label", "leak-mark-account", "leak-mark-domain", "leak-mark-typed",
	hex.EncodeToString([]byte("leak-mark-message")), hex.EncodeToString([]byte("leak-mark-call")),
	"5ec4e7aabbccddeeff00112233445566778899a1", "5ec4e7aabbccddeeff00112233445566778899a2",
	"5ec4e7aabbccddeeff00112233445566778899a3", "5ec4e7aabbccddeeff00112233445566778899a4", "12345678901234500",
}

// attackPayloadLeftInLogs reads what the requests of all scripts carried, has
// strangers ask with marks of their own, and searches every log and all that the
// health addresses tell.
func attackPayloadLeftInLogs(t *testing.T, dir string) {
	l := &leak{T: t, dir: dir}
	l.read("dev.json", &l.profile)
	m := &marks{T: t, forms: map[string]string{}}
	m.learnToken("the user's token", l.profile.Token)
	db, err := sql.Open("postgres", l.profile.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m.learnRequests(db)
	for _, w := range wanted {
		if !m.knows(w) {
			t.Errorf("no request carried %s: the test has nothing to look for", w)
		}
	}
	m.strangers(l)
	searchLogs(m.T, m.search, dir)
	m.searchHealth(dir)
	if m.asked < 5+3*5 {
		t.Errorf("only %d texts were searched", m.asked)
	}
}

func (m *marks) knows(text string) bool {
	for form := range m.forms {
		if strings.Contains(form, text) {
			return true
		}
	}
	return false
}

// learn learns a text and how it stands in hexadecimal and, wherever it begins,
// in base64.
func (m *marks) learn(what, text string) {
	b := []byte(text)
	m.forms[strings.ToLower(text)] = what
	if strings.Count(text, "0") > len(text)/2 {
		return // mostly zeros, which are in other things too once they are encoded
	}
	m.forms[hex.EncodeToString(b)] = what
	for shift := range 3 {
		// The groups of three bytes that lie within the text.
		if whole := (len(b) - shift) / 3 * 3; whole >= 9 {
			m.forms[strings.ToLower(base64.StdEncoding.EncodeToString(b[shift:shift+whole]))] = what
		}
	}
}

func (m *marks) learnToken(what, token string) {
	if token == "" {
		m.Fatalf("%s is empty", what)
	}
	m.learn(what, token)
	m.learn("the signature of "+what, token[strings.LastIndex(token, ".")+1:])
}

func (m *marks) learnRequests(db *sql.DB) {
	m.Helper()
	rows, err := db.Query("SELECT body FROM countersign.request")
	if err != nil {
		m.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var envelope message.Envelope
		var statement struct{ Payload any }
		if err := rows.Scan(&body); err != nil {
			m.Fatal(err)
		}
		if err := message.Decode(body, &envelope); err != nil {
			m.Fatal(err)
		}
		if err := json.Unmarshal(envelope.Statement, &statement); err != nil {
			m.Fatal(err)
		}
		m.learnPayload("", statement.Payload)
		_, signature, _ := strings.Cut(envelope.Signature.Signature, ":")
		m.learn("a request's signature", strings.Trim(signature, ":"))
	}
	if err := rows.Err(); err != nil {
		m.Fatal(err)
	}
}

// public are the members of payloads that say nothing of what is moved or
// written: words that are the same in thousands of requests, and ids.
var public = map[string]bool{
	"type": true, "chain": true, "chain_id": true, "curve": true, "seed_type": true, "source": true, "owner": true,
	"wallet": true, "account": true, "user": true, "primaryType": true, "types": true,
}

// learnPayload learns every text in a payload that is long enough not to be met
// by chance.
func (m *marks) learnPayload(name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if !public[name] {
				m.learnPayload(name, member)
			}
		}
	case []any:
		for _, member := range v {
			m.learnPayload(name, member)
		}
	case string:
		text := strings.TrimPrefix(v, "0x")
		least := 8
		if strings.TrimFunc(text, unicode.IsDigit) == "" {
			least = 15
		}
		if len(text) >= least {
			m.learn(name+" of a payload", text)
		}
	}
}

// strangers ask with a token, a body and a signature that are refused, each with
// a mark: what is refused is what tempts to be logged.
func (m *marks) strangers(l *leak) {
	m.Helper()
	const token, body, signature = "leak.mark.token-of-a-stranger", "leak-mark-stranger-body", "leak-mark-stranger-signature"
	m.learnToken("a stranger's token", token)
	m.learn("a stranger's body", body)
	m.learn("a stranger's signature", signature)
	for _, bearer := range []string{token, l.profile.Token} {
		for _, text := range []string{`{"` + body + `":1}`, `{"kind":"` + body + `"}`, body} {
			r, err := http.NewRequestWithContext(m.Context(), http.MethodPost, l.profile.Proposer+"/v1/requests", strings.NewReader(text))
			if err != nil {
				m.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+bearer)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Signature-Input", `sig=("@method" "content-digest");keyid="`+signature+`"`)
			r.Header.Set("Signature", "sig=:"+base64.StdEncoding.EncodeToString([]byte(signature))+":")
			answer, err := l.client().Do(r)
			if err != nil {
				m.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode < 400 {
				m.Errorf("a stranger is answered %s", answer.Status)
			}
		}
	}
}

func (m *marks) search(where string, b []byte) {
	m.Helper()
	m.asked++
	b = bytes.ToLower(b)
	for form, what := range m.forms {
		if bytes.Contains(b, []byte(form)) {
			m.Errorf("%s is in %s: %s", what, where, form)
		}
	}
}

var healthAddress = regexp.MustCompile(`(?m)^health: "?([0-9.:]+)"?$`)

// searchHealth asks each service for all that its health address tells.
func (m *marks) searchHealth(dir string) {
	m.Helper()
	for _, service := range append([]string{"proposer", message.RoleSigning}, message.PolicyRoles()...) {
		b, err := os.ReadFile(filepath.Join(dir, "config", service+".yaml"))
		if err != nil {
			m.Fatal(err)
		}
		found := healthAddress.FindSubmatch(b)
		if found == nil {
			m.Fatalf("%s has no health address", service)
		}
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			answer, err := http.Get("http://" + string(found[1]) + path)
			if err != nil {
				m.Fatal(err)
			}
			b, err := io.ReadAll(answer.Body)
			if err != nil {
				m.Fatal(err)
			}
			_ = answer.Body.Close()
			m.search(service+path, b)
		}
	}
}
