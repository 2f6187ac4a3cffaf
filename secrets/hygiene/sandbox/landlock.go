package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// The versions of Landlock's ABI from which on a part is enforced.
const (
	landlockFiles = 1 // Linux 5.13
	landlockPorts = 4 // Linux 6.7
)

// versions are the rights that are taken, by the version of the ABI that knows
// them; the newest that the kernel knows is used. Versions 7 and 8 take no more
// than 6. What later ones take more (Unix sockets and UDP) is refused by seccomp
// where it is not needed.
var versions = []landlock.Config{
	1: landlock.V1, 2: landlock.V2, 3: landlock.V3, 4: landlock.V4, 5: landlock.V5, 6: landlock.V6,
}

// restrict takes files and ports away in all threads and returns the version
// whose rights it took, or 0 and the reason.
func restrict(c Config, paths []landlock.Rule) (int, error) {
	var err error
	for version := len(versions) - 1; version > 0; version-- {
		rules := paths
		if version >= landlockPorts {
			rules = append(slices.Clone(paths), c.ports()...)
		}
		failed := versions[version].Restrict(rules...)
		if failed == nil {
			return version, err
		}
		// The first is the reason why the newest rights were not taken.
		if err == nil {
			err = failed
		}
	}
	return 0, err
}

// dnsPort is where name servers answer.
const dnsPort = 53

func (c Config) ports() []landlock.Rule {
	var out []landlock.Rule
	for _, p := range c.ConnectTCP {
		out = append(out, landlock.ConnectTCP(p))
	}
	if c.Names {
		out = append(out, landlock.ConnectTCP(dnsPort)) // for answers too long for UDP
	}
	for _, p := range c.BindTCP {
		out = append(out, landlock.BindTCP(p))
	}
	return out
}

// resolverFiles are what Go's resolver reads again when they change.
var resolverFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}

// processFiles are what Prometheus' process metrics and the first net.Listen
// read. They are kept open, because a rule is about the inode that it was made
// for, and the kernel makes new inodes for /proc when it forgot the old ones,
// which it does not while they are open.
var processFiles = []string{"/proc/self", "/proc/stat", "/proc/sys/net/core/somaxconn"}

// paths are the rules about files: reading, and nothing else.
func (c Config) paths() ([]landlock.Rule, error) {
	var out []landlock.Rule
	for _, path := range c.Read {
		rule, err := readable(path)
		if err != nil {
			return nil, err
		}
		out = append(out, rule)
	}
	optional := processFiles
	if c.Names {
		optional = append(resolver(), processFiles...)
	}
	for _, path := range optional {
		rule, err := readable(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, rule)
	}
	return out, hold(processFiles)
}

// resolver are the resolver's files, and the folders of those that programs put
// elsewhere and replace there, such as systemd-resolved in /run.
func resolver() []string {
	out := slices.Clone(resolverFiles)
	for _, path := range resolverFiles {
		if real, err := filepath.EvalSymlinks(path); err == nil && strings.HasPrefix(filepath.Dir(real), "/run/") {
			out = append(out, filepath.Dir(real))
		}
	}
	return out
}

// readable is the rule that a file, or all that is in a folder, may be read.
func readable(path string) (landlock.Rule, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("file to be read later: %w", err)
	}
	rights := landlock.AccessFSSet(unix.LANDLOCK_ACCESS_FS_READ_FILE)
	if info.IsDir() {
		rights |= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	return landlock.PathAccess(rights, path), nil
}

// hold opens paths, as far as they are there, for as long as the process lives.
// What is opened so can neither be read nor written.
func hold(paths []string) error {
	for _, path := range paths {
		_, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("holding %s: %w", path, err)
		}
	}
	return nil
}
