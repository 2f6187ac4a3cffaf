package main

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/config"
)

func TestIssuers(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	dir := t.TempDir()
	ca, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, content := range map[string][]byte{ca: block, empty: nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config.Proposer{
		Tokens: &config.Tokens{JWKS: "jwks.json", Issuer: "urn:file", Audience: "x"},
		Issuers: []config.Issuer{
			{Issuer: "https://a.example", Audiences: []string{"x", "y"}},
			{Issuer: "https://b.example", Audiences: []string{"z"}, CAFile: ca},
		},
	}
	got, err := issuers(cfg)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d issuers, %v", len(got), err)
	}
	file, a, b := got[0], got[1], got[2]
	if file.Name != "urn:file" || file.KeyFile != "jwks.json" || file.Audiences[0] != "x" || file.Roots != nil {
		t.Errorf("the file's issuer is %+v", file)
	}
	if a.Name != "https://a.example" || a.KeyFile != "" || len(a.Audiences) != 2 || a.Roots != nil {
		t.Errorf("the first is %+v", a)
	}
	if b.Name != "https://b.example" || b.Audiences[0] != "z" || b.Roots == nil {
		t.Errorf("the second is %+v", b)
	}

	cfg.Issuers[1].CAFile = empty
	if _, err := issuers(cfg); err == nil || !strings.Contains(err.Error(), "issuers[1].ca_file") {
		t.Errorf("a CA file without a certificate: %v", err)
	}
	if got, err := issuers(config.Proposer{}); got != nil || err != nil {
		t.Errorf("without issuers: %v, %v", got, err)
	}
}
