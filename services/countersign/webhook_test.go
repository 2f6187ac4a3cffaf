package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/config"
)

// toldOutcome has the running deployment tell a receiver on this machine how a
// request has ended: a new policy version names it, its secret comes from the
// proposer's command.
func toldOutcome(t *testing.T, bin, dir string) {
	secret := strings.TrimSpace(output(t, filepath.Join(bin, "proposer"), "webhook-secret", "--config", filepath.Join(dir, "config", "proposer.yaml"), "books"))
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 10)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		got <- body
	}))
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls", "receiver.pem"), filepath.Join(dir, "tls", "receiver.key"))
	if err != nil {
		t.Fatal(err)
	}
	receiver.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	receiver.Listener = listenAsReceiver(t, dir)
	receiver.StartTLS()
	defer receiver.Close()
	pushWebhook(t, bin, dir, receiver.URL)
	cli := filepath.Join(bin, "countersign")
	t.Setenv("COUNTERSIGN_PROFILE", filepath.Join(dir, "dev.json"))
	deadline := time.After(time.Minute)
	for { // until the proposer has the new version
		output(t, cli, "wallet", "create", "--label", "told")
		select {
		case body := <-got:
			var event struct{ Type string }
			if err := json.Unmarshal(body, &event); err != nil || event.Type != "request.done" {
				t.Errorf("told %s, %v", body, err)
			}
			return
		case <-time.After(2 * time.Second):
		case <-deadline:
			t.Fatal("no outcome was told")
		}
	}
}

// listenAsReceiver listens on the port that the deployment's proposer may connect
// to.
func listenAsReceiver(t *testing.T, dir string) net.Listener {
	raw, err := os.ReadFile(filepath.Join(dir, "config", "proposer.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var cfg config.Proposer
	if err := yaml.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", cfg.Webhooks.Ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pushWebhook publishes the policy's next version, which names one webhook.
func pushWebhook(t *testing.T, bin, dir, url string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	raw = regexp.MustCompile(`(?m)^version: 1$`).ReplaceAll(raw, []byte("version: 9"))
	raw = append(raw, []byte("webhooks:\n  - id: books\n    url: "+url+"\n    users: [alice]\n")...)
	if err := os.WriteFile(policy, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	cli, push := filepath.Join(bin, "countersign"), []string{"policy", "push", policy, "--config", filepath.Join(dir, "config", "operator.yaml")}
	for _, admin := range []string{"ada", "ben"} {
		signature := policy + "." + admin
		output(t, cli, "policy", "sign", policy, "--genesis", filepath.Join(dir, "genesis.json"),
			"--key", filepath.Join(dir, "keys", "admin-"+admin+".pem"), "--out", signature)
		push = append(push, "--signature", signature)
	}
	output(t, cli, push...)
}

// output runs a program to its end and returns what it wrote.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}
