package ethereum

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
)

// valueReader reads JSON by types and counts the values, and what their hashes
// will cost.
type valueReader struct{ left, hashed int }

// read reads one value. Structs have exactly the members of their type.
func (r *valueReader) read(t *valueType, raw jsontext.Value, depth int) (any, error) {
	if r.left--; r.left < 0 || depth > maxNesting {
		return nil, fmt.Errorf("%w: more than %d values, or %d levels", ErrTypedData, maxValues, maxNesting)
	}
	switch t.kind {
	case kindTuple:
		return r.readStruct(t, raw, depth)
	case kindArray:
		return r.readArray(t, raw, depth)
	case kindBool:
		if k := raw.Kind(); k != 't' && k != 'f' {
			return nil, fmt.Errorf("%w: a bool is neither true nor false", ErrTypedData)
		}
		return raw.Kind() == 't', nil
	case kindUint, kindInt:
		return readInteger(t, raw)
	}
	var text string
	if raw.Kind() != '"' || message.DecodeStrict(raw, &text) != nil {
		return nil, fmt.Errorf("%w: a %s is not a string", ErrTypedData, t.text)
	}
	return readText(t, text)
}

func (r *valueReader) readStruct(t *valueType, raw jsontext.Value, depth int) (any, error) {
	if r.hashed += t.hashed; r.hashed > maxHashed {
		return nil, fmt.Errorf("%w: too many structs of such long types", ErrTypedData)
	}
	var members map[string]jsontext.Value
	if raw.Kind() != '{' || message.DecodeStrict(raw, &members) != nil || len(members) != len(t.fields) {
		return nil, fmt.Errorf("%w: a struct has other members than its type", ErrTypedData)
	}
	out := make([]any, 0, len(t.fields))
	for _, f := range t.fields {
		raw, ok := members[f.name]
		if !ok {
			return nil, fmt.Errorf("%w: a struct has other members than its type", ErrTypedData)
		}
		value, err := r.read(f.typ, raw, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

func (r *valueReader) readArray(t *valueType, raw jsontext.Value, depth int) (any, error) {
	var elements []jsontext.Value
	if raw.Kind() != '[' || message.DecodeStrict(raw, &elements) != nil {
		return nil, fmt.Errorf("%w: an array is none", ErrTypedData)
	}
	if t.size != anyLength && len(elements) != t.size {
		return nil, fmt.Errorf("%w: an array has another length than its type", ErrTypedData)
	}
	out := make([]any, 0, len(elements))
	for _, raw := range elements {
		value, err := r.read(t.elem, raw, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

func readText(t *valueType, text string) (any, error) {
	switch t.kind {
	case kindString:
		return text, nil
	case kindAddress:
		return parseAddress(text)
	}
	b, err := parseHex(text)
	if err != nil {
		return nil, err
	}
	if t.kind == kindFixed && len(b) != t.size {
		return nil, fmt.Errorf("%w: a %s has another length", ErrTypedData, t.text)
	}
	return b, nil
}

// maxNumber is the greatest number that every JSON parser reads exactly: above
// it a string must be written.
const maxNumber = 1<<53 - 1

// readInteger reads a whole number in decimal, as a string or as a JSON number.
func readInteger(t *valueType, raw jsontext.Value) (any, error) {
	text := string(raw)
	quoted := raw.Kind() == '"'
	if quoted && message.DecodeStrict(raw, &text) != nil {
		return nil, fmt.Errorf("%w: a number is none", ErrTypedData)
	}
	digits, negative := strings.CutPrefix(text, "-")
	n, err := parseDecimal(digits)
	if err != nil || negative && n.Sign() == 0 {
		return nil, fmt.Errorf("%w: a number is not a decimal integer", ErrTypedData)
	}
	if !quoted && n.Cmp(big.NewInt(maxNumber)) > 0 {
		return nil, fmt.Errorf("%w: a number above 2^53-1 is not written as a string", ErrTypedData)
	}
	if negative {
		n.Neg(n)
	}
	if !t.holds(n) {
		return nil, fmt.Errorf("%w: a number does not fit %s", ErrRange, t.text)
	}
	return n, nil
}

// hashStruct is EIP-712's keccak256(typeHash || encodeData(value)).
func (t *valueType) hashStruct(fields []any) []byte {
	encoded := append([]byte{}, t.hash...)
	for i, f := range t.fields {
		encoded = append(encoded, f.typ.encodeValue(fields[i])...)
	}
	return crypto.Keccak256(encoded)
}

// encodeValue is the word that stands for a value in encodeData.
func (t *valueType) encodeValue(value any) []byte {
	word := make([]byte, wordSize)
	switch v := value.(type) {
	case []any:
		return t.hashParts(v)
	case string:
		return crypto.Keccak256([]byte(v))
	case []byte:
		if t.kind == kindBytes {
			return crypto.Keccak256(v)
		}
		copy(word, v) // bytes1 to bytes32 stand at the left
	case common.Address:
		copy(word[wordSize-common.AddressLength:], v[:])
	case bool:
		if v {
			word[wordSize-1] = 1
		}
	case *big.Int:
		twos := new(big.Int).And(v, unlimited) // two's complement in 256 bits
		twos.FillBytes(word)
	}
	return word
}

func (t *valueType) hashParts(v []any) []byte {
	if t.kind == kindTuple {
		return t.hashStruct(v)
	}
	encoded := make([]byte, 0, len(v)*wordSize)
	for _, element := range v {
		encoded = append(encoded, t.elem.encodeValue(element)...)
	}
	return crypto.Keccak256(encoded)
}

// jsonValue is a value in the one JSON form that is shown and that rules read,
// whichever form it was sent in: integers are decimal strings, addresses and
// bytes lower-case hex, members in the order of their type.
func (t *valueType) jsonValue(out []byte, value any) []byte {
	switch v := value.(type) {
	case bool:
		if v {
			return append(out, "true"...)
		}
		return append(out, "false"...)
	case []any:
		return t.jsonParts(out, v)
	case string:
		return quote(out, v)
	case common.Address:
		return quote(out, lower(v))
	case []byte:
		return quote(out, toHex(v))
	case *big.Int:
		return quote(out, v.String())
	}
	return out
}

func (t *valueType) jsonParts(out []byte, v []any) []byte {
	brackets := "[]"
	if t.kind == kindTuple {
		brackets = "{}"
	}
	out = append(out, brackets[0])
	for i, part := range v {
		if i > 0 {
			out = append(out, ',')
		}
		typ := t.elem
		if t.kind == kindTuple {
			typ = t.fields[i].typ
			out = append(quote(out, t.fields[i].name), ':')
		}
		out = typ.jsonValue(out, part)
	}
	return append(out, brackets[1])
}

// quote writes a string that is valid UTF-8, as all that came from strict JSON.
func quote(out []byte, text string) []byte {
	out, _ = jsontext.AppendQuote(out, text)
	return out
}
