package document_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

func TestWebhooks(t *testing.T) {
	d := deploymenttest.New(t)
	const good = "https://hooks.example/in?key=a%20b"
	hook := func(edit func(*document.Webhook)) []document.Webhook {
		w := document.Webhook{ID: "books", URL: good, Users: []string{"alice"}, Statuses: []message.Status{"signed"}}
		edit(&w)
		return []document.Webhook{w}
	}
	url := func(s string) []document.Webhook { return hook(func(w *document.Webhook) { w.URL = s }) }
	many := func(n int) (out []document.Webhook) {
		for i := range n {
			out = append(out, document.Webhook{ID: strings.Repeat("a", i+1), URL: good})
		}
		return out
	}
	for name, tt := range map[string]struct {
		hooks []document.Webhook
		want  string // empty: valid
	}{
		"ok/none":            {nil, ""},
		"ok/filters":         {hook(func(*document.Webhook) {}), ""},
		"ok/no-filters":      {[]document.Webhook{{ID: "a", URL: good}}, ""},
		"ok/port":            {url("https://hooks.example:8443/"), ""},
		"ok/address":         {url("https://198.51.100.7/in"), ""},
		"ok/address-6":       {url("https://[2001:db8::7]:8443/in"), ""},
		"ok/most":            {many(document.MaxWebhooks), ""},
		"fail/too-many":      {many(document.MaxWebhooks + 1), "more than 32"},
		"fail/id-twice":      {append(url(good), url(good)...), "stands twice"},
		"fail/id-empty":      {hook(func(w *document.Webhook) { w.ID = "" }), "not usable"},
		"fail/id-form":       {hook(func(w *document.Webhook) { w.ID = "a:b" }), "not usable"},
		"fail/id-dot":        {hook(func(w *document.Webhook) { w.ID = "a.b" }), "not usable"},
		"fail/id-long":       {hook(func(w *document.Webhook) { w.ID = strings.Repeat("a", 33) }), "not usable"},
		"fail/user":          {hook(func(w *document.Webhook) { w.Users = []string{"nobody"} }), "no user"},
		"fail/user-twice":    {hook(func(w *document.Webhook) { w.Users = []string{"alice", "alice"} }), "twice"},
		"fail/status":        {hook(func(w *document.Webhook) { w.Statuses = []message.Status{"sigend"} }), "not how"},
		"fail/status-open":   {hook(func(w *document.Webhook) { w.Statuses = []message.Status{"pending"} }), "not how"},
		"fail/status-twice":  {hook(func(w *document.Webhook) { w.Statuses = []message.Status{"signed", "signed"} }), "twice"},
		"fail/url-empty":     {url(""), "missing"},
		"fail/http":          {url("http://hooks.example/"), "https"},
		"fail/scheme-case":   {url("HTTPS://hooks.example/"), "malformed"},
		"fail/other-scheme":  {url("file:///etc/passwd"), "https"},
		"fail/opaque":        {url("https:hooks.example"), "https"},
		"fail/relative":      {url("//hooks.example/"), "https"},
		"fail/user-info":     {url("https://a:b@hooks.example/"), "user or password"},
		"fail/user-name":     {url("https://a@hooks.example/"), "user or password"},
		"fail/fragment":      {url("https://hooks.example/#a"), "fragment"},
		"fail/fragment-0":    {url("https://hooks.example/#"), ""},
		"fail/no-host":       {url("https:///in"), "host"},
		"fail/empty-port":    {url("https://hooks.example:/"), "host"},
		"fail/port-zero":     {url("https://hooks.example:0/"), "host"},
		"fail/port-name":     {url("https://hooks.example:https/"), "malformed"},
		"fail/zone":          {url("https://[fe80::1%25eth0]/"), "host"},
		"fail/host-case":     {url("https://Hooks.example/"), "host"},
		"fail/host-percent":  {url("https://hooks%2eexample/"), "malformed"},
		"fail/backslash":     {url(`https://hooks.example\@evil.example/`), "printable"},
		"fail/space":         {url("https://hooks.example/ a"), "printable"},
		"fail/line-feed":     {url("https://hooks.example/\n"), "printable"},
		"fail/not-ascii":     {url("https://hööks.example/"), "printable"},
		"fail/control":       {url("https://hooks.example/\x7f"), "printable"},
		"fail/long":          {url("https://hooks.example/" + strings.Repeat("a", 2048)), "too long"},
		"fail/bad-escape":    {url("https://hooks.example/%zz"), "malformed"},
		"fail/several-right": {append(hook(func(w *document.Webhook) { w.ID = "B" }), url(good)...), "not usable"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := d.Document()
			doc.Webhooks = tt.hooks
			err := doc.Validate(d.Genesis)
			valid := strings.HasPrefix(name, "ok/")
			if valid != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "key=") {
				t.Errorf("the address is repeated: %v", err)
			}
		})
	}
}

// A document without webhooks is what it was before there were any, byte for
// byte, and an unknown member of one is refused.
func TestWebhooksInYAML(t *testing.T) {
	d := deploymenttest.New(t)
	doc := d.Document()
	text := encode(t, doc)
	if strings.Contains(text, "webhook") {
		t.Fatal("a document without webhooks names them")
	}
	got, err := document.Parse([]byte(text + "webhooks:\n  - id: books\n    url: https://hooks.example/\n    statuses: [signed]\n"))
	if err != nil || len(got.Webhooks) != 1 || got.Webhooks[0].Statuses[0] != message.StatusSigned {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := document.Parse([]byte(text + "webhooks:\n  - id: books\n    url: https://hooks.example/\n    secret: x\n")); !errors.Is(err, document.ErrForm) {
		t.Fatalf("got %v, want ErrForm", err)
	}
}

func TestWebhookFilters(t *testing.T) {
	all := document.Webhook{ID: "all"}
	some := document.Webhook{ID: "some", Users: []string{"alice"}, Statuses: []message.Status{message.StatusSigned}}
	if !all.Concerns("carol") || !all.Wants(message.StatusFailed) {
		t.Error("without filters something is left out")
	}
	if !some.Concerns("alice") || some.Concerns("carol") || !some.Wants(message.StatusSigned) || some.Wants(message.StatusFailed) {
		t.Error("a filter lets through what it should not, or keeps what it should let through")
	}
	active := deploymenttest.New(t).Active(func(x *document.Document) {
		x.Webhooks = []document.Webhook{{ID: "books", URL: "https://hooks.example/"}}
	})
	if w, ok := active.Webhook("books"); !ok || w.URL != "https://hooks.example/" {
		t.Errorf("got %+v, %v", w, ok)
	}
	if _, ok := active.Webhook("other"); ok {
		t.Error("a webhook that is not in the document was found")
	}
}
