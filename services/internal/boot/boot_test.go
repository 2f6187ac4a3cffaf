package boot_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
)

// files writes what the fraud service's configuration names.
func files(t *testing.T, d *deploymenttest.Deployment, service string) config.Service {
	t.Helper()
	dir := t.TempDir()
	c := config.Service{
		Development: true,
		Genesis:     filepath.Join(dir, "genesis.json"),
		Branches:    []config.Branches{{Build: filepath.Join(dir, "build.json"), Deploy: filepath.Join(dir, "deploy.json")}},
	}
	if err := os.WriteFile(c.Genesis, d.GenesisBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(f secrets.SecretFile, path string) {
		branch, err := f.Split(service, d.Genesis.Roles)
		if err == nil {
			err = branch.Write(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(d.Build, c.Branches[0].Build)
	write(d.Deploy, c.Branches[0].Deploy)
	return c
}

func TestOpen(t *testing.T) {
	d := deploymenttest.New(t)
	got, err := boot.Open(message.RoleFraud, files(t, d, message.RoleFraud))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != d.ID || got.Keyring.Service() != message.RoleFraud {
		t.Errorf("opened %s of %s", got.Keyring.Service(), got.ID)
	}
}

func TestOpenRefuses(t *testing.T) {
	d := deploymenttest.New(t)
	tests := map[string]struct {
		change func(t *testing.T, c *config.Service)
		want   string
		is     error
	}{
		"fail/development-genesis-in-a-strict-service": {
			change: func(_ *testing.T, c *config.Service) { c.Development = false }, is: boot.ErrDevelopment,
		},
		"fail/halves-swapped": {
			change: func(_ *testing.T, c *config.Service) {
				c.Branches[0].Build, c.Branches[0].Deploy = c.Branches[0].Deploy, c.Branches[0].Build
			},
			want: "half",
		},
		"fail/another-service's-branches": {
			change: func(t *testing.T, c *config.Service) { c.Branches = files(t, d, message.RoleApproval).Branches },
			want:   "approval",
		},
		"fail/world-readable-branches": {
			change: func(t *testing.T, c *config.Service) {
				if err := os.Chmod(c.Branches[0].Build, 0o644); err != nil {
					t.Fatal(err)
				}
			},
			is: secrets.ErrPermissions,
		},
		"fail/genesis-changed": {
			change: func(t *testing.T, c *config.Service) {
				text := strings.Replace(string(d.GenesisBytes), `"threshold":2`, `"threshold": 1`, 1)
				if err := os.WriteFile(c.Genesis, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			is: message.ErrNotCanonical,
		},
		"fail/no-genesis": {
			change: func(_ *testing.T, c *config.Service) { c.Genesis += ".none" }, is: os.ErrNotExist,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := files(t, d, message.RoleFraud)
			tt.change(t, &c)
			_, err := boot.Open(message.RoleFraud, c)
			if err == nil || !strings.Contains(err.Error(), tt.want) || (tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("got %v, want %q, %v", err, tt.want, tt.is)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	says := func(word string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, word) })
	}
	done := make(chan error, 1)
	go func() {
		done <- boot.Health(ctx, boot.Face{Address: address, Ready: says("is it ready"), Metrics: says("figures")})
	}()
	for path, want := range map[string]string{"/healthz": "alive", "/readyz": "is it ready", "/metrics": "figures"} {
		if status, body := get(t, address, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s answers %d %q, want %q", path, status, body, want)
		}
	}
	if status, _ := get(t, address, "/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("an unknown path answers %d", status)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// TestAttackMetricsReadFromOutside: a face that other machines reach would tell
// them how much is signed, and when.
func TestAttackMetricsReadFromOutside(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		err := boot.Health(t.Context(), boot.Face{Address: address, Ready: http.NotFoundHandler(), Metrics: http.NotFoundHandler()})
		if !errors.Is(err, boot.ErrNotLoopback) {
			t.Errorf("%s: got %v, want ErrNotLoopback", address, err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get asks until the server listens.
func get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	for {
		resp, err := http.Get("http://" + address + path)
		if err != nil && t.Context().Err() == nil {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
}
