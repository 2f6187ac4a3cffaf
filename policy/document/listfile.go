package document

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// Bounds of a list by file.
const (
	MaxListFile    = 16 << 20 // bytes
	MaxListEntries = 300_000
)

// ErrListFile says that a list's file is not in its form, or not the one that
// the document names.
var ErrListFile = errors.New("list file is refused")

// ListFile is a list by file: a set of accounts. It keeps 32 bytes of each, the
// SHA-256 of its text, and is safe for concurrent use.
type ListFile struct {
	sum    message.Hash
	sorted []message.Hash
}

// ReadList reads a list's file: one canonical CAIP-10 account on each line, none
// twice, "\n" after each, in any order.
func ReadList(raw []byte) (*ListFile, error) {
	lines := bytes.Count(raw, []byte{'\n'})
	switch {
	case len(raw) > MaxListFile || lines > MaxListEntries:
		return nil, fmt.Errorf("%w: more than %d bytes or %d lines", ErrListFile, MaxListFile, MaxListEntries)
	case len(raw) == 0 || raw[len(raw)-1] != '\n':
		return nil, fmt.Errorf("%w: it is empty or its last line has no end", ErrListFile)
	}
	f := &ListFile{sum: message.Sum(raw), sorted: make([]message.Hash, 0, lines)}
	number := 0
	for line := range bytes.Lines(raw) {
		number++
		account := line[:len(line)-1]
		if bytes.HasSuffix(account, []byte{'\r'}) {
			return nil, fmt.Errorf("%w: line %d ends with CR LF (\\r\\n); each line must end with LF (\\n) alone", ErrListFile, number)
		}
		if !CanonicalAccount(string(account)) {
			return nil, fmt.Errorf("%w: line %d is not a CAIP-10 account (of eip155: chain id and 0x address in lower case)", ErrListFile, number)
		}
		f.sorted = append(f.sorted, message.Sum(account))
	}
	slices.SortFunc(f.sorted, compareHashes)
	for i := 1; i < len(f.sorted); i++ {
		if f.sorted[i] == f.sorted[i-1] {
			return nil, twice(raw, f.sorted[i])
		}
	}
	return f, nil
}

// twice says in which lines an account stands.
func twice(raw []byte, account message.Hash) error {
	number, first := 0, 0
	for line := range bytes.Lines(raw) {
		number++
		switch {
		case message.Sum(line[:len(line)-1]) != account:
		case first == 0:
			first = number
		default:
			return fmt.Errorf("%w: line %d: %s stands in line %d too", ErrListFile, number, line[:len(line)-1], first)
		}
	}
	return fmt.Errorf("%w: an account stands twice", ErrListFile)
}

func compareHashes(a, b message.Hash) int { return bytes.Compare(a[:], b[:]) }

// Has says whether an account, in canonical form, is in the list.
func (f *ListFile) Has(account string) bool {
	_, ok := slices.BinarySearchFunc(f.sorted, message.Sum([]byte(account)), compareHashes)
	return ok
}

// Len is the number of accounts.
func (f *ListFile) Len() int { return len(f.sorted) }

// SHA256 is that of the file's bytes, in hex.
func (f *ListFile) SHA256() string { return f.sum.String() }

// Lists are the files of a document's lists, by digest.
type Lists map[string]*ListFile

// Has says whether an account is in the file of a digest. What is not there has
// none.
func (l Lists) Has(sha256, account string) bool {
	f := l[sha256]
	return f != nil && f.Has(account)
}

// Attach gives the document the files that its lists name, and no others. It is
// called before the document is shared. Without an error each is there and is
// what the quorum has signed.
func (a *Active) Attach(files map[string]*ListFile) error {
	var faults []error
	attached := Lists{}
	for _, l := range a.Lists {
		if l.File == nil {
			continue
		}
		switch f := files[l.File.SHA256]; {
		case f == nil:
			faults = append(faults, fmt.Errorf("list %q: %w: file %s is not there", l.ID, ErrListFile, l.File.SHA256))
		case f.SHA256() != l.File.SHA256:
			faults = append(faults, fmt.Errorf("list %q: %w: it is %s, want %s", l.ID, ErrListFile, f.SHA256(), l.File.SHA256))
		case f.Len() != l.File.Entries:
			faults = append(faults, fmt.Errorf("list %q: %w: it has %d entries, want %d", l.ID, ErrListFile, f.Len(), l.File.Entries))
		default:
			attached[l.File.SHA256] = f
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	a.files = attached
	return nil
}

// Files returns what was attached.
func (a *Active) Files() Lists { return a.files }
