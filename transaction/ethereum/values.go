package ethereum

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// kind is what a value is, in calldata (the contract ABI) and in typed data
// (EIP-712) alike.
type kind int

const (
	kindAddress kind = iota
	kindBool
	kindUint   // size in bits
	kindInt    // size in bits, two's complement
	kindFixed  // bytes1 to bytes32, size in bytes
	kindBytes  // any length
	kindString // UTF-8
	kindArray  // size elements, or any number where size is anyLength
	kindTuple  // a struct
)

// anyLength is the size of an array whose length its value says.
const anyLength = -1

// valueType is a type. Values of it are, in Go: common.Address, bool, *big.Int,
// []byte, string, and []any for arrays and tuples.
type valueType struct {
	kind   kind
	size   int
	text   string // as it stands in a signature or in encodeType
	elem   *valueType
	fields []field
	// hash is the type hash of a struct of typed data, and hashed the number of
	// bytes that it is the hash of.
	hash   []byte
	hashed int
	// words is the number of 32-byte words in the head of an ABI encoding, and
	// dynamic whether those are one word that says where the value is.
	words   int
	dynamic bool
}

// field is a named part of a tuple, or an argument.
type field struct {
	name string
	typ  *valueType
}

// elementary reads the name of a type that consists of no others: address,
// bool, string, bytes, bytes1 to bytes32, and the integers of 8 to 256 bits.
// The aliases int and uint are no names of types in signatures.
func elementary(name string) (*valueType, bool) {
	t := &valueType{text: name, words: 1}
	switch name {
	case "address":
		t.kind = kindAddress
	case "bool":
		t.kind = kindBool
	case "string":
		t.kind, t.dynamic = kindString, true
	case "bytes":
		t.kind, t.dynamic = kindBytes, true
	default:
		return t, t.sized(name)
	}
	return t, true
}

// sized completes a type whose name ends with its size.
func (t *valueType) sized(name string) bool {
	for _, family := range []struct {
		prefix    string
		kind      kind
		step, end int
	}{{"uint", kindUint, 8, 256}, {"int", kindInt, 8, 256}, {"bytes", kindFixed, 1, 32}} {
		digits, ok := strings.CutPrefix(name, family.prefix)
		size, err := strconv.Atoi(digits)
		if !ok || err != nil || strconv.Itoa(size) != digits {
			continue
		}
		t.kind, t.size = family.kind, size
		return size > 0 && size <= family.end && size%family.step == 0
	}
	return false
}

// maxArray bounds the fixed length of an array in a type, and maxWords the
// head of all of a function's arguments.
const (
	maxArray = 1024
	maxWords = 4096
)

// arrayOf is an array of elements; length is what stands in the brackets.
func arrayOf(elem *valueType, length string) (*valueType, error) {
	t := &valueType{kind: kindArray, size: anyLength, elem: elem, text: elem.text + "[" + length + "]", words: 1, dynamic: true}
	if length == "" {
		return t, nil
	}
	n, err := strconv.Atoi(length)
	if err != nil || strconv.Itoa(n) != length || n < 1 || n > maxArray {
		return nil, fmt.Errorf("%w: an array's length is not 1 to %d", ErrPayload, maxArray)
	}
	t.size = n
	if t.dynamic = elem.dynamic; !t.dynamic {
		t.words = n * elem.words
	}
	if t.words > maxWords {
		return nil, fmt.Errorf("%w: an array has more than %d words", ErrPayload, maxWords)
	}
	return t, nil
}

// tupleOf is a tuple of fields, which has one at least.
func tupleOf(fields []field) (*valueType, error) {
	t := &valueType{kind: kindTuple, fields: fields}
	texts := make([]string, 0, len(fields))
	for _, f := range fields {
		texts = append(texts, f.typ.text)
		t.words += f.typ.words
		t.dynamic = t.dynamic || f.typ.dynamic
	}
	if t.words > maxWords {
		return nil, fmt.Errorf("%w: a tuple has more than %d words", ErrPayload, maxWords)
	}
	if t.dynamic {
		t.words = 1
	}
	t.text = "(" + strings.Join(texts, ",") + ")"
	return t, nil
}

// holds reports whether an integer is in the range of the type.
func (t *valueType) holds(n *big.Int) bool {
	if t.kind == kindUint {
		return n.Sign() >= 0 && n.BitLen() <= t.size
	}
	if n.Sign() < 0 {
		n = new(big.Int).Not(n) // -2^(size-1) has the most bits that fit
	}
	return n.BitLen() < t.size
}

// maxIdentifier bounds names of functions, types and fields.
const maxIdentifier = 128

// identifier reports whether a name has letters, digits and underscores only,
// and does not begin with a digit.
func identifier(name string) bool {
	if name == "" || len(name) > maxIdentifier || (name[0] >= '0' && name[0] <= '9') {
		return false
	}
	return len(name) == identifierEnd(name)
}

// identifierEnd is the length of the name that a text begins with.
func identifierEnd(text string) int {
	for i, c := range []byte(text) {
		letter := (c|0x20) >= 'a' && (c|0x20) <= 'z'
		if !letter && c != '_' && (c < '0' || c > '9') {
			return i
		}
	}
	return len(text)
}
