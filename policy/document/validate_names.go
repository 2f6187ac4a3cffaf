package document

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/message"
)

// Bounds of names.
const (
	maxLabel    = 128 // bytes
	maxDecimals = 77  // 10^77 is the highest power of ten below 2^256
	maxFunction = 1024
)

// ethereumAssetForm are the assets of eip155 that effects name: the native coin,
// which is slip44:60 on every chain, tokens, whole NFT contracts, and items.
var ethereumAssetForm = regexp.MustCompile(`^eip155:[1-9][0-9]{0,18}/` +
	`(?:slip44:60|erc20:0x[0-9a-f]{40}|erc721:0x[0-9a-f]{40}(?:/` + item + `)?|erc1155:0x[0-9a-f]{40}/` + item + `)$`)

// item is the number of one item of a contract, which has 256 bits.
const item = `(?:0|[1-9][0-9]{0,77})`

// Forms of eip155 that look right and that no effect names.
var (
	otherCoin  = regexp.MustCompile(`^eip155:[0-9]+/slip44:[0-9]+$`)
	allItems   = regexp.MustCompile(`^eip155:[0-9]+/erc1155:0x[0-9a-f]{40}$`)
	otherToken = regexp.MustCompile(`^eip155:[0-9]+/erc[0-9]+:0x[0-9a-f]{40}`)
)

// CanonicalAccount says whether an account is CAIP-10, in the one form in which
// effects name it.
func CanonicalAccount(account string) bool {
	if strings.HasPrefix(account, "eip155:") {
		return ethereumForm.MatchString(account)
	}
	return accountForm.MatchString(account)
}

// CheckAsset says why an asset is not CAIP-19, or not in the one form in which
// effects name it: with another, a rule would never match.
func CheckAsset(asset string) error {
	ethereum := strings.HasPrefix(asset, "eip155:")
	switch {
	case ethereum && ethereumAssetForm.MatchString(asset), !ethereum && assetForm.MatchString(asset):
		return nil
	case otherCoin.MatchString(asset) && !strings.HasSuffix(asset, "/slip44:60"):
		return fmt.Errorf("%q never matches: the native coin of every eip155 chain is slip44:60", asset)
	case allItems.MatchString(asset):
		return fmt.Errorf("%q never matches: each item of an erc1155 contract is an asset of its own: write its number behind, such as /7", asset)
	case otherToken.MatchString(asset) && !strings.Contains(asset, "/erc20:") && !ofItems(asset):
		return fmt.Errorf("%q never matches: what contracts of eip155 keep is erc20, erc721 or erc1155", asset)
	}
	return fmt.Errorf("%q is not a CAIP-19 asset (of eip155: slip44:60, erc20, erc721 or erc1155 with a 0x address, in lower case)", asset)
}

// ofItems says whether an asset is of a standard whose contracts have items.
func ofItems(asset string) bool {
	return strings.Contains(asset, "/erc721:") || strings.Contains(asset, "/erc1155:")
}

// printable says whether a text shows as what it is: no control, no marks that
// turn its direction.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// id checks the form of an id, and that it is the only one of its section.
func (v *validator) id(where, id string, seen map[string]bool) {
	switch {
	case !idForm.MatchString(id):
		v.fault("%s: id is not usable: it is up to 128 letters, digits and ._@-, the first a letter or digit", where)
	case seen[id]:
		v.fault("%s: the id stands twice", where)
	}
	seen[id] = true
}

// named checks one of a list of names: that there is somebody whom it names, and
// that it is the only one.
func (v *validator) named(where, what, name string, known bool, seen map[string]bool) bool {
	switch {
	case !known:
		v.fault("%s: there is no %s %q", where, what, name)
	case seen[name]:
		v.fault("%s: %s %q stands twice", where, what, name)
	default:
		seen[name] = true
		return true
	}
	return false
}

