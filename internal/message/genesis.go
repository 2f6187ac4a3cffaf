package message

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Mode is how strict a deployment is.
type Mode string

// The two modes. A strict service refuses a development genesis.
const (
	ModeStrict      Mode = "strict"
	ModeDevelopment Mode = "development"
)

// RoleSigning is the name under which the signing service speaks. It is not a
// policy role and stands in no genesis.
const RoleSigning = "signing"

// The policy roles that this version has deciders for.
const (
	RoleAuthorization = "authorization"
	RoleFraud         = "fraud"
	RoleApproval      = "approval"
)

// PolicyRoles are the policy roles that this version has deciders for, in the
// order in which they are shown. Which of them a deployment requires its genesis
// says.
func PolicyRoles() []string { return []string{RoleAuthorization, RoleFraud, RoleApproval} }

// Admin is one policy admin of the genesis document.
type Admin struct {
	Name string `json:"name"`
	Key  JWK    `json:"key"`
}

// Genesis is the document that a deployment begins with. The SHA-256 of its
// exact bytes is the deployment id, which salts every key: who changes it gets
// other keys, and the wallets do not open. Nonce (16 bytes) tells apart two
// deployments that are alike otherwise.
type Genesis struct {
	Version          int      `json:"version"`
	Name             string   `json:"name"`
	Mode             Mode     `json:"mode"`
	Nonce            Bytes    `json:"nonce"`
	Admins           []Admin  `json:"admins"`
	Threshold        int      `json:"threshold"`
	Roles            []string `json:"roles"`
	AttestationRoots []string `json:"attestation_roots"`
}

// maxGenesisName is the most bytes of a deployment's or an admin's name: it is
// shown to people.
const maxGenesisName = 128

// roleName keeps role names usable in HKDF infos, key ids and database roles.
var roleName = regexp.MustCompile(`^[a-z][a-z0-9]{0,30}$`)

// reserved are the names of services that are not policy roles.
var reserved = []string{RoleSigning, "proposer", "operator"}

// ParseGenesis reads a genesis document and returns it with its deployment
// id. The bytes must be the one encoding that Encode gives.
func ParseGenesis(b []byte) (Genesis, Hash, error) {
	var g Genesis
	if err := Decode(b, &g); err != nil {
		return g, Hash{}, fmt.Errorf("genesis: %w", err)
	}
	if err := g.Validate(); err != nil {
		return g, Hash{}, fmt.Errorf("genesis: %w", err)
	}
	return g, Sum(b), nil
}

// Validate reports every fault of the document at once.
func (g Genesis) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if g.Version != Version {
		fault("version is %d, want %d", g.Version, Version)
	}
	if g.Name == "" || len(g.Name) > maxGenesisName {
		fault("name has %d bytes, want 1 to %d", len(g.Name), maxGenesisName)
	}
	if g.Mode != ModeStrict && g.Mode != ModeDevelopment {
		fault("mode %q is neither strict nor development", g.Mode)
	}
	if len(g.Nonce) != 16 {
		fault("nonce has %d bytes, want 16", len(g.Nonce))
	}
	if g.Threshold < 1 || g.Threshold > len(g.Admins) {
		fault("threshold %d is not between 1 and the %d admins", g.Threshold, len(g.Admins))
	}
	if g.Mode == ModeStrict && g.Threshold < 2 {
		fault("threshold %d lets one admin decide alone; strict mode wants at least 2", g.Threshold)
	}
	faults = append(faults, g.checkAdmins()...)
	if len(g.Roles) == 0 {
		fault("roles are missing")
	}
	for i, r := range g.Roles {
		if !roleName.MatchString(r) || slices.Contains(reserved, r) {
			fault("role %q is not a usable name", r)
		}
		if slices.Contains(g.Roles[:i], r) {
			fault("role %q stands twice", r)
		}
	}
	return errors.Join(faults...)
}

func (g Genesis) checkAdmins() (faults []error) {
	names, keys := map[string]bool{}, map[string]bool{}
	for _, a := range g.Admins {
		if _, err := a.Key.Ed25519(); err != nil {
			faults = append(faults, fmt.Errorf("admin %q: %w", a.Name, err))
			continue
		}
		thumbprint := a.Key.Thumbprint()
		if a.Name == "" || len(a.Name) > maxGenesisName || names[a.Name] || keys[thumbprint] {
			faults = append(faults, fmt.Errorf("admin %q: name or key is missing, too long or stands twice", a.Name))
		}
		names[a.Name], keys[thumbprint] = true, true
	}
	return faults
}
