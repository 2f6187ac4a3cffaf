package dev

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// The services that the launcher runs, each a binary of its own, and the
// generation of secrets that it makes.
const (
	serviceProposer = secrets.ServiceProposer
	serviceSigning  = secrets.ServiceSigning
	serviceApproval = message.RoleApproval
	generation      = 1
)

// The persons of the development policy.
const (
	userID     = "alice"
	approverID = "bob"
)

// admins are the policy admins; two of the three must sign.
var admins = []string{"ada", "ben", "cas"}

const threshold = 2

func services() []string {
	return append([]string{serviceSigning, serviceProposer}, message.PolicyRoles()...)
}

// made is what making a deployment leaves for its first start.
type made struct {
	genesis message.Genesis
	id      message.Hash
	admins  []ed25519.PrivateKey
	user    ed25519.PrivateKey
	voter   ed25519.PrivateKey
	// certificate is the fingerprint of the user's client certificate.
	certificate string
}

// makeDeployment plays all the persons of DESIGN section 1 at once, which only
// a development deployment may: keys, genesis, both secrets and their
// branches, certificates.
func makeDeployment(l layout) (made, error) {
	var m made
	var err error
	for _, name := range admins {
		key, err := newKeyFile(l.key("admin-" + name))
		if err != nil {
			return m, fmt.Errorf("making admin's key: %w", err)
		}
		m.admins = append(m.admins, key)
	}
	if m.user, err = newKeyFile(l.key(userID)); err != nil {
		return m, fmt.Errorf("making user's key: %w", err)
	}
	if m.voter, err = newKeyFile(l.key(approverID)); err != nil {
		return m, fmt.Errorf("making approver's key: %w", err)
	}
	if err := m.makeGenesis(l); err != nil {
		return m, err
	}
	if err := makeSecrets(l); err != nil {
		return m, err
	}
	m.certificate, err = makeCertificates(l)
	return m, err
}

func (m *made) makeGenesis(l layout) error {
	g := message.Genesis{
		Version: message.Version, Name: "development", Mode: message.ModeDevelopment,
		Nonce: make(message.Bytes, 16), Threshold: threshold, Roles: message.PolicyRoles(), AttestationRoots: []string{},
	}
	rand.Read(g.Nonce) // never returns an error (crypto/rand)
	for i, name := range admins {
		jwk, err := message.NewJWK(m.admins[i].Public())
		if err != nil {
			return err
		}
		g.Admins = append(g.Admins, message.Admin{Name: name, Key: jwk})
	}
	raw, err := message.Encode(g)
	if err != nil {
		return err
	}
	if m.genesis, m.id, err = message.ParseGenesis(raw); err != nil {
		return err
	}
	return os.WriteFile(l.genesis(), raw, 0o644)
}

func makeSecrets(l layout) error {
	for _, half := range []secrets.Half{secrets.HalfBuild, secrets.HalfDeploy} {
		whole := secrets.NewSecretFile(half, generation)
		if err := whole.Write(l.secret(string(half))); err != nil {
			return err
		}
		for _, service := range secrets.Services(message.PolicyRoles()) {
			branch, err := whole.Split(service, message.PolicyRoles())
			if err != nil {
				return err
			}
			if err := branch.Write(l.branch(service, string(half))); err != nil {
				return err
			}
		}
		whole.Secret.Wipe()
	}
	return nil
}

// keyring opens the branches of a service that the launcher plays: the
// operator, who stores the policy.
func keyring(l layout, id message.Hash, service string) (*secrets.Keyring, error) {
	build, err := secrets.ReadBranchFile(l.branch(service, string(secrets.HalfBuild)))
	if err != nil {
		return nil, err
	}
	deploy, err := secrets.ReadBranchFile(l.branch(service, string(secrets.HalfDeploy)))
	if err != nil {
		return nil, err
	}
	return secrets.NewKeyring(id, service, message.PolicyRoles(), secrets.Pair{Build: build, Deploy: deploy})
}

// identities asks each service for its identity key, which also begins its
// record chain.
func identities(ctx context.Context, r runner) (map[string][]message.JWK, error) {
	out := map[string][]message.JWK{}
	for _, service := range append([]string{serviceSigning}, message.PolicyRoles()...) {
		b, err := r.output(ctx, service, "init")
		if err != nil {
			return nil, err
		}
		var key message.JWK
		if err := message.DecodeStrict(b, &key); err != nil {
			return nil, fmt.Errorf("identity key of %s: %w", service, err)
		}
		out[service] = []message.JWK{key}
	}
	return out, nil
}
