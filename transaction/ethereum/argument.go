package ethereum

import (
	"fmt"
	"strings"
)

// What an argument of a function can be, as Decode gives it.
const (
	TypeAddress = "address"
	TypeBool    = "bool"
	TypeInteger = "integer"
	TypeBytes   = "bytes"
	TypeString  = "string"
	TypeArray   = "array"
	TypeTuple   = "tuple"
)

// Type is the type of an argument: one of the constants above.
type Type struct {
	Kind string
	// Elem is what an array has elements of, Parts what a tuple has in it.
	Elem  *Type
	Parts map[string]Type
}

// Types returns the types of the arguments by the names by which Decode gives
// them.
func (f Function) Types() map[string]Type { return typesOf(f.fields) }

func typesOf(fields []field) map[string]Type {
	out := make(map[string]Type, len(fields))
	for _, f := range fields {
		out[f.name] = typeOf(f.typ)
	}
	return out
}

func typeOf(t *valueType) Type {
	switch t.kind {
	case kindAddress:
		return Type{Kind: TypeAddress}
	case kindBool:
		return Type{Kind: TypeBool}
	case kindUint, kindInt:
		return Type{Kind: TypeInteger}
	case kindString:
		return Type{Kind: TypeString}
	case kindArray:
		elem := typeOf(t.elem)
		return Type{Kind: TypeArray, Elem: &elem}
	case kindTuple:
		return Type{Kind: TypeTuple, Parts: typesOf(t.fields)}
	}
	return Type{Kind: TypeBytes}
}

// ReadAddress reads an address that stands in a text, 0x and 40 hex digits, and
// returns it in lower case. One with a capital must be right by EIP-55.
func ReadAddress(text string) (string, error) {
	address, err := parseAddress(text)
	if err != nil {
		return "", err
	}
	if text != strings.ToLower(text) && text != address.Hex() {
		return "", fmt.Errorf("%w: EIP-55 checksum does not hold", ErrAddress)
	}
	return lower(address), nil
}
