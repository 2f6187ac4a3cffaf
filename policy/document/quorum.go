package document

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/message"
)

// ErrNoAdmins says that a document leaves out the admins, though those in force
// are not the genesis document's.
var ErrNoAdmins = errors.New("admins are missing: those in force are not the genesis document's")

// maxAdminName is the most bytes of an admin's name, as in the genesis
// document.
const maxAdminName = 128

// Admins are the keys that sign later documents, and how many of them must.
type Admins struct {
	Threshold int     `yaml:"threshold"`
	Keys      []Admin `yaml:"keys"`
}

// Admin is one policy admin: a name to show, and an Ed25519 key.
type Admin struct {
	Name string      `yaml:"name"`
	Key  message.JWK `yaml:"key"`
}

// Quorum are the admins in force, and how many of them must sign a document.
type Quorum struct {
	Admins    []message.Admin
	Threshold int
}

// GenesisQuorum are the admins with whom a deployment begins.
func GenesisQuorum(g message.Genesis) Quorum {
	return Quorum{Admins: g.Admins, Threshold: g.Threshold}
}

// after are the admins in force after a document that names admins, or nil.
func (q Quorum) after(introduced *Admins) Quorum {
	if introduced == nil {
		return q
	}
	return introduced.quorum()
}

// Equal says whether the same admins sign, as many of them.
func (q Quorum) Equal(other Quorum) bool {
	return q.Threshold == other.Threshold && slices.EqualFunc(q.Admins, other.Admins, func(a, b message.Admin) bool {
		return a.Name == b.Name && a.Key.Thumbprint() == b.Key.Thumbprint()
	})
}

func (q Quorum) find(thumbprint string) (message.Admin, bool) {
	i := slices.IndexFunc(q.Admins, func(a message.Admin) bool { return a.Key.Thumbprint() == thumbprint })
	if i < 0 {
		return message.Admin{}, false
	}
	return q.Admins[i], true
}

// count says how many of the admins are among the keys.
func (q Quorum) count(thumbprints map[string]bool) (n int) {
	for _, a := range q.Admins {
		if thumbprints[a.Key.Thumbprint()] {
			n++
		}
	}
	return n
}

// CheckAdmins returns ErrNoAdmins where the document is to follow one that names
// other admins than the genesis document, and names none.
func (d *Document) CheckAdmins(before *Document, genesis message.Genesis) error {
	inForce := GenesisQuorum(genesis).after(before.Admins)
	if d.Admins == nil && !inForce.Equal(GenesisQuorum(genesis)) {
		return ErrNoAdmins
	}
	return nil
}

func (a *Admins) admins() []message.Admin {
	out := make([]message.Admin, len(a.Keys))
	for i, k := range a.Keys {
		out[i] = message.Admin(k)
	}
	return out
}

func (a *Admins) quorum() Quorum { return Quorum{Admins: a.admins(), Threshold: a.Threshold} }

// faults are those of the section alone. Nil is none.
func (a *Admins) faults(mode message.Mode) (faults []error) {
	if a == nil {
		return nil
	}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("admins: "+format, args...)) }
	if a.Threshold < 1 || a.Threshold > len(a.Keys) {
		fault("threshold %d is not between 1 and the %d admins", a.Threshold, len(a.Keys))
	}
	if mode == message.ModeStrict && a.Threshold < 2 {
		fault("threshold %d lets one admin decide alone; strict mode wants at least 2", a.Threshold)
	}
	names, keys := map[string]bool{}, map[string]bool{}
	for _, k := range a.Keys {
		if _, err := k.Key.Ed25519(); err != nil {
			fault("%q: %w", k.Name, err)
			continue
		}
		thumbprint := k.Key.Thumbprint()
		switch {
		case k.Name == "":
			fault("a name is missing")
		case len(k.Name) > maxAdminName || !printable(k.Name):
			fault("%q: the name is longer than %d bytes or not printable", k.Name, maxAdminName)
		case names[k.Name]:
			fault("%q: the name stands twice", k.Name)
		case keys[thumbprint]:
			fault("%q: the key stands twice", k.Name)
		}
		names[k.Name], keys[thumbprint] = true, true
	}
	return faults
}

// Bounds of what stands in a document before anybody has verified a signature.
const (
	maxAdmins       = 64
	maxIdentityKeys = 16 // of one service
	maxSignatures   = 2 * maxAdmins
)

// apart reports admins whose key is also a service's: who breaks into that one
// would sign policies.
func apart(admins []message.Admin, services map[string][]message.JWK) (faults []error) {
	holders := map[string]string{}
	for role, keys := range services {
		for _, k := range keys {
			holders[k.Thumbprint()] = role
		}
	}
	for _, admin := range admins {
		if role, taken := holders[admin.Key.Thumbprint()]; taken {
			faults = append(faults, fmt.Errorf("services: %s: the key of admin %s is also a service's", role, admin.Name))
		}
	}
	return faults
}

// bounded refuses a header that would cost its reader more than a document does.
func (h header) bounded() error {
	if h.Admins != nil && len(h.Admins.Keys) > maxAdmins {
		return fmt.Errorf("admins: %d keys, at most %d", len(h.Admins.Keys), maxAdmins)
	}
	for role, keys := range h.Services {
		if len(keys) > maxIdentityKeys {
			return fmt.Errorf("services: %s: %d keys, at most %d", role, len(keys), maxIdentityKeys)
		}
	}
	return nil
}

// header is what the succession rests on. It is read from every document, also
// one of an earlier or later release whose other sections are unknown here.
type header struct {
	Version    int                      `yaml:"version"`
	Deployment string                   `yaml:"deployment"`
	Expires    Time                     `yaml:"expires"`
	Admins     *Admins                  `yaml:"admins"`
	Services   map[string][]message.JWK `yaml:"services"`
}

func readHeader(raw []byte) (header, error) {
	var h header
	root, err := parseForm(raw)
	if err != nil {
		return h, err
	}
	if err := root.Decode(&h); err != nil {
		return h, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return h, checkAdminsForm(root)
}

// checkAdminsForm refuses members of the section admins that are not known
// here: the header is read past others, but not in what says who signs.
func checkAdminsForm(root *yaml.Node) error {
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i].Value != "admins" {
			continue
		}
		raw, err := yaml.Marshal(root.Content[i+1])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrForm, err)
		}
		decoder := yaml.NewDecoder(bytes.NewReader(raw))
		decoder.KnownFields(true)
		if err := decoder.Decode(&Admins{}); err != nil {
			return fmt.Errorf("%w: %w", ErrForm, err)
		}
	}
	return nil
}

// check checks what the signatures rest on. Where the admins in force are not
// the genesis document's, each document names them: else whoever was removed
// could sign the same bytes again, and be in force after them for a process that
// is not shown the document that removed them.
func (h header) check(inForce Quorum, genesis message.Genesis) error {
	if err := h.bounded(); err != nil {
		return err
	}
	faults := h.Admins.faults(genesis.Mode)
	if h.Admins == nil && !inForce.Equal(GenesisQuorum(genesis)) {
		faults = append(faults, ErrNoAdmins)
	}
	if h.Version < 1 {
		faults = append(faults, fmt.Errorf("version %d is below 1", h.Version))
	}
	faults = append(faults, apart(inForce.Admins, h.Services)...)
	if h.Admins != nil {
		faults = append(faults, apart(h.Admins.admins(), h.Services)...)
	}
	return errors.Join(faults...)
}

// VersionOf reads the version that a document gives itself, which nothing has
// verified: for putting documents in order.
func VersionOf(raw []byte) (int, error) {
	h, err := readHeader(raw)
	return h.Version, err
}
