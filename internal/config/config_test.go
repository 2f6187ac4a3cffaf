package config_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/config"
)

const signing = `
genesis: genesis.json
branches:
  - build: build.json
    deploy: /etc/countersign/deploy.json
database:
  addresses: ["10.0.0.1:5432", "10.0.0.2:5432"]
  name: countersign
  ca: ca.pem
  server_name: db.example
health: 127.0.0.1:9000
`

const listen = `
listen:
  address: 0.0.0.0:8443
  certificate: tls.pem
  key: tls.key
`

const authorities = "authorities: [approvals.example]\n"

func load(t *testing.T, text string, cfg config.Config) (string, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "service.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, config.Load(path, cfg)
}

func TestLoadResolvesPathsFromTheFilesFolder(t *testing.T) {
	var cfg config.Signing
	dir, err := load(t, signing, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "genesis.json"); cfg.Genesis != want {
		t.Errorf("genesis is %s, want %s", cfg.Genesis, want)
	}
	if want := "/etc/countersign/deploy.json"; cfg.Branches[0].Deploy != want {
		t.Errorf("absolute path became %s", cfg.Branches[0].Deploy)
	}
	if cfg.Development {
		t.Error("development is on though nobody said so")
	}
}

func TestLoadEveryService(t *testing.T) {
	tests := map[string]struct {
		text string
		cfg  config.Config
	}{
		"role":     {signing, &config.Role{}},
		"approval": {signing + listen + authorities, &config.Approval{}},
		"proposer": {signing + listen + "client_ca: users.pem\n", &config.Proposer{}},
		"operator": {strings.Replace(signing, "health: 127.0.0.1:9000", "", 1), &config.Operator{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, tt.text, tt.cfg); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(signing+listen+authorities, old, new, 1) }
	tests := map[string]struct {
		text string
		want string
	}{
		"fail/misspelled-key":       {replace("genesis:", "genisis:"), "genisis"},
		"fail/misspelled-inner-key": {replace("server_name:", "servername:"), "servername"},
		"fail/key-twice":            {signing + listen + "health: 127.0.0.1:1\n", "already defined"},
		"fail/second-document":      {signing + listen + "---\nhealth: 127.0.0.1:1\n", "more than one"},
		"fail/empty":                {"", "empty"},
		"fail/only-comment":         {"# nothing\n", "empty"},
		"fail/health-not-loopback":  {replace("127.0.0.1:9000", "0.0.0.0:9000"), "loopback"},
		"fail/health-by-name":       {replace("127.0.0.1:9000", "localhost:9000"), "loopback"},
		"fail/no-server-name":       {replace("server_name: db.example", ""), "database.server_name"},
		"fail/no-branches":          {replace("  - build: build.json\n    deploy: /etc/countersign/deploy.json\n", ""), "branches"},
		"fail/half-a-pair":          {replace("build: build.json\n    ", ""), "branches[0].build"},
		"fail/no-authorities":       {signing + listen, "authorities"},
		"fail/no-port":              {replace("0.0.0.0:8443", "0.0.0.0"), "listen.address"},
		"fail/log-level":            {signing + listen + "log: {level: loud}\n", "log.level"},
		"fail/log-format":           {signing + listen + "log: {format: xml}\n", "log.format"},
		"fail/no-sandbox-in-strict": {signing + listen + authorities + "sandbox: \"off\"\n", "sandbox"},
		"fail/unknown-sandbox":      {signing + listen + authorities + "sandbox: maybe\n", "sandbox"},
		"fail/password-given":       {replace("name: countersign", "name: countersign\n  password: hunter2"), "password"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tt.text, &config.Approval{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that names %q", err, tt.want)
			}
		})
	}
}

func TestLoadSandbox(t *testing.T) {
	tests := map[string]struct {
		text string
		want config.Sandbox
	}{
		"left-out":           {"", config.SandboxDefault},
		"required":           {"sandbox: require\n", config.SandboxRequire},
		"tried":              {"sandbox: try\n", config.SandboxTry},
		"off-in-development": {"sandbox: off\ndevelopment: true\n", config.SandboxOff},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var cfg config.Signing
			if _, err := load(t, signing+tt.text, &cfg); err != nil || cfg.Sandbox != tt.want {
				t.Errorf("sandbox is %q, want %q (%v)", cfg.Sandbox, tt.want, err)
			}
		})
	}
}

func TestLoadLimits(t *testing.T) {
	tests := map[string]struct {
		text string
		want string // empty: accepted
	}{
		"all":                       {"limits: {submissions: {per_second: 0.5, burst: 1}, reads: {per_second: 10, burst: 20}, streams: {per_user: 1, total: 2}}", ""},
		"none":                      {"limits: {}", ""},
		"fail/no-burst":             {"limits: {reads: {per_second: 1}}", "limits.reads: per_second and burst"},
		"fail/no-rate":              {"limits: {submissions: {burst: 1}}", "limits.submissions: per_second and burst"},
		"fail/negative":             {"limits: {reads: {per_second: -1, burst: 1}}", "limits.reads"},
		"fail/no-number":            {"limits: {reads: {per_second: .nan, burst: 1}}", "limits.reads"},
		"fail/infinite":             {"limits: {reads: {per_second: .inf, burst: 1}}", "limits.reads"},
		"fail/negative-streams":     {"limits: {streams: {total: -1}}", "limits.streams"},
		"fail/misspelled-inner-key": {"limits: {reads: {per_minute: 1}}", "per_minute"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, signing+listen+"client_ca: users.pem\n"+tt.text+"\n", &config.Proposer{})
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error that names %q", err, tt.want)
			}
		})
	}
}