func (v *validator) hasApprover(id string) bool {
	return slices.ContainsFunc(v.doc.Approvers, func(a Approver) bool { return a.ID == id })
}

func (v *validator) groups() {
	ids := map[string]bool{}
	for _, g := range v.doc.Groups {
		where := fmt.Sprintf("group %q", g.ID)
		v.id(where, g.ID, ids)
		if v.hasUser(g.ID) || v.hasApprover(g.ID) {
			v.fault("%s: a user or an approver has this id", where)
		}
		members := map[string]bool{}
		for _, id := range g.Members {
			v.named(where, "user or approver", id, v.hasUser(id) || v.hasApprover(id), members)
		}
	}
}

func (v *validator) lists() {
	ids := map[string]bool{}
	for _, l := range v.doc.Lists {
		where := fmt.Sprintf("list %q", l.ID)
		v.id(where, l.ID, ids)
		if (l.Entries == nil) == (l.File == nil) {
			v.fault("%s: it must have either entries or a file", where)
		}
		if l.File != nil {
			v.listFile(where, *l.File)
		}
		v.entries(where, l.Entries)
	}
}

func (v *validator) listFile(where string, f File) {
	if _, err := message.ParseHash(f.SHA256); err != nil {
		v.fault("%s: file: sha256 %q is not 64 lower-case hex digits", where, f.SHA256)
	}
	if f.Entries < 1 || f.Entries > MaxListEntries {
		v.fault("%s: file: %d entries are not between 1 and %d", where, f.Entries, MaxListEntries)
	}
}

func (v *validator) entries(where string, entries []Entry) {
	seen := map[string]bool{}
	for _, e := range entries {
		if !CanonicalAccount(e.Account) {
			v.fault("%s: %q is not a CAIP-10 account (of eip155: chain id and 0x address in lower case)", where, e.Account)
		}
		if seen[e.Account] {
			v.fault("%s: %s stands twice", where, e.Account)
		}
		seen[e.Account] = true
		if len(e.Label) > maxLabel || !printable(e.Label) {
			v.fault("%s: the label of %s is longer than %d bytes or not printable", where, e.Account, maxLabel)
		}
	}
}

func (v *validator) assets() {
	ids, assets := map[string]bool{}, map[string]bool{}
	for _, a := range v.doc.Assets {
		where := fmt.Sprintf("asset %q", a.ID)
		v.id(where, a.ID, ids)
		if err := CheckAsset(a.Asset); err != nil {
			v.fault("%s: %w", where, err)
		}
		if assets[a.Asset] {
			v.fault("%s: %s has another name too", where, a.Asset)
		}
		assets[a.Asset] = true
		if a.Decimals < 0 || a.Decimals > maxDecimals {
			v.fault("%s: decimals %d are not between 0 and %d", where, a.Decimals, maxDecimals)
		}
	}
}

// calls leaves the grammar of a function to those who decode arguments.
func (v *validator) calls() {
	seen := map[Call]bool{}
	for i, c := range v.doc.Calls {
		where := fmt.Sprintf("call %d", i+1)
		if c.Function == "" || len(c.Function) > maxFunction || !printable(c.Function) {
			v.fault("%s: function is missing, longer than %d bytes or not printable", where, maxFunction)
		}
		if c.Contract != "" && !CanonicalAccount(c.Contract) {
			v.fault("%s: contract %q is not a CAIP-10 account (of eip155: chain id and 0x address in lower case)", where, c.Contract)
		}
		if seen[c] {
			v.fault("%s: %s stands twice", where, c.Function)
		}
		seen[c] = true
	}
}

func (v *validator) thaw() {
	seen := map[string]bool{}
	for _, request := range v.doc.Thaw {
		if err := message.CheckRequestID(request); err != nil {
			v.fault("thaw: %q: %w", request, err)
		}
		if seen[request] {
			v.fault("thaw: %s stands twice", request)
		}
		seen[request] = true
	}
}
