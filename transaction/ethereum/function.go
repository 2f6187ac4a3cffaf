package ethereum

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// ErrFunction says that a function's text is not a signature, and ErrCall that
// calldata is not the one encoding of a call of the function.
var (
	ErrFunction = errors.New("not a function's signature")
	ErrCall     = errors.New("not a canonical call of the function")
)

// Bounds of a function's text.
const (
	maxFunction = 1024
	maxTypes    = 64
	maxDepth    = 8 // of tuples and arrays in each other
)

// Function is a function of a contract whose calldata can be read. The zero
// value is none.
type Function struct {
	name      string
	fields    []field
	signature string
	selector  [selectorSize]byte
	check     abi.Arguments // go-ethereum's idea of the same arguments
}

// ParseFunction reads a function's name and arguments as Solidity writes them,
// such as
//
//	transfer(address to, uint256 amount)
//	aggregate((address target, bytes data)[] calls)
//
// with canonical types only (uint256, not uint) and tuples in brackets. An
// argument without a name is called by its place: "0", "1" and so on.
func ParseFunction(text string) (Function, error) {
	if len(text) > maxFunction {
		return Function{}, fmt.Errorf("%w: more than %d bytes", ErrFunction, maxFunction)
	}
	p := &signatureParser{rest: text}
	name := p.word()
	fields := p.fields(0)
	if p.err == nil && (!identifier(name) || p.rest != "") {
		p.fail("want name(type name, ...)")
	}
	all, err := tupleOf(fields)
	if p.err == nil && err != nil {
		p.fail("too many arguments")
	}
	if p.err != nil {
		return Function{}, p.err
	}
	f := Function{name: name, fields: fields, signature: name + all.text}
	copy(f.selector[:], crypto.Keccak256([]byte(f.signature)))
	if f.check, err = abiArguments(fields); err != nil {
		return Function{}, fmt.Errorf("%w: %w", ErrFunction, err)
	}
	return f, nil
}

// Signature is the name with the canonical types, whose hash gives the
// selector.
func (f Function) Signature() string { return f.signature }

// Arguments returns the names by which Decode gives the arguments.
func (f Function) Arguments() []string {
	out := make([]string, len(f.fields))
	for i, field := range f.fields {
		out[i] = field.name
	}
	return out
}

// Selector returns the four bytes that a call of the function begins with.
func (f Function) Selector() [selectorSize]byte { return f.selector }

// Decode reads a call of the function, selector included, by the names of its
// arguments. Data must be the one encoding that the ABI gives: arguments in
// their order without gaps, overlaps, dirt in the padding or bytes behind
// them. Values are: an address as 0x and lower-case hex, integers as *big.Int,
// bool, bytes as 0x hex, string, arrays as []any, tuples as map[string]any.
func (f Function) Decode(data []byte) (map[string]any, error) {
	values, err := f.values(data)
	if err != nil {
		return nil, err
	}
	return named(f.fields, values), nil
}

// values reads a call's arguments in their order.
func (f Function) values(data []byte) ([]any, error) {
	if f.signature == "" || len(data) < selectorSize || [selectorSize]byte(data[:selectorSize]) != f.selector {
		return nil, fmt.Errorf("%w: another selector", ErrCall)
	}
	args := data[selectorSize:]
	// Ours is first: it takes no more memory than the data has, whatever
	// lengths and offsets say.
	values, used, err := readSequence(len(f.fields), func(i int) *valueType { return f.fields[i].typ }, args)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCall, err)
	}
	if used != len(args) {
		return nil, fmt.Errorf("%w: bytes behind the arguments", ErrCall)
	}
	return values, f.checkEncoding(args)
}

// checkEncoding lets go-ethereum decode and encode again, and compares.
func (f Function) checkEncoding(args []byte) error {
	if len(f.fields) == 0 {
		return nil
	}
	values, err := f.check.UnpackValues(args)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCall, err)
	}
	again, err := f.check.PackValues(values)
	if err != nil || !bytes.Equal(again, args) {
		return fmt.Errorf("%w: two decoders disagree", ErrCall)
	}
	return nil
}

