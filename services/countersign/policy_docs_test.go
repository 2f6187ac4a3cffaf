package main

import (
	"bytes"
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
	"github.com/countersign/countersign/secrets"
)

var updateDocs = flag.Bool("update", false, "write what the commands print into docs/policy-commands.md")

// console is a block of commands with what they print.
var console = regexp.MustCompile("(?s)```console\n(.*?)```")

// TestPolicyCommandsInDocs runs every command of docs/policy-commands.md and
// compares what it prints with what the page says.
func TestPolicyCommandsInDocs(t *testing.T) {
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "policy-commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	docsFolder(t, dir)
	t.Chdir(dir)
	blocks := 0
	changed := console.ReplaceAllFunc(page, func(block []byte) []byte {
		blocks++
		text := string(console.FindSubmatch(block)[1])
		got := runConsole(t, text)
		if matches(text, got) {
			return block
		}
		if !*updateDocs {
			t.Errorf("the page says\n%s\nand the commands print\n%s", text, got)
		}
		return []byte("```console\n" + got + "```")
	})
	if blocks < 8 {
		t.Errorf("only %d blocks of commands", blocks)
	}
	if *updateDocs {
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runConsole runs the commands of a block; what one prints follows it, and how it
// ended where that is not 0.
func runConsole(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if !ok {
			continue
		}
		fmt.Fprintf(&out, "$ %s\n", command)
		if !strings.HasPrefix(command, "countersign ") {
			shell(t, command)
			continue
		}
		var printed bytes.Buffer
		code := execute(t.Context(), words(t, command)[1:], &printed, &printed)
		out.Write(printed.Bytes())
		if code != 0 {
			fmt.Fprintf(&out, "[exit status %d]\n", code)
		}
	}
	return out.String()
}

func shell(t *testing.T, command string) []byte {
	t.Helper()
	out, err := exec.Command("sh", "-c", command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

// words splits a command as a shell does.
func words(t *testing.T, command string) []string {
	t.Helper()
	return strings.Split(strings.TrimSuffix(string(shell(t, `printf '%s\0' `+command)), "\x00"), "\x00")
}

// matches compares line by line; a line of three dots stands for any lines.
func matches(want, got string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(want) {
		if line == "...\n" {
			pattern.WriteString("(?:.*\n)*?")
			continue
		}
		pattern.WriteString(regexp.QuoteMeta(line))
	}
	return regexp.MustCompile(`\A` + pattern.String() + `\z`).MatchString(got)
}

// docsFolder makes the folder that the page speaks of: the treasury template, a
// draft of the next version, and an operator's configuration for a database with
// a past.
func docsFolder(t *testing.T, dir string) {
	t.Helper()
	template := filepath.Join("..", "..", "deploy", "policies", "treasury")
	for _, name := range []string{"policy.yaml", "cases.yaml", "sanctions.txt"} {
		b, err := os.ReadFile(filepath.Join(template, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	db := databasetest.New(t)
	writeOperator(t, db, dir)
	doc, err := document.Parse(shell(t, `cat `+filepath.Join(dir, "policy.yaml")))
	must(t, err)
	doc.Deployment = db.Deployment.ID.String()
	sandbox, err := trial.NewSandbox(doc, filesOf(t, filepath.Join(dir, "sanctions.txt")))
	must(t, err)
	recordPast(t, db, sandbox)
	writeNext(t, sandbox.Active.Document, filepath.Join(dir, "next.yaml"))
}

func filesOf(t *testing.T, path string) map[string]*document.ListFile {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	f, err := document.ReadList(raw)
	must(t, err)
	return map[string]*document.ListFile{f.SHA256(): f}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeNext writes the draft, with lower thresholds.
func writeNext(t *testing.T, doc *document.Document, path string) {
	t.Helper()
	raw, err := yaml.Marshal(doc)
	must(t, err)
	for old, lower := range map[string]string{
		`units("usdc", "10000")`: `units("usdc", "1000")`, `units("usdc", "5000000")`: `units("usdc", "100000")`,
		`5,000,000 USDC from`: `100,000 USDC from`, `above 10,000 dollars`: `above 1,000 dollars`,
		"version: 1\n": "version: 2\n",
	} {
		if !bytes.Contains(raw, []byte(old)) {
			t.Fatalf("the template has no %s", old)
		}
		raw = bytes.ReplaceAll(raw, []byte(old), []byte(lower))
	}
	must(t, os.WriteFile(path, raw, 0o600))
}

// writeOperator writes what the operator has.
func writeOperator(t *testing.T, db *databasetest.DB, dir string) {
	t.Helper()
	d := db.Deployment
	must(t, os.WriteFile(filepath.Join(dir, "genesis.json"), d.GenesisBytes, 0o600))
	for name, half := range map[string]secrets.SecretFile{"build.json": d.Build, "deploy.json": d.Deploy} {
		branch, err := half.Split(secrets.ServiceOperator, d.Genesis.Roles)
		must(t, err)
		must(t, branch.Write(filepath.Join(dir, name)))
	}
	raw, err := yaml.Marshal(config.Operator{Service: config.Service{
		Development: true, Genesis: "genesis.json", Log: config.Log{Level: "error", Format: "text"},
		Branches: []config.Branches{{Build: "build.json", Deploy: "deploy.json"}},
		Database: config.Database{Addresses: []string{db.Cluster.Addr}, Name: db.Name, CA: db.Cluster.CAFile, ServerName: db.Cluster.Config(db.Name).ServerName},
	}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "operator.yaml"), raw, 0o600))
}

// recordPast writes requests of some days, as the services would have left them.
func recordPast(t *testing.T, db *databasetest.DB, s *trial.Sandbox) {
	t.Helper()
	monday := time.Date(2027, 3, 8, 9, 0, 0, 0, time.UTC)
	people := message.Approval{Decision: message.Approve, Evidence: []message.Hash{message.Sum([]byte("a vote"))}}
	for i, one := range []struct {
		after    time.Duration
		user, to string
		amount   string
		approval message.Approval
	}{
		{0, "tom", "acme", "800 usdc", people},
		{time.Hour, "tina", "globex", "40000 usdc", people},
		{25 * time.Hour, "tom", "acme", "900 usdc", message.Approval{Decision: message.Approve}},
		{26 * time.Hour, "tom", "acme", "4000 usdc", message.Approval{Decision: message.Approve}},
		{27 * time.Hour, "tina", "globex", "90000 usdc", people},
		{48 * time.Hour, "tina", "acme", "30000 usdc", people},
		{49 * time.Hour, "tom", "globex", "20000 usdc", message.Approval{}}, // nobody has voted
	} {
		at := monday.Add(one.after)
		f, err := s.File(t.Context(), trial.Request{
			User: one.user, Kind: message.KindEthereumTransaction, Wallet: trial.Wallet{ID: "operations", Owner: "tina"},
			Transaction: &trial.Transaction{Pay: &trial.Payment{To: one.to, Amount: one.amount}},
		}, uint64(i), at)
		must(t, err)
		insertRequest(t, db, f, at, s)
		approve := message.Approval{Decision: message.Approve}
		for role, a := range map[string]message.Approval{
			message.RoleAuthorization: approve, message.RoleFraud: approve, message.RoleApproval: one.approval,
		} {
			insertReply(t, db, f, role, a)
		}
	}
}

func insertRequest(t *testing.T, db *databasetest.DB, f trial.Filing, at time.Time, s *trial.Sandbox) {
	t.Helper()
	insert := func(query string, args ...any) {
		t.Helper()
		_, err := db.Owner.Exec(query, args...)
		must(t, err)
	}
	body, err := message.Encode(f.Envelope)
	must(t, err)
	m := f.Meaning
	insert(`INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, submitted_at, expires_at)
		VALUES ($1, $2, $3, '', '', $4, $5, $6, $7)`, m.Statement.ID, body, f.Hash[:], m.Statement.Kind, m.Wallet, at, m.Statement.Expires.Time)
	wallet, err := s.WalletDescriptor(t.Context(), m.Wallet)
	must(t, err)
	account, err := s.AccountDescriptor(t.Context(), m.Account)
	must(t, err)
	insert(`INSERT INTO countersign.wallet (id, owner, descriptor, ciphertext) VALUES ($1, '', $2, 'sealed') ON CONFLICT DO NOTHING`, m.Wallet, wallet)
	insert(`INSERT INTO countersign.account (id, wallet_id, owner, descriptor, ciphertext) VALUES ($1, $2, '', $3, 'sealed') ON CONFLICT DO NOTHING`,
		m.Account, m.Wallet, account)
}

func insertReply(t *testing.T, db *databasetest.DB, f trial.Filing, role string, a message.Approval) {
	t.Helper()
	if a.Decision == "" {
		return
	}
	a.Role, a.Request = role, f.Meaning.Statement.ID
	body, err := message.SignEd25519(message.TypApproval, "key", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), a)
	must(t, err)
	_, err = db.Owner.Exec(`INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES ($1, $2, $3, '', '{}', false)`,
		a.Request, role, body)
	must(t, err)
}
