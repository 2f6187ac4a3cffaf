package rules

import (
	"errors"
	"fmt"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Field is a field of an element of a list such as tx.moves.
type Field struct {
	Name string
	Type *types.Type
	Doc  string
}

// Struct is a type that elements of lists have.
type Struct struct {
	Name   string
	Fields []Field

	object *types.Type
}

func newStruct(name string, fields ...Field) *Struct {
	return &Struct{name, fields, types.NewObjectType(name, traits.IndexerType)}
}

func (s *Struct) index(field string) int {
	for i, f := range s.Fields {
		if f.Name == field {
			return i
		}
	}
	return -1
}

// The types of elements.
var (
	moveStruct = newStruct("Move",
		Field{"asset", types.StringType, "CAIP-19"},
		Field{"from", types.StringType, "account (CAIP-10) that pays"},
		Field{"to", types.StringType, "account that receives; empty where it cannot be told"},
		Field{"amount", amountType, "base units"})
	allowanceStruct = newStruct("Allowance",
		Field{"asset", types.StringType, "CAIP-19"},
		Field{"owner", types.StringType, "account whose asset it is"},
		Field{"spender", types.StringType, "account that may take; empty where it cannot be told"},
		Field{"amount", amountType, "base units"},
		Field{"unlimited", types.BoolType, "as good as without end: 2^127 or more, or 2^n-1 of 96 bits or more"})
	callStruct = newStruct("Call",
		Field{"to", types.StringType, "account that is called; empty for a contract creation, a message, and typed data without a contract"},
		Field{"selector", types.StringType, "0x and the first 4 bytes of the data, or fewer"},
		Field{"function", types.StringType, "name(types) where it is known; else empty"},
		Field{"value", amountType, "of the native asset"},
		Field{"depth", types.IntType, "how many calls it is inside of; 0 for the outermost"},
		Field{"delegate", types.BoolType, "carried out with the caller's own assets"},
		Field{"understood", types.BoolType, "its effects are known"},
		Field{"args", types.NewMapType(types.StringType, types.DynType),
			"the arguments by name, of a function that the document lists under `calls`; else empty"})
	amountStruct = newStruct("Amount",
		Field{"asset", types.StringType, "CAIP-19"},
		Field{"amount", amountType, "base units"})
)

// Structs returns the types of elements, for documentation.
func Structs() []*Struct {
	return []*Struct{moveStruct, allowanceStruct, callStruct, amountStruct}
}

// record is a value of a Struct. A field may hold an error, which whoever
// reads it gets.
type record struct {
	of     *Struct
	values []ref.Val
}

func (s *Struct) record(values ...ref.Val) *record { return &record{s, values} }

// Get implements traits.Indexer, for values whose type is not known.
func (r *record) Get(field ref.Val) ref.Val {
	name, ok := field.(types.String)
	i := r.of.index(string(name))
	if !ok || i < 0 {
		return types.NewErr("a %s has no field %v", r.of.Name, field)
	}
	return r.values[i]
}

// Equal implements ref.Val.
func (r *record) Equal(other ref.Val) ref.Val {
	o, ok := other.(*record)
	if !ok || o.of != r.of {
		return types.False
	}
	for i := range r.values {
		if types.Equal(r.values[i], o.values[i]) != types.True {
			return types.False
		}
	}
	return types.True
}

// ConvertToNative implements ref.Val: there is no other form.
func (r *record) ConvertToNative(desc reflect.Type) (any, error) {
	return nil, fmt.Errorf("a %s is no %v", r.of.Name, desc)
}

// ConvertToType implements ref.Val.
func (r *record) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return r.of.object
	}
	return types.NewErr("a %s cannot become a value of type %s", r.of.Name, t.TypeName())
}

// Type implements ref.Val.
func (r *record) Type() ref.Type { return r.of.object }

// Value implements ref.Val.
func (r *record) Value() any { return r }

// provider tells CEL's checker and planner the fields of the structs. It reads
// them without reflection, which would take most of an evaluation's time.
type provider struct {
	*types.Registry
	structs map[string]*Struct
}

func newProvider() (*provider, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	p := &provider{registry, map[string]*Struct{}}
	for _, s := range Structs() {
		p.structs[s.Name] = s
	}
	return p, nil
}

// FindIdent implements types.Provider.
func (p *provider) FindIdent(name string) (ref.Val, bool) {
	if s, ok := p.structs[name]; ok {
		return s.object, true
	}
	return p.Registry.FindIdent(name)
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if s, ok := p.structs[name]; ok {
		return types.NewTypeTypeWithParam(s.object), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	s, ok := p.structs[name]
	if !ok {
		return p.Registry.FindStructFieldNames(name)
	}
	var names []string
	for _, f := range s.Fields {
		names = append(names, f.Name)
	}
	return names, true
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s, ok := p.structs[name]
	if !ok {
		return p.Registry.FindStructFieldType(name, field)
	}
	i := s.index(field)
	if i < 0 {
		return nil, false
	}
	return &types.FieldType{
		Type:  s.Fields[i].Type,
		IsSet: func(any) bool { return true },
		GetFrom: func(of any) (any, error) {
			r, ok := of.(*record)
			if !ok || r.of != s {
				return nil, errors.New("no such field: " + field)
			}
			if err, failed := r.values[i].(*types.Err); failed {
				return nil, err
			}
			return r.values[i], nil
		},
	}, true
}

// NewValue implements types.Provider: rules read, they make nothing.
func (p *provider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("a rule cannot make a %s", name)
}
