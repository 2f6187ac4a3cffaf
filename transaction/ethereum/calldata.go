package ethereum

import (
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"
)

// Faults of calldata, told to people who write a function's signature.
var (
	errShort   = errors.New("it ends too early")
	errPadding = errors.New("padding is not zero")
	errOffset  = errors.New("an offset does not point behind what stands before")
	errLength  = errors.New("a length exceeds the data")
	errValue   = errors.New("a value is out of its type's range")
)

// readSequence reads n values that stand side by side, as the contract ABI
// encodes a tuple: first the heads of all, then the tails of the dynamic ones
// in the same order, each directly behind the one before. It returns the values
// and the bytes that they take. The ABI allows other orders, and contracts read
// them; nobody writes them in good faith.
func readSequence(n int, typ func(int) *valueType, data []byte) ([]any, int, error) {
	tail := 0
	for i := range n {
		if tail += typ(i).words * wordSize; tail > len(data) {
			return nil, 0, errShort
		}
	}
	values, head := make([]any, 0, n), 0
	for i := range n {
		t, start := typ(i), head
		if t.dynamic {
			if offset, ok := smallNumber(data[head : head+wordSize]); !ok || offset != tail {
				return nil, 0, errOffset
			}
			start = tail
		}
		value, used, err := t.read(data[start:])
		if err != nil {
			return nil, 0, err
		}
		values = append(values, value)
		head += t.words * wordSize
		if t.dynamic {
			tail += used
		}
	}
	return values, tail, nil
}

// read reads one value at the start of data and returns the bytes it takes.
func (t *valueType) read(data []byte) (any, int, error) {
	switch t.kind {
	case kindTuple:
		return values(readSequence(len(t.fields), func(i int) *valueType { return t.fields[i].typ }, data))
	case kindArray:
		return t.readArray(data)
	case kindBytes, kindString:
		return t.readBytes(data)
	}
	if len(data) < wordSize {
		return nil, 0, errShort
	}
	value, err := t.readWord(data[:wordSize])
	return value, wordSize, err
}

// values gives a sequence the form of one value.
func values(v []any, used int, err error) (any, int, error) { return v, used, err }

func (t *valueType) readArray(data []byte) (any, int, error) {
	each := func(int) *valueType { return t.elem }
	if t.size != anyLength {
		return values(readSequence(t.size, each, data))
	}
	n, rest, err := readLength(data)
	if err != nil {
		return nil, 0, err
	}
	// Before anything is set aside for the elements: each has a word.
	if n > len(rest)/wordSize {
		return nil, 0, errLength
	}
	elements, used, err := readSequence(n, each, rest)
	return elements, wordSize + used, err
}

func (t *valueType) readBytes(data []byte) (any, int, error) {
	n, rest, err := readLength(data)
	if err != nil {
		return nil, 0, err
	}
	padded := (n + wordSize - 1) / wordSize * wordSize
	if padded > len(rest) {
		return nil, 0, errLength
	}
	if !zero(rest[n:padded]) {
		return nil, 0, errPadding
	}
	if t.kind == kindBytes {
		return rest[:n:n], wordSize + padded, nil
	}
	if !utf8.Valid(rest[:n]) {
		return nil, 0, fmt.Errorf("%w: text is not UTF-8", errValue)
	}
	return string(rest[:n]), wordSize + padded, nil
}

// readLength reads the length in front of an array or of bytes, which is never
// more than the bytes behind it.
func readLength(data []byte) (int, []byte, error) {
	if len(data) < wordSize {
		return 0, nil, errShort
	}
	n, ok := smallNumber(data[:wordSize])
	if !ok || n > len(data)-wordSize {
		return 0, nil, errLength
	}
	return n, data[wordSize:], nil
}

// smallNumber reads a word below 2^31.
func smallNumber(word []byte) (int, bool) {
	n := new(big.Int).SetBytes(word)
	return int(n.Int64()), n.BitLen() < 32
}

func (t *valueType) readWord(word []byte) (any, error) {
	switch t.kind {
	case kindAddress:
		if address, ok := addressWord(word); ok {
			return address, nil
		}
		return nil, errPadding
	case kindFixed:
		if !zero(word[t.size:]) {
			return nil, errPadding
		}
		return word[:t.size:t.size], nil
	case kindBool:
		if !zero(word[:wordSize-1]) || word[wordSize-1] > 1 {
			return nil, errValue
		}
		return word[wordSize-1] == 1, nil
	}
	n := new(big.Int).SetBytes(word)
	if t.kind == kindInt && word[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 8*wordSize))
	}
	if !t.holds(n) {
		return nil, errValue
	}
	return n, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
