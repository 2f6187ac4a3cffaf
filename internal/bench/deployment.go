package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// readyTime is how long a development deployment may take to start.
const readyTime = 60 * time.Second

// services are the processes whose memory is measured.
var services = []string{"proposer", "authorization", "fraud", "approval", "signing"}

// profile is what bench reads of dev.json.
type profile struct {
	Proposer   string            `json:"proposer"`
	CA         string            `json:"ca"`
	Deployment message.Hash      `json:"deployment"`
	UserKey    string            `json:"user_key"`
	Token      string            `json:"token"`
	Database   string            `json:"database"`
	User       string            `json:"user"`
	Processes  map[string]string `json:"processes"`
}

// deployment is a running `countersign dev`.
type deployment struct {
	profile profile
	client  *client.Client
	db      *sql.DB
	dev     *exec.Cmd
	dir     string
}

// start runs `countersign dev` in a new folder and connects to it.
func start(ctx context.Context, bin string) (*deployment, error) {
	dir, err := os.MkdirTemp("", "countersign-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL runs as another user when this is root
		return nil, err
	}
	d := &deployment{dir: dir}
	// Not CommandContext: dev is asked to stop, so that it stops its services.
	d.dev = exec.Command(filepath.Join(bin, "countersign"), "dev", "--dir", filepath.Join(dir, "dev"))
	log, err := os.Create(filepath.Join(dir, "dev.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.dev.Stdout, d.dev.Stderr = log, log
	d.dev.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.dev.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w (run make build first)", d.dev.Path, err)
	}
	if err := d.connect(ctx); err != nil {
		words, _ := os.ReadFile(log.Name())
		d.stop()
		return nil, fmt.Errorf("%w\n%s", err, words)
	}
	return d, nil
}

// stop ends the deployment and removes its folder.
func (d *deployment) stop() {
	if d.db != nil {
		_ = d.db.Close()
	}
	_ = d.dev.Process.Signal(syscall.SIGTERM)
	_ = d.dev.Wait()
	_ = os.RemoveAll(d.dir)
}

func (d *deployment) connect(ctx context.Context) error {
	path := filepath.Join(d.dir, "dev", "dev.json")
	deadline := time.Now().Add(readyTime)
	for {
		b, err := os.ReadFile(path)
		if err == nil {
			if err = json.Unmarshal(b, &d.profile); err == nil {
				break
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.New("the development deployment is not ready in time")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := d.newClient(); err != nil {
		return err
	}
	connector, err := pq.NewConnector(d.profile.Database)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	d.db = sql.OpenDB(connector)
	return d.db.PingContext(ctx)
}

func (d *deployment) newClient() error {
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(d.profile.CA)
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("reading CA %s: %w", d.profile.CA, err)
	}
	key, err := readKey(d.profile.UserKey)
	if err != nil {
		return err
	}
	d.client, err = client.New(client.Config{
		BaseURL: d.profile.Proposer, Roots: roots, Token: d.profile.Token,
		Key: key, Deployment: d.profile.Deployment,
	})
	return err
}

func readKey(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key.(crypto.Signer), nil
}

// makeAccounts makes n wallets with one account each.
func (d *deployment) makeAccounts(ctx context.Context, n int) ([]*account, error) {
	out, errs := make([]*account, n), make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { out[i], errs[i] = d.makeAccount(ctx, i) })
	}
	wait.Wait()
	return out, errors.Join(errs...)
}

func (d *deployment) makeAccount(ctx context.Context, i int) (*account, error) {
	label := fmt.Sprintf("bench %d", i)
	made, err := d.create(ctx, message.KindWalletCreate, "", message.WalletCreate{
		Owner: d.profile.User, SeedType: "raw", Source: "software", Label: label,
	})
	if err != nil {
		return nil, err
	}
	a, err := d.create(ctx, message.KindAccountCreate, made.Wallet, message.AccountCreate{
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0", Label: label,
	})
	if err != nil {
		return nil, err
	}
	return &account{wallet: made.Wallet, id: a.Account}, nil
}

func (d *deployment) create(ctx context.Context, kind message.Kind, wallet string, payload any) (api.Request, error) {
	s, err := d.client.NewStatement(kind, wallet, "", payload, 10*time.Minute)
	if err != nil {
		return api.Request{}, err
	}
	r, err := d.client.Submit(ctx, s, wait)
	if err != nil {
		return r, err
	}
	if r.Status != message.StatusDone {
		return r, fmt.Errorf("%s is %s: %+v", kind, r.Status, r.Result)
	}
	return r, nil
}

// peakMemory returns the most memory that each service ever had resident
// (VmHWM), in MiB.
func (d *deployment) peakMemory() (map[string]float64, error) {
	out := map[string]float64{}
	for _, s := range services {
		pid, err := os.ReadFile(d.profile.Processes[s])
		if err != nil {
			return nil, fmt.Errorf("finding the process of %s: %w", s, err)
		}
		if out[s], err = highWater(strings.TrimSpace(string(pid))); err != nil {
			return nil, fmt.Errorf("memory of %s: %w", s, err)
		}
	}
	return out, nil
}

func highWater(pid string) (float64, error) {
	f, err := os.Open(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmHWM line")
}
