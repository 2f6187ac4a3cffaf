package secrets

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
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
			out.wipe()
			return BranchFile{}, err
		}
	}
	return out, nil
}

// Encode returns the file's bytes; the caller clears them.
func (f SecretFile) Encode() ([]byte, error) {
	return encode(secretForm{
		Version: message.Version, Half: f.Half, Generation: f.Generation,
		Secret: f.Secret.Bytes(),
	})
}

// Encode returns the file's bytes; the caller clears them.
func (f BranchFile) Encode() ([]byte, error) {
	form := branchForm{
		Version: message.Version, Half: f.Half, Service: f.Service,
		Generation: f.Generation, Branches: map[Purpose]message.Bytes{},
	}
	for p, b := range f.Branches {
		form.Branches[p] = b.Bytes()
	}
	return encode(form)
}

// Write stores the secret in a new file with mode 0600; it never overwrites.
func (f SecretFile) Write(path string) error { return write(path, f.Encode) }

// Write stores the branches in a new file with mode 0600; it never overwrites.
func (f BranchFile) Write(path string) error { return write(path, f.Encode) }

// ParseSecretFile reads the bytes of a whole secret's file: the one encoding
// that Encode gives and a line feed.
func ParseSecretFile(b []byte) (SecretFile, error) {
	var form secretForm
	defer func() { clear(form.Secret) }()
	err := decode(b, &form)
	scratch.Hold(form.Secret)
	if err != nil {
		return SecretFile{}, err
	}
	if err := checkForm(form.Version, form.Half, form.Generation); err != nil {
		return SecretFile{}, err
	}
	if err := checkStrength(form.Secret); err != nil {
		return SecretFile{}, fmt.Errorf("secret: %w", err)
	}
	return SecretFile{Half: form.Half, Generation: form.Generation, Secret: NewSecret(form.Secret)}, nil
}

// ParseBranchFile reads the bytes of a branch file: the one encoding that
// Encode gives and a line feed.
func ParseBranchFile(b []byte) (BranchFile, error) {
	var form branchForm
	defer func() {
		for _, b := range form.Branches {
			clear(b)
		}
	}()
	err := decode(b, &form)
	for _, b := range form.Branches {
		scratch.Hold(b)
	}
	if err != nil {
		return BranchFile{}, err
	}
	if err := checkForm(form.Version, form.Half, form.Generation); err != nil {
		return BranchFile{}, err
	}
	out := BranchFile{
		Half: form.Half, Service: form.Service, Generation: form.Generation,
		Branches: map[Purpose]*Secret{},
	}
	for p, b := range form.Branches {
		if err := checkStrength(b); err != nil {
			out.wipe()
			return BranchFile{}, fmt.Errorf("branch %s: %w", p, err)
		}
		out.Branches[p] = NewSecret(b)
	}
	return out, nil
}

// ReadSecretFile reads a whole secret.
func ReadSecretFile(path string) (SecretFile, error) {
	return read(path, ParseSecretFile)
}

// ReadBranchFile reads the branches of one service and half.
func ReadBranchFile(path string) (BranchFile, error) {
	return read(path, ParseBranchFile)
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
var ErrWeak = errors.New("not a random secret")

// checkStrength refuses what 32 random bytes never look like, such as examples
// from a page of documentation: few different values (32 random bytes have
// fewer than 16 once in more than 10^12 draws), a count upwards or downwards
// (the secrets of docs/SPEC.md are of this form, so that nobody can use them),
// or nothing but printable characters (once in 10^13 draws).
func checkStrength(b []byte) error {
	if len(b) != Size {
		return ErrSize
	}
	seen := map[byte]bool{}
	printable, even := true, true
	for i, c := range b {
		seen[c] = true
		printable = printable && c >= ' ' && c <= '~'
		even = even && (i < 2 || c-b[i-1] == b[1]-b[0])
	}
	if len(seen) < 16 || printable || even {
		return ErrWeak
	}
	return nil
}

// wipe overwrites the branches.
func (f BranchFile) wipe() {
	for _, branch := range f.Branches {
		branch.Wipe()
	}
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
	if !slices.Equal(have, want) && !slices.Equal(have, without(want, optional)) {
		return fmt.Errorf("%s half holds branches %v, want exactly %v", half, have, want)
	}
	return nil
}

func without(list, left []Purpose) []Purpose {
	return slices.DeleteFunc(slices.Clone(list), func(p Purpose) bool { return slices.Contains(left, p) })
}

// Fingerprint names a secret without telling it: the first 8 bytes of the
// branch for the purpose "fingerprint", in base64url. Nothing is derived from
// that branch.
func Fingerprint(s *Secret) (string, error) {
	b, err := Branch(s, "fingerprint")
	if err != nil {
		return "", err
	}
	defer b.Wipe()
	return base64.RawURLEncoding.EncodeToString(b.Bytes()[:8]), nil
}

// encode and decode are the files' one encoding: Encode's, and a line feed.
func encode(form any) ([]byte, error) {
	b, err := message.Encode(form)
	if err != nil {
		return nil, err
	}
	scratch.Hold(b)
	defer clear(b)
	return scratch.Hold(append(b[:len(b):len(b)], '\n')), nil
}

func decode(b []byte, form any) error {
	line, ok := bytes.CutSuffix(b, []byte("\n"))
	if !ok {
		return errors.New("secret file does not end in a line feed: was it cut?")
	}
	return message.Decode(line, form)
}

func write(path string, encoded func() ([]byte, error)) error {
	b, err := encoded()
	if err != nil {
		return err
	}
	defer clear(b)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing secret file: %w", err)
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ErrPermissions says that others than the owner may read a secret file.
var ErrPermissions = errors.New("secret file is readable by others: chmod 600 it")

// read opens the file once, so that what is checked is what is read.
func read[T any](path string, parse func([]byte) (T, error)) (out T, err error) {
	f, err := os.Open(path)
	if err != nil {
		return out, fmt.Errorf("reading secret file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return out, fmt.Errorf("reading secret file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return out, fmt.Errorf("secret file %s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return out, fmt.Errorf("%s has mode %v: %w", path, info.Mode().Perm(), ErrPermissions)
	}
	if info.Size() > MaxFile {
		return out, fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), MaxFile)
	}
	b := scratch.Hold(make([]byte, info.Size()))
	defer clear(b)
	if _, err := io.ReadFull(f, b); err != nil {
		return out, fmt.Errorf("reading secret file %s: %w", path, err)
	}
	if out, err = parse(b); err != nil {
		return out, fmt.Errorf("secret file %s: %w", path, err)
	}
	return out, nil
}
