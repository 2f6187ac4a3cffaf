package boot

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets/hygiene/sandbox"
)

// ErrNotConfined says that the kernel does not take away from the service what
// its configuration, or a strict deployment, wants to be taken away.
var ErrNotConfined = errors.New("the kernel does not enforce what the sandbox must have (sandbox: try in the configuration goes on without it)")

// Needs returns what every service needs for as long as it runs: the ports of
// the database and of its health checks.
func Needs(cfg config.Service) (sandbox.Config, error) {
	var needs sandbox.Config
	for i, address := range cfg.Database.Addresses {
		port, err := sandbox.Port(address)
		if err != nil {
			return needs, fmt.Errorf("database.addresses[%d]: %w", i, err)
		}
		needs.ConnectTCP = append(needs.ConnectTCP, port)
		needs.Names = needs.Names || named(address)
	}
	port, err := sandbox.Port(cfg.Health)
	if err != nil {
		return needs, fmt.Errorf("health: %w", err)
	}
	needs.BindTCP = append(needs.BindTCP, port)
	return needs, nil
}

// named reports whether an address's host is a name, which has to be looked up.
func named(address string) bool {
	_, err := netip.ParseAddrPort(address)
	return err != nil
}

// Confine closes the sandbox around the service, except for its needs, and says
// in the log what is enforced and what is not. It refuses to go on without what
// must be.
func (d *Deployment) Confine(how config.Sandbox, needs sandbox.Config) error {
	if how == config.SandboxOff {
		if d.Genesis.Mode != message.ModeDevelopment {
			return ErrNotConfined
		}
		d.Log.Warn("sandbox is off")
		return nil
	}
	state, err := sandbox.Enter(needs)
	if err != nil {
		return err
	}
	d.Log.Info("sandbox entered", "enforced", state.Enforced(), "landlock_abi", state.Landlock)
	if missing := state.Lacks(sandbox.Parts()...); missing != nil {
		d.Log.Warn("sandbox is incomplete", "missing", d.missing(state), "error", missing)
	}
	if err := state.Lacks(d.required(how)...); err != nil {
		return errors.Join(ErrNotConfined, err)
	}
	return nil
}

func (d *Deployment) missing(state sandbox.State) []sandbox.Part {
	enforced := state.Enforced()
	return slices.DeleteFunc(sandbox.Parts(), func(p sandbox.Part) bool { return slices.Contains(enforced, p) })
}

// required are the parts without which the service does not run. By default a
// strict one wants what every kernel has; Landlock is left out of some, and of
// some sandboxes for containers.
func (d *Deployment) required(how config.Sandbox) []sandbox.Part {
	switch {
	case how == config.SandboxRequire:
		return sandbox.Parts()
	case how == config.SandboxDefault && d.Genesis.Mode == message.ModeStrict:
		return []sandbox.Part{sandbox.SystemCalls}
	}
	return nil
}
