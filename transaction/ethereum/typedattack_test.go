package ethereum_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// types writes types beside a domain that has a chain id.
func typesOf(rest string) map[string]string {
	return map[string]string{"types": `{"EIP712Domain":[{"name":"chainId","type":"uint256"}],` + rest + `}`}
}

// withMessage is typesOf with a message that fits the types, so that nothing but
// the types is at fault.
func withMessage(content, rest string) map[string]string {
	m := typesOf(rest)
	m["message"] = content
	return m
}

func domainOf(members, values string) map[string]string {
	return map[string]string{
		"types": `{"EIP712Domain":[` + members + `],"A":[{"name":"a","type":"uint8"}]}`, "domain": values,
	}
}

// TestAttackTypedDataChain: a signature for one chain cannot be had for
// another, and one that is good on every chain is never understood.
func TestAttackTypedDataChain(t *testing.T) {
	for name, id := range map[string]string{
		"fail/another": "5", "fail/zero": "0", "fail/plus 2^64": `"18446744073709551617"`, "fail/as text": `"5"`,
	} {
		_, err := decodeTyped(typedPayload(members(map[string]string{"domain": `{"chainId":` + id + `}`})), mainnet(t))
		if !errors.Is(err, ethereum.ErrChainID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const noChain = `{"types":{"EIP712Domain":[{"name":"verifyingContract","type":"address"}],` + permitType + `},` +
		`"primaryType":"Permit","domain":{"verifyingContract":"` + token + `"},"message":` + permitMessage + `}`
	e := mustType(t, noChain, mainnet(t)).Effects()
	if len(e.Unknown) != 1 || len(e.Allowances) != 1 || e.Details.Typed.ChainID != nil || e.Details.Typed.Contract != token {
		t.Fatalf("without a chain id: %+v, %+v", e, e.Details.Typed)
	}
}

// TestAttackTypedDataTwoReadings: what two programs could read differently is
// refused, and so is all that the types do not say.
func TestAttackTypedDataTwoReadings(t *testing.T) {
	good := members(nil)
	edit := func(old, replacement string) string {
		if strings.Count(good, old) == 0 {
			t.Fatalf("%s is not there to be edited", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	const domain = `{"name":"chainId","type":"uint256"}`
	for name, data := range map[string]string{
		"fail/member twice":            edit(`{"a":7}`, `{"a":7,"a":8}`),
		"fail/types twice":             edit(`"A":[`, `"A":[{"name":"b","type":"uint8"}],"A":[`),
		"fail/primary type twice":      edit(`"primaryType":"A"`, `"primaryType":"A","primaryType":"A"`),
		"fail/unknown member":          edit(`"primaryType"`, `"version":"V4","primaryType"`),
		"fail/member in other case":    edit(`"primaryType"`, `"PrimaryType"`),
		"fail/unknown in type":         edit(`"type":"uint8"`, `"type":"uint8","indexed":true`),
		"fail/null type":               members(map[string]string{"types": `{"EIP712Domain":[` + domain + `],"A":null}`}),
		"fail/null member":             edit(`{"name":"a","type":"uint8"}`, `{"name":"a","type":null}`),
		"fail/null value":              edit(`{"a":7}`, `{"a":null}`),
		"fail/null domain":             members(map[string]string{"domain": `null`}),
		"fail/member missing":          edit(`{"a":7}`, `{}`),
		"fail/member too many":         edit(`{"a":7}`, `{"a":7,"b":8}`),
		"fail/message an array":        edit(`{"a":7}`, `[7]`),
		"fail/message a string":        edit(`{"a":7}`, `"{\"a\":7}"`),
		"fail/no message":              `{"types":{},"primaryType":"A","domain":{}}`,
		"fail/unknown primary type":    edit(`"primaryType":"A"`, `"primaryType":"B"`),
		"fail/primary type an array":   members(map[string]string{"primaryType": `"A[]"`}),
		"fail/primary type a domain":   members(map[string]string{"primaryType": `"EIP712Domain"`, "message": `{"chainId":1}`}),
		"fail/primary type uint8":      members(map[string]string{"primaryType": `"uint8"`, "message": `7`}),
		"fail/unused type":             members(typesOf(`"A":[{"name":"a","type":"uint8"}],"B":[{"name":"b","type":"uint8"}]`)),
		"fail/empty type":              members(withMessage(`{}`, `"A":[]`)),
		"fail/type contains itself":    members(typesOf(`"A":[{"name":"a","type":"A"}]`)),
		"fail/array of itself":         members(typesOf(`"A":[{"name":"a","type":"A[]"}]`)),
		"fail/types in a circle":       members(typesOf(`"A":[{"name":"a","type":"B"}],"B":[{"name":"b","type":"A"}]`)),
		"fail/contains the domain":     members(withMessage(`{"a":{"chainId":1}}`, `"A":[{"name":"a","type":"EIP712Domain"}]`)),
		"fail/two fields of a name":    members(typesOf(`"A":[{"name":"a","type":"uint8"},{"name":"a","type":"uint16"}]`)),
		"fail/type named uint8":        members(withMessage(`{"a":{"b":true}}`, `"A":[{"name":"a","type":"uint8"}],"uint8":[{"name":"b","type":"bool"}]`)),
		"fail/type named uint7":        members(withMessage(`{"a":{"b":true}}`, `"A":[{"name":"a","type":"uint7"}],"uint7":[{"name":"b","type":"bool"}]`)),
		"fail/type named function":     members(withMessage(`{"a":{"b":true}}`, `"A":[{"name":"a","type":"function"}],"function":[{"name":"b","type":"bool"}]`)),
		"fail/type with brackets":      members(withMessage(`{"a":{"b":true}}`, `"A":[{"name":"a","type":"B(bool b)C"}],"B(bool b)C":[{"name":"b","type":"bool"}]`)),
		"fail/name with a comma":       members(withMessage(`{"a,uint8 b":7}`, `"A":[{"name":"a,uint8 b","type":"uint8"}]`)),
		"fail/type with an underscore": members(withMessage(`{"a":{"b":true}}`, `"A":[{"name":"a","type":"_B"}],"_B":[{"name":"b","type":"bool"}]`)),
		"fail/name empty":              members(withMessage(`{"":7}`, `"A":[{"name":"","type":"uint8"}]`)),
		"fail/no domain's type":        members(map[string]string{"types": `{"A":[{"name":"a","type":"uint8"}]}`}),
		"fail/domain without a field":  members(domainOf(``, `{}`)),
		"fail/domain lacks a field":    members(domainOf(domain+`,{"name":"salt","type":"bytes32"}`, `{"chainId":1}`)),
		"fail/domain has one more":     members(domainOf(domain, `{"chainId":1,"name":"x"}`)),
		"fail/domain out of order":     members(domainOf(domain+`,{"name":"name","type":"string"}`, `{"chainId":1,"name":"x"}`)),
		"fail/domain of other type":    members(domainOf(`{"name":"chainId","type":"uint64"}`, `{"chainId":1}`)),
		"fail/domain field unknown":    members(domainOf(domain+`,{"name":"owner","type":"address"}`, `{"chainId":1,"owner":"`+token+`"}`)),
		"fail/nothing":                 `{}`,
		"fail/a string":                `"` + strings.ReplaceAll(good, `"`, `\"`) + `"`,
	} {
		if _, err := decodeTyped(typedPayload(data), mainnet(t)); !errors.Is(err, ethereum.ErrTypedData) && !errors.Is(err, ethereum.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, payload := range map[string]string{
		"fail/no typed data": `{}`, "fail/null": `{"typed_data":null}`, "fail/other member": `{"typed_data":` + good + `,"digest":"0x00"}`,
		"fail/bare": good, "fail/transaction": string(dynamic(t, nil)), "fail/message": `{"text":"a"}`,
	} {
		if _, err := decodeTyped([]byte(payload), mainnet(t)); !errors.Is(err, ethereum.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTypedDataValues: each type has its range and its form.
func TestTypedDataValues(t *testing.T) {
	two255 := "57896044618658097711785492504343953926634992332820282019728792003956564819968"
	good := map[string][]string{
		"uint8":      {`0`, `255`, `"255"`},
		"uint256":    {`"` + maxUint + `"`, `9007199254740991`},
		"int8":       {`-128`, `127`, `"-128"`},
		"int256":     {`"-` + two255 + `"`},
		"bool":       {`true`, `false`},
		"address":    {`"` + token + `"`, `"0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"`},
		"bytes4":     {`"0x01020304"`},
		"bytes":      {`"0x"`, `"0x01"`},
		"string":     {`""`, `"null"`, `"\u00e9"`},
		"uint8[2]":   {`[1,2]`},
		"uint8[][2]": {`[[],[1]]`},
		"string[]":   {`[]`, `["a"]`},
		"bytes[][]":  {`[["0x01"],[]]`},
	}
	bad := map[string][]string{
		"uint8":     {`256`, `-1`, `"256"`, `1.0`, `1e2`, `"0x10"`, `"01"`, `""`, `"+1"`, `" 1"`, `-0`, `"-0"`, `true`, `[1]`, `{}`},
		"uint256":   {`9007199254740992`, `"` + maxUint + `0"`, `"115792089237316195423570985008687907853269984665640564039457584007913129639936"`, `1e30`},
		"int8":      {`128`, `-129`},
		"int256":    {`"` + two255 + `"`},
		"bool":      {`1`, `"true"`, `0`, `""`},
		"address":   {`"0x9d8a62f656a8d1615c1294fd71e9cfb3e4855A4F"`, `"0x9d8a"`, `"9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"`, `1`},
		"bytes4":    {`"0x010203"`, `"0x0102030405"`, `"01020304"`, `1`},
		"bytes":     {`"0x0"`, `"zz"`, `[1,2]`, `""`},
		"string":    {`1`, `true`, `"\ud800"`},
		"uint8[2]":  {`[1]`, `[1,2,3]`, `{"0":1,"1":2}`, `"12"`},
		"uint8[-1]": {`[]`}, "uint8[0]": {`[]`}, "uint8[02]": {`[1,2]`}, "uint8[": {`[]`}, "uint8]": {`1`}, "uint8[]]": {`[]`},
		"uint8[9999999999]": {`[]`}, "uint8[+1]": {`[1]`}, "uint8[ ]": {`[]`}, "uint8 ": {`1`}, "uint8[][][][][][][][][]": {`[]`},
		"uint": {`1`}, "int": {`1`}, "uint7": {`1`}, "uint264": {`1`}, "uint08": {`1`}, "bytes0": {`"0x"`}, "bytes33": {`"0x"`},
		"byte": {`"0x01"`}, "fixed": {`1`}, "": {`1`}, "a": {`1`}, "(uint8)": {`1`},
	}
	for typ, values := range good {
		for _, v := range values {
			mustType(t, oneField(typ, v), mainnet(t))
		}
	}
	for typ, values := range bad {
		for _, v := range values {
			if d, err := decodeTyped(typedPayload(oneField(typ, v)), mainnet(t)); err == nil || d != nil {
				t.Errorf("fail/%s %s accepted", typ, v)
			}
		}
	}
}

// TestTypedDataSpelling: two spellings of one value have one digest and are
// shown to rules alike.
func TestTypedDataSpelling(t *testing.T) {
	for typ, pair := range map[string][2]string{
		"uint8": {`7`, `"7"`}, "address": {`"0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"`, `"0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"`},
		"bytes": {`"0xAB"`, `"0xab"`}, "string": {`"a"`, `"\u0061"`},
	} {
		a, b := mustType(t, oneField(typ, pair[0]), mainnet(t)), mustType(t, oneField(typ, pair[1]), mainnet(t))
		if string(a.Digests()[0].Value) != string(b.Digests()[0].Value) {
			t.Errorf("%s: two digests", typ)
		}
		if x, y := a.Effects().Details.Typed.Message, b.Effects().Details.Typed.Message; string(x) != string(y) {
			t.Errorf("%s: shown as %s and %s", typ, x, y)
		}
	}
}

// TestAttackTypedDataSize: work stays small whatever is sent.
func TestAttackTypedDataSize(t *testing.T) {
	many, uses, used, xs := &strings.Builder{}, &strings.Builder{}, &strings.Builder{}, &strings.Builder{}
	for i := range 33 {
		fmt.Fprintf(many, `,"T%d":[{"name":"a","type":"bool"}]`, i)
		fmt.Fprintf(uses, `{"name":"t%d","type":"T%d"},`, i, i)
		fmt.Fprintf(used, `"t%d":{"a":true},`, i)
	}
	wide := &strings.Builder{}
	for i := range 128 {
		fmt.Fprintf(wide, `{"name":"x%d","type":"bool"},`, i)
		fmt.Fprintf(xs, `"x%d":true,`, i)
	}
	chain := &strings.Builder{}
	content := `true`
	for i := range 25 {
		fmt.Fprintf(chain, `"%s":[{"name":"a","type":"%s"}],`, strings.Repeat("A", i+1), strings.Repeat("A", i+2))
		content = `{"a":` + content + `}`
	}
	deep := typesOf(chain.String() + `"` + strings.Repeat("A", 26) + `":[{"name":"a","type":"bool"}]`)
	deep["message"] = `{"a":` + content + `}`
	manyTypes := typesOf(`"A":[` + uses.String() + `{"name":"a","type":"uint8"}]` + many.String())
	manyTypes["message"] = `{` + used.String() + `"a":7}`
	wideType := typesOf(`"A":[` + wide.String() + `{"name":"a","type":"uint8"}]`)
	wideType["message"] = `{` + xs.String() + `"a":7}`
	start := time.Now()
	for name, data := range map[string]string{
		"fail/types":   members(manyTypes),
		"fail/members": members(wideType),
		"fail/depth":   members(deep),
		"fail/values":  oneField("uint8[]", "["+strings.Repeat("1,", 4200)+"1]"),
		"fail/nesting": oneField("uint8", strings.Repeat("[", 60000)+strings.Repeat("]", 60000)),
	} {
		if _, err := decodeTyped(typedPayload(data), mainnet(t)); !errors.Is(err, ethereum.ErrTypedData) && !errors.Is(err, ethereum.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The most structs that fit, of a type with many members beside.
	mustType(t, members(map[string]string{
		"types":   `{"EIP712Domain":[{"name":"chainId","type":"uint256"}],"A":[{"name":"a","type":"B[]"}],"B":[{"name":"b","type":"bool"}]}`,
		"message": `{"a":[` + strings.Repeat(`{"b":true},`, 2000) + `{"b":true}]}`,
	}), mainnet(t))
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestAttackTypedDataIsAMessage: no digest of one kind is one of another, also
// where a message is the digest or the preimage of typed data.
func TestAttackTypedDataIsAMessage(t *testing.T) {
	d := mustType(t, mail, mainnet(t))
	digest := d.Digests()[0].Value
	m := decodeMessage(t, object(t, map[string]any{"hex": toHex(digest)}), mainnet(t))
	if string(m.Digests()[0].Value) == string(digest) {
		t.Fatal("a message signs typed data")
	}
	signature := sign(t, m, privateKey(t, testKey))
	if _, err := ethereum.New().Assemble(d, mainnet(t), [][]byte{signature}); !errors.Is(err, ethereum.ErrSignature) {
		t.Fatalf("a message's signature as typed data's: %v", err)
	}
	signature = sign(t, d, privateKey(t, testKey))
	for _, other := range []transaction.Transaction{m, mustDecode(t, dynamic(t, nil))} {
		if _, err := ethereum.New().Assemble(other, mainnet(t), [][]byte{signature}); !errors.Is(err, ethereum.ErrSignature) {
			t.Errorf("typed data's signature in %T: %v", other, err)
		}
	}
	for name, account := range map[string]message.AccountDescriptor{
		"fail/another chain": onChain(t, 5),
		"fail/another key":   accountOf(t, &privateKey(t, strings.Repeat("01", 32)).PublicKey, 1),
	} {
		if _, err := ethereum.New().Assemble(d, account, [][]byte{signature}); !errors.Is(err, ethereum.ErrAccount) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if string(crypto.Keccak256(digest)) == string(m.Digests()[0].Value) {
		t.Error("a message without its prefix")
	}
}

// TestTypedDataErrorsCarryNoPayload: see TestErrorsCarryNoPayload.
func TestTypedDataErrorsCarryNoPayload(t *testing.T) {
	const secret = "5ec4e75ec4e75ec4e75ec4e7"
	for name, data := range map[string]string{
		"value":  oneField("uint8", `"`+secret+`"`),
		"type":   oneField(secret, `1`),
		"bytes":  oneField("bytes4", `"0x`+secret+`"`),
		"member": members(map[string]string{"message": `{"` + secret + `":1}`}),
	} {
		if _, err := decodeTyped(typedPayload(data), mainnet(t)); err == nil || strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
