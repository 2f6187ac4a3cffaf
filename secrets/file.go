package secrets

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// Half says which person's secret a file comes from.
type Half string

// The two halves.
const (
	HalfBuild  Half = "build"
	HalfDeploy Half = "deploy"
)

// MaxFile is the most bytes that a secret file may have.
const MaxFile = 64 << 10

// SecretFile is a whole secret at rest: only `countersign secrets` reads it.
type SecretFile struct {
	Half       Half
	Generation int
	Secret     *Secret
}

// BranchFile is what a service is handed of one half.
type BranchFile struct {
	Half       Half
	Service    string
	Generation int
	Branches   map[Purpose]*Secret
}

// secretForm and branchForm are the files' JSON; they alone carry key bytes.
type secretForm struct {
	Version    int           `json:"version"`
	Half       Half          `json:"half"`
	Generation int           `json:"generation"`
	Secret     message.Bytes `json:"secret"`
}

type branchForm struct {
	Version    int                       `json:"version"`
	Half       Half                      `json:"half"`
	Service    string                    `json:"service"`
	Generation int                       `json:"generation"`
	Branches   map[Purpose]message.Bytes `json:"branches"`
}

// NewSecretFile makes a new secret of one half and generation.
func NewSecretFile(half Half, generation int) SecretFile {
	return SecretFile{Half: half, Generation: generation, Secret: Generate()}
}

// Split returns the branch file of one service: exactly the branches that it
// needs.
func (f SecretFile) Split(service string, roles []string) (BranchFile, error) {
	purposes, err := Purposes(service, roles)
	if err != nil {
		return BranchFile{}, err
	}
	out := BranchFile{
		Half: f.Half, Service: service, Generation: f.Generation,
		Branches: map[Purpose]*Secret{},
	}
	for _, p := range purposes {
		if out.Branches[p], err = Branch(f.Secret, p); err != nil {
			return BranchFile{}, err
		}
	}
	return out, nil
}

// Write stores the secret in a new file with mode 0600; it never overwrites.
func (f SecretFile) Write(path string) error {
	return write(path, secretForm{
		Version: message.Version, Half: f.Half, Generation: f.Generation,
		Secret: f.Secret.Bytes(),
	})
}

// Write stores the branches in a new file with mode 0600; it never overwrites.
func (f BranchFile) Write(path string) error {
	form := branchForm{
		Version: message.Version, Half: f.Half, Service: f.Service,
		Generation: f.Generation, Branches: map[Purpose]message.Bytes{},
	}
	for p, b := range f.Branches {
		form.Branches[p] = b.Bytes()
	}
	return write(path, form)
}

// ReadSecretFile reads a whole secret.
func ReadSecretFile(path string) (SecretFile, error) {
	var form secretForm
	if err := read(path, &form); err != nil {
		return SecretFile{}, err
	}
	defer clear(form.Secret)
	if err := checkForm(form.Version, form.Half, form.Generation); err != nil {
		return SecretFile{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkStrength(form.Secret); err != nil {
		return SecretFile{}, fmt.Errorf("%s: secret: %w", path, err)
	}
	return SecretFile{Half: form.Half, Generation: form.Generation, Secret: NewSecret(form.Secret)}, nil
}

// ReadBranchFile reads the branches of one service and half.
func ReadBranchFile(path string) (BranchFile, error) {
	var form branchForm
	if err := read(path, &form); err != nil {
		return BranchFile{}, err
	}
	if err := checkForm(form.Version, form.Half, form.Generation); err != nil {
		return BranchFile{}, fmt.Errorf("%s: %w", path, err)
	}
	out := BranchFile{
		Half: form.Half, Service: form.Service, Generation: form.Generation,
		Branches: map[Purpose]*Secret{},
	}
	for p, b := range form.Branches {
		if err := checkStrength(b); err != nil {
			return BranchFile{}, fmt.Errorf("%s: branch %s: %w", path, p, err)
		}
		out.Branches[p] = NewSecret(b)
		clear(b)
	}
	return out, nil
}

func checkForm(version int, half Half, generation int) error {
	if version != message.Version {
		return fmt.Errorf("version is %d, want %d", version, message.Version)
	}
	if half != HalfBuild && half != HalfDeploy {
		return fmt.Errorf("half %q is neither build nor deploy", half)
	}
	if generation < 1 {
		return fmt.Errorf("generation %d is below 1", generation)
	}
	return nil
}

// ErrWeak says that a secret is plainly not random.
var ErrWeak = errors.New("not a random secret: too few different bytes")

// checkStrength refuses what 32 random bytes never look like: examples such as
// all zeros or a repeated word. 32 random bytes have fewer than 16 different
// values once in more than 10^12 draws.
func checkStrength(b []byte) error {
	if len(b) != Size {
		return ErrSize
	}
	seen := map[byte]bool{}
	for _, c := range b {
		seen[c] = true
	}
	if len(seen) < 16 {
		return ErrWeak
	}
	return nil
}

func (f BranchFile) check(half Half, service string, want []Purpose) error {
	if f.Half != half {
		return fmt.Errorf("file of the %s half stands where the %s half belongs", f.Half, half)
	}
	if f.Service != service {
		return fmt.Errorf("%s half was made for service %q", half, f.Service)
	}
	var have []Purpose
	for p := range f.Branches {
		have = append(have, p)
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		return fmt.Errorf("%s half holds branches %v, want exactly %v", half, have, want)
	}
	return nil
}

// Fingerprint names a secret without telling it: the first 8 bytes of the
// branch for the purpose "fingerprint", in base64url. Nothing is derived from
// that branch.
func Fingerprint(s *Secret) (string, error) {
	b, err := Branch(s, "fingerprint")
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b.Bytes()[:8]), nil
}

func write(path string, form any) error {
	b, err := message.Encode(form)
	if err != nil {
		return err
	}
	defer clear(b)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing secret file: %w", err)
	}
	if _, err = f.Write(append(b, '\n')); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ErrPermissions says that others than the owner may read a secret file.
var ErrPermissions = errors.New("secret file is readable by others: chmod 600 it")

func read(path string, form any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading secret file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %v: %w", path, info.Mode().Perm(), ErrPermissions)
	}
	if info.Size() > MaxFile {
		return fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), MaxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading secret file: %w", err)
	}
	defer clear(b)
	if err := message.DecodeStrict(b, form); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
