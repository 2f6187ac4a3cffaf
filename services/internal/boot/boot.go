// Package boot is what the mains of the services share: the command line, the
// deployment's keys, the health server and an orderly end.
//
// It trusts the configuration and the files that it names. It decides nothing
// about requests and holds no state of its own.
package boot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/release"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hygiene"
)

// Command is one verb of a service's command line. It has Run, or where it takes
// one argument after the flags, RunWith.
type Command struct {
	Name     string
	Does     string // one line of help
	Argument string // what RunWith takes, for the help
	Run      func(ctx context.Context, configPath string) error
	RunWith  func(ctx context.Context, configPath, argument string) error
}

// Exit codes of a service.
const (
	exitFailure = 1
	exitUsage   = 2
)

// Main runs the command that the arguments name and ends the process: 0 after
// an orderly end (also by SIGINT or SIGTERM), 1 after an error, 2 for a wrong
// command line.
func Main(service string, commands ...Command) {
	if _, set := os.LookupEnv("GOGC"); !set { // the operator's goes before ours
		collectByWhatIsLive()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, program{service, commands}, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// program is a service's command line.
type program struct {
	service  string
	commands []Command
}

func run(ctx context.Context, p program, args []string, stdout, stderr io.Writer) int {
	command, err := p.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, p.usage())
		return 0
	case errors.Is(err, errVersion):
		fmt.Fprintf(stdout, "%s version %s\n", p.service, release.This())
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n%s", p.service, err, p.usage())
		return exitUsage
	}
	err = command(ctx)
	if err == nil || (errors.Is(err, context.Canceled) && ctx.Err() != nil) {
		return 0
	}
	fmt.Fprintf(stderr, "%s: %v\n", p.service, err)
	return exitFailure
}

// errVersion says that the arguments ask what the program was built from.
var errVersion = errors.New("version wanted")

// parse returns what the arguments ask for.
func (p program) parse(args []string) (func(context.Context) error, error) {
	if len(args) == 0 {
		return nil, errors.New("no command given")
	}
	switch args[0] {
	case "--help", "-h":
		return nil, flag.ErrHelp
	case "--version", "-v":
		return nil, errVersion
	}
	for _, c := range p.commands {
		if c.Name == args[0] {
			return c.parse(p.service, args[1:])
		}
	}
	return nil, fmt.Errorf("unknown command %q", args[0])
}

func (c Command) parse(service string, args []string) (func(context.Context) error, error) {
	flags := flag.NewFlagSet(service, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("config", "", "path of the configuration file")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case c.RunWith == nil && (*path == "" || flags.NArg() > 0):
		return nil, errors.New("exactly --config FILE is wanted")
	case c.RunWith == nil:
		return func(ctx context.Context) error { return c.Run(ctx, *path) }, nil
	case *path == "" || flags.NArg() != 1:
		return nil, fmt.Errorf("exactly --config FILE %s is wanted", c.Argument)
	}
	return func(ctx context.Context) error { return c.RunWith(ctx, *path, flags.Arg(0)) }, nil
}

func (p program) usage() string {
	out := "usage:\n"
	for _, c := range p.commands {
		argument := ""
		if c.RunWith != nil {
			argument = " " + c.Argument
		}
		out += fmt.Sprintf("  %s %s --config FILE%s\n      %s\n", p.service, c.Name, argument, c.Does)
	}
	return out + fmt.Sprintf("  %s --version\n      print what this program was built from\n", p.service)
}

// Deployment is what a service knows of its deployment from its files.
type Deployment struct {
	Service string
	Genesis message.Genesis
	ID      message.Hash
	Keyring *secrets.Keyring
	Log     *slog.Logger
	// Hardened says what holds for the process's memory.
	Hardened hygiene.State
}

// Errors of Open.
var (
	// ErrDevelopment says that the genesis is for development but the
	// configuration does not allow that.
	ErrDevelopment = errors.New("genesis is for development: a strict service does not serve it (development: true in the configuration would)")
	// ErrStrict says the opposite.
	ErrStrict = errors.New("genesis is strict, but the configuration says development: true: take that out")
)

// Open reads the genesis document and, once the process is hardened, the
// service's branch files.
func Open(service string, cfg config.Service) (*Deployment, error) {
	raw, err := os.ReadFile(cfg.Genesis)
	if err != nil {
		return nil, fmt.Errorf("reading genesis: %w", err)
	}
	genesis, id, err := message.ParseGenesis(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Genesis, err)
	}
	if err := checkMode(genesis.Mode, cfg.Development); err != nil {
		return nil, err
	}
	if err := checkEnvironment(genesis.Mode, os.Environ()); err != nil {
		return nil, err
	}
	hardened, err := hygiene.Harden()
	if err != nil {
		return nil, err
	}
	pairs, err := readBranches(cfg.Branches)
	if err != nil {
		return nil, err
	}
	keyring, err := secrets.NewKeyring(id, service, genesis.Roles, pairs...)
	if err != nil {
		return nil, err
	}
	d := &Deployment{Service: service, Genesis: genesis, ID: id, Keyring: keyring, Log: cfg.Log.Logger(service), Hardened: hardened}
	if !hardened.MemoryLocked {
		d.Log.Warn("memory is not locked: swap could hold keys", "error", hardened.Reason)
	}
	if genesis.Mode == message.ModeDevelopment {
		d.Log.Warn("this is a development deployment: do not keep anything of value in it", "deployment", id)
	}
	return d, nil
}

func checkMode(mode message.Mode, development bool) error {
	switch {
	case mode == message.ModeDevelopment && !development:
		return ErrDevelopment
	case mode == message.ModeStrict && development:
		return ErrStrict
	}
	return nil
}

func readBranches(files []config.Branches) ([]secrets.Pair, error) {
	var pairs []secrets.Pair
	for _, f := range files {
		build, err := secrets.ReadBranchFile(f.Build)
		if err != nil {
			return nil, err
		}
		deploy, err := secrets.ReadBranchFile(f.Deploy)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, secrets.Pair{Build: build, Deploy: deploy})
	}
	return pairs, nil
}
