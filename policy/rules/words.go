package rules

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/countersign/countersign/internal/message"
)

func errNoList(id string) error { return fmt.Errorf("there is no list %q", bounded(id)) }

// baseUnits turns a decimal number of whole units into base units.
func baseUnits(number string, decimals int) (*big.Int, error) {
	whole, part, hasPart := strings.Cut(number, ".")
	wrong := fmt.Errorf("%q is no number of whole units, such as \"1.5\"", bounded(number))
	if whole == "" || len(whole) > 78 || !allDigits(whole, 10) || hasPart && (part == "" || !allDigits(part, 10)) {
		return nil, wrong
	}
	if len(part) > decimals {
		return nil, fmt.Errorf("%q has more than the %d decimals of the asset", bounded(number), decimals)
	}
	if decimals < 0 || decimals > 77 {
		return nil, fmt.Errorf("an asset cannot have %d decimals", decimals)
	}
	n, ok := new(big.Int).SetString(whole+part+strings.Repeat("0", decimals-len(part)), 10)
	if !ok || n.BitLen() > 256 {
		return nil, wrong
	}
	return n, nil
}

// words writes an amount of an asset in base units and, where the document
// names the asset, in whole units too.
func (b *book) words(n *big.Int, asset string) string {
	a, ok := b.named[asset]
	if !ok {
		return n.String()
	}
	return n.String() + " (" + wholeUnits(n, a.Decimals) + " " + a.ID + ")"
}

// wholeUnits writes base units as a decimal number without trailing zeros.
func wholeUnits(n *big.Int, decimals int) string {
	digits := n.String()
	if decimals <= 0 {
		return digits
	}
	if len(digits) <= decimals {
		digits = strings.Repeat("0", decimals-len(digits)+1) + digits
	}
	whole, part := digits[:len(digits)-decimals], strings.TrimRight(digits[len(digits)-decimals:], "0")
	if part == "" {
		return whole
	}
	return whole + "." + part
}

// reads notes what a condition read, in the order of reading, each once.
type reads struct {
	names  map[string]bool
	values []string
}

func (r *reads) reset() { r.names, r.values = map[string]bool{}, nil }

func (r *reads) add(name, value string) {
	if r.names == nil || r.names[name] {
		return
	}
	r.names[name] = true
	r.values = append(r.values, name+" = "+value)
}

func (r *reads) words() string { return strings.Join(r.values, "; ") }

// maxWords bounds one value in an explanation.
const maxWords = 400

// inWords writes a value for people; the asset is what an amount is of, where
// that is known.
func (e *evaluation) inWords(v ref.Val, asset string) string {
	if err, failed := v.(*types.Err); failed {
		return "error: " + message.Cut(err.Error(), maxWords)
	}
	if a, ok := v.(amount); ok {
		return e.set.book.words(a.n, asset)
	}
	return message.Cut(literal(v), maxWords)
}

// literal writes a value as it would stand in a condition.
func literal(v ref.Val) string {
	switch v := v.(type) {
	case amount:
		return v.n.String()
	case types.String:
		return strconv.Quote(message.Cut(string(v), maxWords))
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339)
	case types.Duration:
		return shortDuration(v.Duration)
	case *record:
		return v.literal()
	case *types.Err:
		return "error: " + v.Error()
	case traits.Mapper:
		return mapLiteral(v)
	case traits.Lister:
		return listLiteral(v)
	}
	return fmt.Sprint(v.Value())
}

// nativeAsset is the asset of the variables that count the native one.
func (e *evaluation) nativeAsset(variable string) string {
	switch variable {
	case "tx.value", "tx.fee", "tx.cost":
		return e.facts.Meaning.Effects.FeeAsset
	}
	return ""
}

func (r *record) literal() string {
	fields := make([]string, len(r.values))
	for i, v := range r.values {
		fields[i] = r.of.Fields[i].Name + ": " + literal(v)
	}
	return r.of.Name + "{" + strings.Join(fields, ", ") + "}"
}

// maxElements is how many elements of a list or map an explanation shows.
const maxElements = 8

func listLiteral(l traits.Lister) string {
	size, _ := l.Size().(types.Int)
	var out []string
	for i := types.Int(0); i < min(size, maxElements); i++ {
		out = append(out, literal(l.Get(i)))
	}
	if size > maxElements {
		out = append(out, fmt.Sprintf("and %d more", size-maxElements))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func mapLiteral(m traits.Mapper) string {
	var out []string
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		out = append(out, literal(key)+": "+literal(m.Get(key)))
	}
	slices.Sort(out)
	if len(out) > maxElements {
		out = append(out[:maxElements], fmt.Sprintf("and %d more", len(out)-maxElements))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func unique(accounts []string) []string {
	seen := map[string]bool{"": true}
	var out []string
	for _, a := range accounts {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

var errCondition = errors.New("the condition is empty; write true for a rule without one")
