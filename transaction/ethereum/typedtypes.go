package ethereum

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
)

// ErrTypedData says that typed data is not what its own types say, or that its
// types are not sound.
var ErrTypedData = errors.New("malformed typed data")

// domainType is the type of the domain, which every typed data has.
const domainType = "EIP712Domain"

// Bounds of typed data: far above what applications ask for, and low enough
// that the work stays small.
const (
	maxStructs   = 32
	maxMembers   = 128
	maxValues    = 4096
	maxHashed    = 256 << 10 // bytes of types, once for each struct: go-ethereum writes and hashes them that often
	maxDimension = 8         // of arrays
	maxNesting   = 16        // of structs and arrays in each other
)

// member is a field of a struct as typed data writes it.
type member struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// structs reads the types of typed data. A struct type is done once all of its
// fields are, so that none can contain itself.
type structs struct {
	given map[string][]member
	done  map[string]*valueType
	busy  map[string]bool
}

// readTypes reads the primary type and the domain's, and refuses types that
// neither needs: they would be signed by nobody and only be shown.
func readTypes(given map[string][]member, primary string) (*structs, error) {
	s := &structs{given: given, done: map[string]*valueType{}, busy: map[string]bool{}}
	members := 0
	for name, list := range given {
		members += len(list)
		if !typeName(name) || len(list) == 0 {
			return nil, fmt.Errorf("%w: a type is empty or has no proper name", ErrTypedData)
		}
	}
	if len(given) > maxStructs || members > maxMembers {
		return nil, fmt.Errorf("%w: more than %d types or %d members", ErrTypedData, maxStructs, maxMembers)
	}
	if primary == domainType || given[primary] == nil || given[domainType] == nil {
		return nil, fmt.Errorf("%w: the primary type or the domain's is missing", ErrTypedData)
	}
	if _, err := s.named(primary, 0); err != nil {
		return nil, err
	}
	if s.done[domainType] != nil {
		return nil, fmt.Errorf("%w: the message contains a domain", ErrTypedData)
	}
	if _, err := s.named(domainType, 0); err != nil {
		return nil, err
	}
	if len(s.done) != len(given) {
		return nil, fmt.Errorf("%w: a type is not used", ErrTypedData)
	}
	return s, checkDomainType(given[domainType])
}

// typeName accepts names of structs; one that could be taken for an elementary
// type by another program is refused.
func typeName(name string) bool {
	base := strings.TrimRight(name, "0123456789")
	reserved := []string{"address", "bool", "string", "bytes", "int", "uint", "fixed", "ufixed", "function", "tuple"}
	return identifier(name) && name[0] != '_' && !slices.Contains(reserved, base)
}

// checkDomainType holds the domain's type against EIP-712: the five members it
// knows, in its order.
func checkDomainType(members []member) error {
	known := []member{
		{"name", "string"}, {"version", "string"}, {"chainId", "uint256"}, {"verifyingContract", "address"}, {"salt", "bytes32"},
	}
	for _, m := range members {
		at := slices.Index(known, m)
		if at < 0 {
			return fmt.Errorf("%w: a member of the domain is unknown or out of order", ErrTypedData)
		}
		known = known[at+1:]
	}
	return nil
}

// typ reads the type of a field: a name, and brackets behind it for arrays.
func (s *structs) typ(text string, depth int) (*valueType, error) {
	name, brackets, _ := strings.Cut(text, "[")
	t, ok := elementary(name)
	if !ok {
		var err error
		if t, err = s.named(name, depth); err != nil {
			return nil, err
		}
	}
	if brackets == "" && name == text {
		return t, nil
	}
	lengths, ok := strings.CutSuffix(brackets, "]")
	dimensions := strings.Split(lengths, "][")
	if !ok || len(dimensions) > maxDimension {
		return nil, fmt.Errorf("%w: brackets of an array", ErrTypedData)
	}
	for _, length := range dimensions {
		var err error
		if t, err = arrayOf(t, length); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTypedData, err)
		}
	}
	return t, nil
}

// named reads a struct type with all that it contains.
func (s *structs) named(name string, depth int) (*valueType, error) {
	if t := s.done[name]; t != nil {
		return t, nil
	}
	members, ok := s.given[name]
	if !ok || s.busy[name] || depth > maxNesting {
		return nil, fmt.Errorf("%w: a type is unknown, too deep or contains itself", ErrTypedData)
	}
	s.busy[name] = true
	t := &valueType{kind: kindTuple, text: name}
	seen := map[string]bool{}
	for _, m := range members {
		typ, err := s.typ(m.Type, depth+1)
		if err != nil {
			return nil, err
		}
		if !identifier(m.Name) || seen[m.Name] {
			return nil, fmt.Errorf("%w: a member has no proper name, or two have one", ErrTypedData)
		}
		seen[m.Name] = true
		t.fields = append(t.fields, field{m.Name, typ})
	}
	text := t.encodeType()
	t.hash, t.hashed = crypto.Keccak256([]byte(text)), len(text)
	s.done[name] = t
	return t, nil
}

// encodeType is EIP-712's: the struct, then all that it contains by name, each
// as Name(type name,type name).
func (t *valueType) encodeType() string {
	contained := map[string]*valueType{}
	t.contains(contained)
	delete(contained, t.text)
	var out strings.Builder
	t.writeType(&out)
	for _, name := range slices.Sorted(maps.Keys(contained)) {
		contained[name].writeType(&out)
	}
	return out.String()
}

func (t *valueType) contains(found map[string]*valueType) {
	for t.kind == kindArray {
		t = t.elem
	}
	if t.kind != kindTuple || found[t.text] != nil {
		return
	}
	found[t.text] = t
	for _, f := range t.fields {
		f.typ.contains(found)
	}
}

func (t *valueType) writeType(out *strings.Builder) {
	out.WriteString(t.text + "(")
	for i, f := range t.fields {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString(f.typ.text + " " + f.name)
	}
	out.WriteString(")")
}