// named puts values under the names of their fields.
func named(fields []field, values []any) map[string]any {
	out := make(map[string]any, len(fields))
	for i, f := range fields {
		out[f.name] = plainValue(f.typ, values[i])
	}
	return out
}

func plainValue(t *valueType, value any) any {
	switch v := value.(type) {
	case common.Address:
		return lower(v)
	case []byte:
		return toHex(v)
	case []any:
		if t.kind == kindTuple {
			return named(t.fields, v)
		}
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = plainValue(t.elem, element)
		}
		return out
	}
	return value
}

// signatureParser reads a function's text from its start and keeps the first
// error.
type signatureParser struct {
	rest  string
	types int
	err   error
}

func (p *signatureParser) fail(why string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s", ErrFunction, why)
	}
	p.rest = ""
}

func (p *signatureParser) word() string {
	end := identifierEnd(p.rest)
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *signatureParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

func (p *signatureParser) spaces() { p.rest = strings.TrimLeft(p.rest, " ") }

// fields reads "(type name, ...)".
func (p *signatureParser) fields(depth int) []field {
	if !p.take("(") {
		p.fail("a bracket is missing")
	}
	if depth == 0 && p.take(")") {
		return nil
	}
	var out []field
	seen := map[string]bool{}
	for p.err == nil {
		f := p.field(depth, len(out))
		if seen[f.name] {
			p.fail("two arguments have one name")
		}
		seen[f.name] = true
		out = append(out, f)
		if p.take(")") {
			break
		}
		if !p.take(",") {
			p.fail("a comma or a closing bracket is missing")
		}
	}
	return out
}

func (p *signatureParser) field(depth, place int) field {
	p.spaces()
	f := field{name: strconv.Itoa(place), typ: p.typ(depth + 1)}
	p.spaces()
	if word := p.word(); word != "" {
		if !identifier(word) {
			p.fail("an argument has no proper name")
		}
		f.name = word
	}
	p.spaces()
	return f
}

func (p *signatureParser) typ(depth int) *valueType {
	if p.types++; p.types > maxTypes || depth > maxDepth {
		p.fail("too many or too deep types")
	}
	base := p.base(depth)
	for p.err == nil && p.take("[") {
		length, rest, ok := strings.Cut(p.rest, "]")
		if depth++; !ok || depth > maxDepth {
			p.fail("a bracket is missing, or too deep types")
			break
		}
		p.rest = rest
		array, err := arrayOf(base, length)
		if err != nil {
			p.fail("an array's length is not proper")
			break
		}
		base = array
	}
	return base
}

// base reads a tuple or an elementary type; where it cannot, what it returns
// only keeps the caller going to the error.
func (p *signatureParser) base(depth int) *valueType {
	if p.err == nil && strings.HasPrefix(p.rest, "(") {
		if t, err := tupleOf(p.fields(depth)); err == nil {
			return t
		}
		p.fail("too many arguments")
	}
	t, ok := elementary(p.word())
	if !ok {
		p.fail("a type is not known; types are written in full, as uint256")
	}
	return t
}

// abiArguments are the same arguments for go-ethereum, which wants a name for
// every part.
func abiArguments(fields []field) (abi.Arguments, error) {
	out := make(abi.Arguments, 0, len(fields))
	for _, f := range fields {
		text, components := abiType(f.typ)
		t, err := abi.NewType(text, "", components)
		if err != nil {
			return nil, fmt.Errorf("go-ethereum does not know the type: %w", err)
		}
		out = append(out, abi.Argument{Type: t})
	}
	return out, nil
}

func abiType(t *valueType) (string, []abi.ArgumentMarshaling) {
	switch t.kind {
	case kindArray:
		text, components := abiType(t.elem)
		return text + strings.TrimPrefix(t.text, t.elem.text), components
	case kindTuple:
		components := make([]abi.ArgumentMarshaling, 0, len(t.fields))
		for i, f := range t.fields {
			text, inner := abiType(f.typ)
			components = append(components, abi.ArgumentMarshaling{Name: "a" + strconv.Itoa(i), Type: text, Components: inner})
		}
		return "tuple", components
	}
	return t.text, nil
}
