package rules

import (
	"bytes"
	"encoding/json"
	"math/big"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// native turns decoded arguments into values of rules. Integers become amounts;
// below zero, ints where they fit.
func native(v any) ref.Val {
	switch v := v.(type) {
	case string:
		return types.String(v)
	case bool:
		return types.Bool(v)
	case *big.Int:
		return integer(v)
	case json.Number:
		return number(v)
	case nil:
		return types.NullValue
	case []any:
		values := make([]ref.Val, len(v))
		for i, element := range v {
			values[i] = native(element)
		}
		return list(values)
	case map[string]any:
		values := make(map[string]any, len(v))
		for name, element := range v {
			values[name] = native(element)
		}
		return types.NewStringInterfaceMap(types.DefaultTypeAdapter, values)
	}
	return types.NewErr("a value of Go type %T cannot be read", v)
}

func integer(n *big.Int) ref.Val {
	if n.Sign() >= 0 {
		return newAmount(n)
	}
	if n.IsInt64() {
		return types.Int(n.Int64())
	}
	return types.NewErr("an integer is below what rules can count with")
}

func number(n json.Number) ref.Val {
	if whole, ok := new(big.Int).SetString(n.String(), 10); ok {
		return integer(whole)
	}
	return types.NewErr("%q is no whole number", bounded(n.String()))
}

// jsonObject reads an object in JSON that was decoded strictly before.
func jsonObject(text []byte) ref.Val {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || object == nil {
		return types.NewErr("the message of the typed data cannot be read")
	}
	return native(object)
}
