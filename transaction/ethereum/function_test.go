package ethereum_test

import (
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"github.com/countersign/countersign/transaction/ethereum"
)

func mustFunction(t testing.TB, text string) ethereum.Function {
	t.Helper()
	f, err := ethereum.ParseFunction(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// TestParseFunction: the canonical signature and its selector.
func TestParseFunction(t *testing.T) {
	for text, want := range map[string][2]string{
		"transfer(address to, uint256 amount)": {"transfer(address,uint256)", "0xa9059cbb"},
		"transfer(address,uint256)":            {"transfer(address,uint256)", "0xa9059cbb"},
		"deposit()":                            {"deposit()", "0xd0e30db0"},
		"aggregate3((address target, bool mayFail, bytes data)[] calls)": {"aggregate3((address,bool,bytes)[])", "0x82ad56cb"},
		"f(uint8[3][] a,(int8,(bytes32,string)[2])  b )":                 {"f(uint8[3][],(int8,(bytes32,string)[2]))", ""},
		"execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)": {
			"execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)", "0x6a761202"},
	} {
		f := mustFunction(t, text)
		selector := f.Selector()
		if f.Signature() != want[0] || (want[1] != "" && toHex(selector[:]) != want[1]) {
			t.Errorf("%s: %s %x", text, f.Signature(), selector)
		}
	}
	for _, text := range []string{
		"", "transfer", "(address)", "transfer(address", "transfer(address))", "transfer(address) ", "transfer(address,)", "transfer(,address)",
		"transfer(uint)", "transfer(int)", "transfer(uint7)", "transfer(uint08)", "transfer(bytes33)", "transfer(bytes0)", "transfer(function)", "transfer(fixed)",
		"transfer(addresss a)", "transfer(address a b)", "transfer(address a, uint256 a)", "transfer(address 1a)", "1transfer()", "trans fer()", "transfer(())",
		"transfer(uint8[)", "transfer(uint8])", "transfer(uint8[-1])", "transfer(uint8[0])", "transfer(uint8[01])", "transfer(uint8[1025])",
		"transfer(uint8[99999999999999999999])", "transfer(uint8[1024][1024])", "transfer(uint8[ ])", "transfer(uint8 [])", "function f()", "f(address indexed)x",
		"f(bytes memory data)", "f(tuple a)", "f(A a)", "f(address a;uint8 b)", "f\x00()", "é()",
		"f(" + strings.Repeat("uint8,", 70) + "uint8)", "f(" + strings.Repeat("(", 20) + "bool" + strings.Repeat(")", 20) + ")",
		"f(bool" + strings.Repeat("[]", 20) + ")", "f(" + strings.Repeat("a", 2000) + ")", strings.Repeat("(", 100000),
	} {
		if _, err := ethereum.ParseFunction(text); !errors.Is(err, ethereum.ErrFunction) {
			t.Errorf("fail/%.40q: %v", text, err)
		}
	}
}

// packed is a call encoded by go-ethereum.
func packed(t testing.TB, definition string, args ...any) []byte {
	t.Helper()
	parsed, err := abi.JSON(strings.NewReader(`[` + definition + `]`))
	if err != nil {
		t.Fatal(err)
	}
	for name := range parsed.Methods {
		b, err := parsed.Pack(name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return nil
}

// TestFunctionDecode reads what go-ethereum has written.
func TestFunctionDecode(t *testing.T) {
	type pair struct {
		A common.Address
		B []byte
	}
	data := packed(t, `{"type":"function","name":"f","inputs":[{"name":"to","type":"address"},{"name":"","type":"int16"},
		{"name":"list","type":"uint256[]"},{"name":"pairs","type":"tuple[]","components":[{"name":"a","type":"address"},{"name":"b","type":"bytes"}]},
		{"name":"text","type":"string"},{"name":"fixed","type":"bytes3[2]"},{"name":"yes","type":"bool"},{"name":"nested","type":"string[2][]"}]}`,
		common.HexToAddress(spender), int16(-5), []*big.Int{big.NewInt(1), big.NewInt(2)}, []pair{{common.HexToAddress(token), []byte{1, 2}}, {}},
		"héllo", [2][3]byte{{1}, {2}}, true, [][2]string{{"a", "b"}, {"", strings.Repeat("c", 40)}})
	f := mustFunction(t, "f(address to,int16,uint256[] list,(address a,bytes b)[] pairs,string text,bytes3[2] fixed,bool yes,string[2][] nested)")
	got, err := f.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"to": spender, "1": big.NewInt(-5), "list": []any{big.NewInt(1), big.NewInt(2)},
		"pairs": []any{map[string]any{"a": token, "b": "0x0102"}, map[string]any{"a": "0x0000000000000000000000000000000000000000", "b": "0x"}},
		"text":  "héllo", "fixed": []any{"0x010000", "0x020000"}, "yes": true,
		"nested": []any{[]any{"a", "b"}, []any{"", strings.Repeat("c", 40)}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v", got)
	}
	if _, err := mustFunction(t, "deposit()").Decode(unhex(t, "0xd0e30db0")); err != nil {
		t.Error(err)
	}
	if _, err := (ethereum.Function{}).Decode(make([]byte, 4)); !errors.Is(err, ethereum.ErrCall) {
		t.Errorf("no function: %v", err)
	}
}

// TestAttackCalldata: only the one encoding of a call is read, and no length
// or offset makes us set memory aside.
func TestAttackCalldata(t *testing.T) {
	const big31 = "7fffffff"
	all := strings.Repeat("f", 64)
	for name, c := range map[string]struct{ function, data string }{
		"fail/other selector":            {"f(bool a)", call("g(bool)", "01")},
		"fail/no selector":               {"f(bool a)", "0x"},
		"fail/selector alone":            {"f(bool a)", call("f(bool)")},
		"fail/bool 2":                    {"f(bool a)", call("f(bool)", "02")},
		"fail/dirty bool":                {"f(bool a)", call("f(bool)", "0100000000000001")},
		"fail/dirty address":             {"f(address a)", call("f(address)", "01"+word(spender))},
		"fail/uint8 256":                 {"f(uint8 a)", call("f(uint8)", "0100")},
		"fail/int8 128":                  {"f(int8 a)", call("f(int8)", "80")},
		"fail/int8 without sign":         {"f(int8 a)", call("f(int8)", "ff")},
		"fail/bytes4 dirty":              {"f(bytes4 a)", call("f(bytes4)", "01")},
		"fail/trailing byte":             {"f(bool a)", call("f(bool)", "01") + "00"},
		"fail/trailing word":             {"f(bool a)", call("f(bool)", "01", "00")},
		"fail/cut":                       {"f(bool a)", call("f(bool)", "01")[:72]},
		"fail/bytes: offset backwards":   {"f(bytes a)", call("f(bytes)", "00", "00")},
		"fail/bytes: offset beyond":      {"f(bytes a)", call("f(bytes)", "40", "00")},
		"fail/bytes: offset huge":        {"f(bytes a)", call("f(bytes)", all, "00")},
		"fail/bytes: a gap":              {"f(bytes a)", call("f(bytes)", "40", "00", "00")},
		"fail/bytes: length beyond":      {"f(bytes a)", call("f(bytes)", "20", "21", "00")},
		"fail/bytes: length huge":        {"f(bytes a)", call("f(bytes)", "20", all, "00")},
		"fail/bytes: length 2^31":        {"f(bytes a)", call("f(bytes)", "20", big31, "00")},
		"fail/bytes: padding":            {"f(bytes a)", call("f(bytes)", "20", "01", strings.Repeat("01", 32))},
		"fail/bytes: padding missing":    {"f(bytes a)", call("f(bytes)", "20", "01") + "01"},
		"fail/bytes: word too many":      {"f(bytes a)", call("f(bytes)", "20", "00", "00")},
		"fail/string not UTF-8":          {"f(string a)", call("f(string)", "20", "01", "ff"+strings.Repeat("0", 62))},
		"fail/two share one tail":        {"f(bytes a,bytes b)", call("f(bytes,bytes)", "40", "40", "00")},
		"fail/tails in other order":      {"f(bytes a,bytes b)", call("f(bytes,bytes)", "60", "40", "00", "00")},
		"fail/tails overlap":             {"f(bytes a,bytes b)", call("f(bytes,bytes)", "40", "60", "20", "20", "00")},
		"fail/array: length huge":        {"f(uint256[] a)", call("f(uint256[])", "20", all)},
		"fail/array: length 2^31":        {"f(uint256[] a)", call("f(uint256[])", "20", big31, "00")},
		"fail/array: length too small":   {"f(uint256[] a)", call("f(uint256[])", "20", "00", "01")},
		"fail/array: length too great":   {"f(uint256[] a)", call("f(uint256[])", "20", "02", "01")},
		"fail/bytes[]: elements share":   {"f(bytes[] a)", call("f(bytes[])", "20", "02", "40", "40", "00")},
		"fail/bytes[]: offset backwards": {"f(bytes[] a)", call("f(bytes[])", "20", "01", "00", "00")},
		"fail/nested arrays share":       {"f(uint256[][] a)", call("f(uint256[][])", "20", "03", "60", "60", "60", "01", "00")},
	} {
		if v, err := mustFunction(t, c.function).Decode(unhex(t, c.data)); !errors.Is(err, ethereum.ErrCall) || v != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	// An honest length of the same data is read.
	if _, err := mustFunction(t, "f(bytes a,bytes b)").Decode(unhex(t, call("f(bytes,bytes)", "40", "60", "00", "00"))); err != nil {
		t.Error(err)
	}
	f := mustFunction(t, "f(uint256[][][] a)")
	bomb := unhex(t, call("f(uint256[][][])", "20", big31)+strings.Repeat("0", 64*1000))
	if allocated := testing.AllocsPerRun(1, func() { _, _ = f.Decode(bomb) }); allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
}
