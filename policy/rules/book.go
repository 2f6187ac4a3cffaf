package rules

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

var zero = new(big.Int)

// book is a document arranged for look-ups. It is not changed once it is made.
type book struct {
	lists   map[string]*listing
	groups  map[string]map[string]bool
	of      map[string][]string // groups by member
	assets  map[string]*document.Asset
	named   map[string]*document.Asset // by CAIP-19
	literal map[string]bool            // CAIP-19 assets that stand in conditions
	calls   map[[4]byte][]declared
	signed  map[string]bool            // signatures of the functions in calls
	args    map[string][]ethereum.Type // of their arguments, by name
	known   map[string]string          // inline accounts, and the list each is on
	similar map[string][]string
	zones   map[string]*time.Location
	users   map[string]bool
	chains  map[string]bool // CAIP-2, of what the document names
}

type listing struct {
	id      string
	entries map[string]document.Entry
	file    *document.File
	files   Files
}

// declared is a function of the document's section calls.
type declared struct {
	contract string
	function ethereum.Function
}

// newBook arranges a document. Names that stand twice are for the document's
// own validation to find.
func newBook(doc *document.Document, files Files) (*book, []error) {
	b := &book{
		lists: map[string]*listing{}, groups: map[string]map[string]bool{}, of: map[string][]string{},
		assets: map[string]*document.Asset{}, named: map[string]*document.Asset{}, literal: map[string]bool{},
		calls: map[[4]byte][]declared{}, signed: map[string]bool{}, args: map[string][]ethereum.Type{}, known: map[string]string{}, similar: map[string][]string{},
		zones: map[string]*time.Location{}, users: map[string]bool{}, chains: map[string]bool{},
	}
	for _, u := range doc.Users {
		b.users[u.ID] = true
	}
	for i := range doc.Lists {
		b.addList(&doc.Lists[i], files)
	}
	for _, g := range doc.Groups {
		b.groups[g.ID] = map[string]bool{}
		for _, member := range g.Members {
			b.groups[g.ID][member] = true
			b.of[member] = append(b.of[member], g.ID)
		}
	}
	for i := range doc.Assets {
		a := &doc.Assets[i]
		b.assets[a.ID], b.named[a.Asset] = a, a
		b.addChain(a.Asset, "/")
	}
	return b, b.addCalls(doc.Calls)
}

func (b *book) addList(l *document.List, files Files) {
	listing := &listing{id: l.ID, entries: map[string]document.Entry{}, file: l.File, files: files}
	for _, entry := range l.Entries {
		b.addChain(entry.Account, ":")
		account := transaction.Canonical(entry.Account)
		listing.entries[account] = entry
		if _, ok := b.known[account]; !ok {
			b.known[account] = l.ID
			if key := likeness(account); key != "" {
				b.similar[key] = append(b.similar[key], account)
			}
		}
	}
	b.lists[l.ID] = listing
}

func (b *book) addCalls(calls []document.Call) (faults []error) {
	for i, c := range calls {
		function, err := ethereum.ParseFunction(c.Function)
		if err != nil {
			faults = append(faults, fmt.Errorf("calls: entry %d (%q): %w", i+1, bounded(c.Function), err))
			continue
		}
		b.addChain(c.Contract, ":")
		selector, contract := function.Selector(), transaction.Canonical(c.Contract)
		if b.declares(selector, contract) {
			faults = append(faults, fmt.Errorf("calls: entry %d (%q): an entry above declares %s for the same contract, and only one can be read; remove one",
				i+1, bounded(c.Function), function.Signature()))
		}
		b.calls[selector] = append(b.calls[selector], declared{contract, function})
		b.signed[function.Signature()] = true
		for name, argument := range function.Types() {
			b.args[name] = append(b.args[name], argument)
		}
	}
	return faults
}

func (b *book) declares(selector [4]byte, contract string) bool {
	return slices.ContainsFunc(b.calls[selector], func(d declared) bool { return d.contract == contract })
}

// addChain takes in the chain of an account or asset, which ends before the last
// separator.
func (b *book) addChain(of, separator string) {
	if i := strings.LastIndex(of, separator); i > 0 {
		b.chains[of[:i]] = true
	}
}

func (l *listing) has(account string) bool {
	if _, ok := l.entries[account]; ok {
		return true
	}
	return l.file != nil && l.files != nil && l.files.Has(l.file.SHA256, account)
}

func (b *book) groupsOf(id string) []string { return b.of[id] }

// decode reads a call's arguments by the function that the document declares
// for the contract, or for every contract. Where it declares none, there are no
// arguments; where the data does not fit, reading them is an error.
func (b *book) decode(contract string, data []byte) (function string, args ref.Val) {
	if len(data) < 4 {
		return "", noArguments
	}
	var found *ethereum.Function
	for _, d := range b.calls[[4]byte(data[:4])] {
		if d.contract == contract || d.contract == "" && found == nil {
			found = &d.function
		}
	}
	if found == nil {
		return "", noArguments
	}
	values, err := found.Decode(data)
	if err != nil {
		return found.Signature(), types.NewErr("the arguments of %s cannot be read", found.Signature())
	}
	return found.Signature(), native(values)
}

var noArguments = native(map[string]any{})

// likeness is what two addresses have in common that people take for one
// another: the chain, and the first and last four digits. It is empty for what
// is too short to be mistaken.
func likeness(account string) string {
	i := strings.LastIndex(account, ":")
	chain, address := account[:i+1], strings.ToLower(account[i+1:])
	digits := strings.TrimPrefix(address, "0x")
	if len(digits) < 9 {
		return ""
	}
	return strings.ToLower(chain) + digits[:4] + ":" + digits[len(digits)-4:]
}

// resembles returns an account of the document that an unknown destination
// resembles.
func (b *book) resembles(destination string) (known string, ok bool) {
	if key := likeness(destination); key != "" && len(b.similar[key]) > 0 {
		return b.similar[key][0], true
	}
	return "", false
}
