package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ErrNoServer says that PostgreSQL's server programs are not installed.
var ErrNoServer = errors.New("PostgreSQL 15 or later is not installed: on Debian, apt-get install postgresql; elsewhere put its bin directory into PATH")

// ErrUnreachable says that the server's user cannot enter a directory.
var ErrUnreachable = errors.New("directory cannot be entered by the server's user: choose one below /tmp or /var/tmp")

// minVersion is the oldest server that the queue runs on.
const minVersion = 15

// findBin returns the newest installed bin directory: Debian's and Red Hat's
// places first, then PATH.
func findBin(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	best, found := 0, ""
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		dirs, _ := filepath.Glob(pattern) // the pattern is well-formed
		for _, dir := range dirs {
			version, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "pgsql-"))
			if _, missing := os.Stat(filepath.Join(dir, "initdb")); err == nil && missing == nil && version > best {
				best, found = version, dir
			}
		}
	}
	if best >= minVersion {
		return found, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", ErrNoServer
}

// account is who the server runs as.
type account struct {
	other    bool // not the user of this process
	uid, gid int
	name     string
}

// serverAccount returns this process's own user, or where that is root, whom
// the server refuses, another one.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid(), name: "this user"}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return account{other: true, uid: uid, gid: gid, name: name}, nil
		}
	}
	return account{}, errors.New("no user postgres or nobody to run the server as")
}

// prepare makes dir, gives it to the account and checks that it can be
// reached.
func (a account) prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if !a.other {
		return nil
	}
	if err := os.Chown(dir, a.uid, a.gid); err != nil {
		return err
	}
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm()&0o001 == 0 && (!ok || int(owner.Uid) != a.uid) {
			return fmt.Errorf("%w: %s, user %s", ErrUnreachable, parent, a.name)
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

// attributes run a command as the account, in a process group of its own so
// that a terminal's interrupt reaches this process alone.
func (a account) attributes() *syscall.SysProcAttr {
	out := &syscall.SysProcAttr{Setpgid: true}
	if a.other {
		out.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return out
}

// environment leaves out PostgreSQL's own variables, which would change what
// is run.
func (account) environment() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "PG") })
}

// write writes a file that only the account may read.
func (a account) write(path string, b []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	if !a.other {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}
