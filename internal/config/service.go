package config

import (
	"fmt"
	"log/slog"
	"os"
)

// Service is what every service's configuration has.
type Service struct {
	// Development must be true to serve a deployment whose genesis says that
	// it is one for development. Leave it out everywhere else.
	Development bool `yaml:"development"`
	// Genesis is the path of the genesis document.
	Genesis string `yaml:"genesis"`
	// Branches are the service's own branch files, one pair per generation of
	// secrets; two pairs during a rotation. Mode 0600.
	Branches []Branches `yaml:"branches"`
	Database Database   `yaml:"database"`
	// Health is the loopback host:port that answers GET /healthz, /readyz and
	// /metrics.
	Health string `yaml:"health"`
	// Sandbox says whether the service runs where the kernel cannot take away
	// from it all that it does not need; leave it out to require what every
	// kernel can (in a development deployment: nothing).
	Sandbox Sandbox `yaml:"sandbox"`
	Log     Log     `yaml:"log"`
}

// Sandbox says how much of the sandbox a service must have to run.
type Sandbox string

// The values of Sandbox. Whatever is missing is logged.
const (
	SandboxDefault Sandbox = ""        // in a strict deployment the filter of system calls
	SandboxRequire Sandbox = "require" // all of it
	SandboxTry     Sandbox = "try"     // as much as there is
	SandboxOff     Sandbox = "off"     // none, in a development deployment only
)

// Branches is one generation's pair of branch files, by path.
type Branches struct {
	Build  string `yaml:"build"`
	Deploy string `yaml:"deploy"`
}

// Database says where PostgreSQL is. The user name is countersign_<service>,
// the password is derived from the branches: neither is configured.
type Database struct {
	// Addresses are host:port of the servers; the first that takes writes is
	// used.
	Addresses []string `yaml:"addresses"`
	Name      string   `yaml:"name"`
	// CA is the path of the PEM certificates that the server's certificate
	// must chain to, ServerName the name that it must carry.
	CA         string `yaml:"ca"`
	ServerName string `yaml:"server_name"`
}

// Log says what is logged, to standard error.
type Log struct {
	// Level is debug, info (the default), warn or error.
	Level string `yaml:"level"`
	// Format is json (the default) or text.
	Format string `yaml:"format"`
}

// Listener is a TLS listener: 1.3 only.
type Listener struct {
	// Address is the host:port to listen on.
	Address string `yaml:"address"`
	// Certificate and Key are the paths of PEM files; the key has mode 0600.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// Validate reports every fault of the common part.
func (s *Service) Validate() error {
	var f faults
	s.check(&f)
	return f.join()
}

func (s *Service) check(f *faults) {
	s.checkOffline(f)
	f.needLoopback("health", s.Health)
	s.Sandbox.check(f, s.Development)
}

// checkOffline checks what a command needs that serves nothing.
func (s *Service) checkOffline(f *faults) {
	f.need("genesis", s.Genesis)
	if n := len(s.Branches); n < 1 || n > 2 {
		f.add("branches has %d pairs, want 1, or 2 during a rotation", n)
	}
	for i, b := range s.Branches {
		f.need(fmt.Sprintf("branches[%d].build", i), b.Build)
		f.need(fmt.Sprintf("branches[%d].deploy", i), b.Deploy)
	}
	s.Database.check(f)
	s.Log.check(f)
}

func (d Database) check(f *faults) {
	if len(d.Addresses) == 0 {
		f.add("database.addresses is missing")
	}
	for i, a := range d.Addresses {
		f.needAddress(fmt.Sprintf("database.addresses[%d]", i), a)
	}
	f.need("database.name", d.Name)
	f.need("database.ca", d.CA)
	f.need("database.server_name", d.ServerName)
}

func (s Sandbox) check(f *faults, development bool) {
	switch s {
	case SandboxDefault, SandboxRequire, SandboxTry:
	case SandboxOff:
		if !development {
			f.add("sandbox: off is for development deployments")
		}
	default:
		f.add("sandbox %q is none of require, try, off", s)
	}
}

func (l Log) check(f *faults) {
	if _, err := l.level(); err != nil {
		f.add("log.level %q is none of debug, info, warn, error", l.Level)
	}
	if l.Format != "" && l.Format != "json" && l.Format != "text" {
		f.add("log.format %q is neither json nor text", l.Format)
	}
}

func (l Listener) check(f *faults, name string) {
	f.needAddress(name+".address", l.Address)
	f.need(name+".certificate", l.Certificate)
	f.need(name+".key", l.Key)
}

func (s *Service) resolve(dir string) {
	absolute(dir, &s.Genesis, &s.Database.CA)
	for i := range s.Branches {
		absolute(dir, &s.Branches[i].Build, &s.Branches[i].Deploy)
	}
}

func (l *Listener) resolve(dir string) { absolute(dir, &l.Certificate, &l.Key) }

func (l Log) level() (slog.Level, error) {
	var level slog.Level
	if l.Level == "" {
		return slog.LevelInfo, nil
	}
	err := level.UnmarshalText([]byte(l.Level))
	return level, err
}

// Logger returns the logger of a service; every line names the service.
func (l Log) Logger(service string) *slog.Logger {
	level, err := l.level()
	if err != nil {
		level = slog.LevelInfo // Validate has refused it before
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(os.Stderr, options)
	if l.Format == "text" {
		handler = slog.NewTextHandler(os.Stderr, options)
	}
	return slog.New(handler).With("service", service)
}
