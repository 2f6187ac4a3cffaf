package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/bench/past"
	"github.com/countersign/countersign/internal/deployment"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/secrets"
)

// readyTime is how long a development deployment may take to start.
const readyTime = 60 * time.Second

// target is the deployment that is measured, in a folder of its own.
type target struct {
	*deployment.Running
	client   *client.Client
	db       *sql.DB
	folder   string
	replicas []*replica
}

// start runs `countersign dev` in a new folder and connects to it.
func start(ctx context.Context, bin string) (*target, error) {
	folder, err := deployment.TempDir("countersign-bench-")
	if err != nil {
		return nil, err
	}
	t := &target{folder: folder}
	if err := t.run(ctx, bin); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

func (t *target) run(ctx context.Context, bin string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if t.Running, err = deployment.Start(ctx, bin, filepath.Join(t.folder, "dev")); err != nil {
		return err
	}
	if t.client, err = t.Client(); err != nil {
		return err
	}
	t.db, err = t.Superuser(ctx)
	return err
}

// stop ends the deployment and removes its folder.
func (t *target) stop() (err error) {
	for _, r := range t.replicas {
		err = errors.Join(err, r.stop())
	}
	if t.db != nil {
		err = errors.Join(err, t.db.Close())
	}
	if t.Running != nil {
		err = errors.Join(err, t.Stop())
	}
	return errors.Join(err, os.RemoveAll(t.folder))
}

// fraudKeyring opens the keys of the fraud service, as that service does.
func (t *target) fraudKeyring() (*secrets.Keyring, error) {
	raw, err := os.ReadFile(filepath.Join(t.Dir, "genesis.json"))
	if err != nil {
		return nil, err
	}
	genesis, id, err := message.ParseGenesis(raw)
	if err != nil {
		return nil, err
	}
	var halves [2]secrets.BranchFile
	for i, half := range []secrets.Half{secrets.HalfBuild, secrets.HalfDeploy} {
		path := filepath.Join(t.Dir, "secrets", message.RoleFraud+"."+string(half)+".json")
		if halves[i], err = secrets.ReadBranchFile(path); err != nil {
			return nil, err
		}
	}
	return secrets.NewKeyring(id, message.RoleFraud, genesis.Roles, secrets.Pair{Build: halves[0], Deploy: halves[1]})
}

// spareRoom is what the database needs on the disk beside its tables: its log
// (internal/cluster) and what else the machine does.
const spareRoom = 8 << 30

// checkRoom makes sure that the disk does not run full.
func (t *target) checkRoom(ctx context.Context, p past.Plan) error {
	size, err := past.Size(ctx, t.db, p)
	if err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Join(t.Dir, "postgres"), &disk); err != nil {
		return fmt.Errorf("looking at the disk: %w", err)
	}
	free := int64(disk.Bavail) * disk.Bsize
	if free < size+spareRoom {
		return fmt.Errorf("they need %d MiB in %s, where %d MiB are free: set TMPDIR, or measure with fewer (-history)",
			(size+spareRoom)>>20, t.folder, free>>20)
	}
	return nil
}

// makeAccounts makes n wallets with one account each.
func (t *target) makeAccounts(ctx context.Context, n int) ([]*account, error) {
	out, errs := make([]*account, n), make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { out[i], errs[i] = t.makeAccount(ctx, i) })
	}
	wait.Wait()
	return out, errors.Join(errs...)
}

func (t *target) makeAccount(ctx context.Context, i int) (*account, error) {
	label := fmt.Sprintf("bench %d", i)
	made, err := t.create(ctx, message.KindWalletCreate, "", message.WalletCreate{
		Owner: t.User, SeedType: "raw", Source: "software", Label: label,
	})
	if err != nil {
		return nil, err
	}
	a, err := t.create(ctx, message.KindAccountCreate, made.Wallet, message.AccountCreate{
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0", Label: label,
	})
	if err != nil {
		return nil, err
	}
	return &account{wallet: made.Wallet, id: a.Account}, nil
}

func (t *target) create(ctx context.Context, kind message.Kind, wallet string, payload any) (api.Request, error) {
	s, err := t.client.NewStatement(kind, wallet, "", payload, 10*time.Minute)
	if err != nil {
		return api.Request{}, err
	}
	r, err := t.client.Submit(ctx, s, wait)
	if err != nil {
		return r, err
	}
	if r.Status != message.StatusDone {
		return r, fmt.Errorf("%s is %s: %+v", kind, r.Status, r.Result)
	}
	return r, nil
}

// peakMemory returns the most memory that an instance of each service ever had
// resident (VmHWM), in MiB.
func (t *target) peakMemory() (map[string]float64, error) {
	out := map[string]float64{}
	for service, pids := range t.instances() {
		for _, pid := range pids {
			mib, err := highWater(strconv.Itoa(pid))
			if err != nil {
				return nil, fmt.Errorf("memory of %s: %w", service, err)
			}
			out[service] = max(out[service], mib)
		}
	}
	return out, nil
}

// instances returns the processes of each service, replicas included.
func (t *target) instances() map[string][]int {
	out := map[string][]int{}
	for service, pid := range t.PIDs() {
		if service != "postgresql" {
			out[service] = append(out[service], pid)
		}
	}
	for _, r := range t.replicas {
		out[r.service] = append(out[r.service], r.cmd.Process.Pid)
	}
	return out
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