func TestLoadIssuers(t *testing.T) {
	const one = "issuers: [{issuer: \"https://login.example\", audiences: [countersign], ca_file: idp.pem}]"
	tests := map[string]struct {
		text string
		want string // empty: accepted
	}{
		"alone":                     {one, ""},
		"several":                   {"issuers: [{issuer: \"https://a.example\", audiences: [x, y]}, {issuer: \"https://a.example/\", audiences: [x]}]", ""},
		"beside-a-file":             {one + "\ntokens: {jwks: jwks.json, issuer: other, audience: countersign}", ""},
		"fail/twice":                {"issuers: [{issuer: \"https://a.example\", audiences: [x]}, {issuer: \"https://a.example\", audiences: [y]}]", "issuers[1].issuer"},
		"fail/also-of-the-file":     {one + "\ntokens: {jwks: jwks.json, issuer: \"https://login.example\", audience: countersign}", "stands twice"},
		"fail/http":                 {"issuers: [{issuer: \"http://login.example\", audiences: [countersign]}]", "not an https URL"},
		"fail/no-issuer":            {"issuers: [{audiences: [countersign]}]", "issuers[0].issuer is missing"},
		"fail/no-audience":          {"issuers: [{issuer: \"https://login.example\"}]", "issuers[0].audiences"},
		"fail/empty-audience":       {"issuers: [{issuer: \"https://login.example\", audiences: [\"\"]}]", "issuers[0].audiences"},
		"fail/misspelled-inner-key": {"issuers: [{issuer: \"https://login.example\", audience: countersign}]", "audience"},
		"fail/nobody-could-come-in": {"issuers: []", "nobody could come in"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var cfg config.Proposer
			dir, err := load(t, signing+listen+tt.text+"\n", &cfg)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want an error that names %q", err, tt.want)
			}
			if err == nil && cfg.Issuers[0].CAFile != "" && cfg.Issuers[0].CAFile != filepath.Join(dir, "idp.pem") {
				t.Errorf("the CA file is %s", cfg.Issuers[0].CAFile)
			}
		})
	}
}

func TestLoadReportsEveryFaultAtOnce(t *testing.T) {
	_, err := load(t, "development: true\n", &config.Proposer{})
	if err == nil {
		t.Fatal("an empty configuration was accepted")
	}
	for _, want := range []string{"genesis", "branches", "database.addresses", "database.name", "health", "listen.address", "client_ca"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("fault of %s is not reported in %v", want, err)
		}
	}
}

func TestLoadRefusesTooLarge(t *testing.T) {
	if _, err := load(t, signing+strings.Repeat("#", 1<<20), &config.Signing{}); err == nil {
		t.Error("a file of more than a megabyte was accepted")
	}
}

// TestExamples holds the examples that people start from to what services
// accept.
func TestExamples(t *testing.T) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "..", "..", "deploy", "config")
	examples := map[string]config.Config{
		"proposer.yaml": &config.Proposer{}, "signing.yaml": &config.Signing{}, "operator.yaml": &config.Operator{},
		"authorization.yaml": &config.Role{}, "fraud.yaml": &config.Role{}, "approval.yaml": &config.Approval{},
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		cfg, ok := examples[e.Name()]
		if !ok {
			t.Errorf("%s is read by no test", e.Name())
			continue
		}
		delete(examples, e.Name())
		if err := config.Load(filepath.Join(dir, e.Name()), cfg); err != nil {
			t.Error(err)
		}
	}
	for name := range examples {
		t.Errorf("%s is missing", name)
	}
}

func TestLoadWebhooks(t *testing.T) {
	tests := map[string]struct {
		text string
		want string // empty: accepted
	}{
		"all":                {`webhooks: {ca: ca.pem, proxy: "http://proxy.example:3128", allow_networks: [10.1.0.0/16, "fd00::/8"]}`, ""},
		"none":               {"webhooks: {}", ""},
		"fail/misspelled":    {"webhooks: {allowed: [10.0.0.0/8]}", "allowed"},
		"fail/no-network":    {"webhooks: {allow_networks: [10.0.0.1]}", "webhooks.allow_networks"},
		"fail/host-bits":     {"webhooks: {allow_networks: [10.0.0.1/8]}", "webhooks.allow_networks"},
		"fail/name":          {"webhooks: {allow_networks: [localhost]}", "webhooks.allow_networks"},
		"fail/proxy-scheme":  {`webhooks: {proxy: "socks5://proxy.example"}`, "webhooks.proxy"},
		"fail/proxy-no-host": {`webhooks: {proxy: "http:proxy"}`, "webhooks.proxy"},
		"fail/proxy-user":    {`webhooks: {proxy: "http://a:b@proxy.example"}`, "webhooks.proxy"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var cfg config.Proposer
			dir, err := load(t, signing+listen+"client_ca: users.pem\n"+tt.text+"\n", &cfg)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if name == "all" && cfg.Webhooks.CA != filepath.Join(dir, "ca.pem") {
				t.Errorf("ca is %s", cfg.Webhooks.CA)
			}
		})
	}
}
