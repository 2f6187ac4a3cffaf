package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/loopback"
	"github.com/countersign/countersign/internal/standin"
)

// TestOperations walks through docs/operations.md by hand, as the persons named
// there do: a strict deployment on a PostgreSQL that nobody prepared.
func TestOperations(t *testing.T) {
	bin := build(t)
	server, err := cluster.Start(t.Context(), filepath.Join(deploymentDir(t), "postgres"), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop) // after the scripts, which run in parallel
	createDatabase(t, server)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "operations"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+bin)
			e.Setenv("ADDRESS", server.Addr)
			configs, err := filepath.Abs(filepath.Join("..", "..", "deploy", "config"))
			if err != nil {
				return err
			}
			e.Setenv("CONFIGS", configs)
			for _, name := range []string{"PROPOSER_PORT", "APPROVAL_PORT"} {
				e.Setenv(name, reservedPort(t))
			}
			ca, err := os.ReadFile(server.CAFile)
			if err != nil {
				return err
			}
			files := map[string][]byte{"database-ca.pem": ca, "owner.password": server.Password.Bytes()}
			e.Setenv("CERTIFICATE", issue(t, files))
			for name, b := range files {
				if err := os.WriteFile(e.Getenv("WORK")+"/"+name, b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func createDatabase(t *testing.T, server *cluster.Cluster) {
	t.Helper()
	db, err := database.Open(server.Config("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE countersign"); err != nil {
		t.Fatal(err)
	}
}

// reservedPort returns a port that nobody else gets until the test ends.
func reservedPort(t *testing.T) string {
	t.Helper()
	port, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	return fmt.Sprint(port.Number)
}

// issue makes what a company's certificate authority would: certificates for
// the two servers and for alice, whose fingerprint it returns.
func issue(t *testing.T, files map[string][]byte) string {
	t.Helper()
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	authority := standin.NewAuthority(t, "test authority", time.Now())
	files["server-ca.pem"], files["users-ca.pem"] = authority.PEM(), authority.PEM()
	for _, name := range []string{"proposer", "approval"} {
		files[name+".pem"], files[name+".key"] = standin.PEM(t, authority.Issue(t, name, from, to, x509.ExtKeyUsageServerAuth))
	}
	alice := authority.Issue(t, "alice", from, to, x509.ExtKeyUsageClientAuth)
	certificate, key := standin.PEM(t, alice)
	files["alice.pem"] = append(certificate, key...)
	return standin.Fingerprint(alice)
}
