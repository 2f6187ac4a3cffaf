package ethereum_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction/ethereum"
)

// attack is a payload that must be refused for its reason.
type attack struct {
	payload []byte
	want    error
}

func refuseAll(t *testing.T, attacks map[string]attack) {
	t.Helper()
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			tx, err := decodeTransaction(a.payload, mainnet(t))
			if !errors.Is(err, a.want) {
				t.Fatalf("got %v, want %v", err, a.want)
			}
			if tx != nil {
				t.Fatal("a refused payload gave a transaction")
			}
		})
	}
}

// rawOf is the payload of the unsigned RLP of these items behind a type byte;
// type 0 is legacy.
func rawOf(t testing.TB, kind byte, items ...any) []byte {
	t.Helper()
	body, err := rlp.EncodeToBytes(items)
	if err != nil {
		t.Fatal(err)
	}
	if kind != 0 {
		body = append([]byte{kind}, body...)
	}
	return rawPayload(toHex(body))
}

func to() common.Address { return common.HexToAddress(recipient) }

// legacyItems are a sensible transfer's first six items.
func legacyItems(more ...any) []any {
	return append([]any{uint64(1), big.NewInt(1e9), uint64(21000), to(), big.NewInt(1), []byte{}}, more...)
}

// dynamicItems are a sensible EIP-1559 transfer on a chain.
func dynamicItems(chainID any) []any {
	return []any{chainID, uint64(1), big.NewInt(1e9), big.NewInt(2e9), uint64(21000), to(), big.NewInt(1), []byte{}, types.AccessList{}}
}

// TestAttackChainIDConfusion: a signature for one chain cannot be had for
// another, nor one that is good on every chain.
func TestAttackChainIDConfusion(t *testing.T) {
	accessList := append([]any{uint64(5)}, append(legacyItems(), types.AccessList{})...)
	huge := new(big.Int).Lsh(big.NewInt(1), 64)
	refuseAll(t, map[string]attack{
		"fail/fields name another chain":     {dynamic(t, map[string]any{"chain_id": "5"}), ethereum.ErrChainID},
		"fail/fields name chain zero":        {dynamic(t, map[string]any{"chain_id": "0"}), ethereum.ErrChainID},
		"fail/fields name chain 1 plus 2^64": {dynamic(t, map[string]any{"chain_id": "18446744073709551617"}), ethereum.ErrChainID},
		"fail/raw legacy of another chain":   {rawOf(t, 0, legacyItems(uint64(5), uint64(0), uint64(0))...), ethereum.ErrChainID},
		"fail/raw eip2930 of another chain":  {rawOf(t, 1, accessList...), ethereum.ErrChainID},
		"fail/raw eip1559 of another chain":  {rawOf(t, 2, dynamicItems(uint64(5))...), ethereum.ErrChainID},
		"fail/raw of chain 1 plus 2^64":      {rawOf(t, 2, dynamicItems(huge.Add(huge, big.NewInt(1)))...), ethereum.ErrChainID},
	})
	for _, chain := range []string{"", "eip155", "eip155:", "eip155:0", "eip155:01", "eip155:-1", "eip155:0x1", "eip155:1 ", "bip122:1", "eip155:9223372036854775807", "eip155:18446744073709551616"} {
		account := mainnet(t)
		account.Chain = chain
		if _, err := decodeTransaction(dynamic(t, map[string]any{"chain_id": nil}), account); !errors.Is(err, ethereum.ErrChainID) {
			t.Errorf("account on %q: %v", chain, err)
		}
	}
	one := mustDecode(t, dynamic(t, map[string]any{"chain_id": nil}))
	five := accountOf(t, &privateKey(t, testKey).PublicKey, 5)
	other, err := decodeTransaction(dynamic(t, map[string]any{"chain_id": nil}), five)
	if err != nil {
		t.Fatal(err)
	}
	if string(one.Digests()[0].Value) == string(other.Digests()[0].Value) {
		t.Error("two chains have one digest")
	}
	signature := sign(t, one, privateKey(t, testKey))
	if _, err := ethereum.New().Assemble(one, five, [][]byte{signature}); !errors.Is(err, ethereum.ErrAccount) {
		t.Errorf("assembled on another chain: %v", err)
	}
}

// TestAttackChainIDZero: pre-155 transactions and EIP-7702 authorisations are
// valid on every chain.
func TestAttackChainIDZero(t *testing.T) {
	authorisation, err := rlp.EncodeToBytes([]any{uint64(0), to(), uint64(1)})
	if err != nil {
		t.Fatal(err)
	}
	attacks := map[string]attack{
		"fail/pre-155":                {rawOf(t, 0, legacyItems()...), ethereum.ErrUnprotected},
		"fail/legacy with chain 0":    {rawOf(t, 0, legacyItems(uint64(0), uint64(0), uint64(0))...), ethereum.ErrChainID},
		"fail/eip1559 with chain 0":   {rawOf(t, 2, dynamicItems(uint64(0))...), ethereum.ErrChainID},
		"fail/eip7702 authorisation":  {rawPayload("0x05" + hex.EncodeToString(authorisation)), ethereum.ErrType},
		"fail/eip7702 transaction":    {rawOf(t, 4, dynamicItems(uint64(1))...), ethereum.ErrType},
		"fail/eip4844 transaction":    {rawOf(t, 3, dynamicItems(uint64(1))...), ethereum.ErrType},
		"fail/eip191 as transaction":  {rawPayload("0x19457468"), ethereum.ErrType},
		"fail/type zero":              {rawOf(t, 0x7f, dynamicItems(uint64(1))...), ethereum.ErrType},
		"fail/string, not a list":     {rawPayload("0x8401020304"), ethereum.ErrType},
		"fail/eip7702 fields":         {dynamic(t, map[string]any{"type": "eip7702"}), ethereum.ErrType},
		"fail/no type":                {dynamic(t, map[string]any{"type": nil}), ethereum.ErrPayload},
		"fail/authorization list":     {dynamic(t, map[string]any{"authorization_list": []any{}}), ethereum.ErrPayload},
		"fail/legacy with fee cap":    {dynamic(t, map[string]any{"type": "legacy", "gas_price": "1"}), ethereum.ErrPayload},
		"fail/eip1559 with gas price": {dynamic(t, map[string]any{"gas_price": "1"}), ethereum.ErrPayload},
	}
	refuseAll(t, attacks)
}

// TestAttackSetCodeVectors: real EIP-7702 transactions are not signed.
func TestAttackSetCodeVectors(t *testing.T) {
	var v struct {
		Cases []struct{ ID, Kind, Signed string }
	}
	vectors.Load(t, "2-ethereum/eip7702-misc.json", &v)
	for _, c := range v.Cases {
		if c.Kind != "sign-tx" {
			continue
		}
		stripped, err := strip(unhex(t, c.Signed), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeTransaction(rawPayload(toHex(stripped)), mainnet(t)); !errors.Is(err, ethereum.ErrType) {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
}

// TestAttackNonCanonicalRLP: one meaning, one encoding.
func TestAttackNonCanonicalRLP(t *testing.T) {
	good := legacyItems(uint64(1), uint64(0), uint64(0))
	with := func(at int, item any) []byte {
		items := append([]any{}, good...)
		items[at] = item
		return rawOf(t, 0, items...)
	}
	body, err := rlp.EncodeToBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	long := append([]byte{0xf8, body[0] - 0xc0}, body[1:]...)
	refuseAll(t, map[string]attack{
		"fail/leading zero in nonce":    {with(0, rlp.RawValue{0x82, 0x00, 0x01}), ethereum.ErrEncoding},
		"fail/zero as a byte":           {with(0, rlp.RawValue{0x00}), ethereum.ErrEncoding},
		"fail/byte as a string":         {with(0, rlp.RawValue{0x81, 0x01}), ethereum.ErrEncoding},
		"fail/leading zero in price":    {with(1, []byte{0, 1}), ethereum.ErrEncoding},
		"fail/leading zero in value":    {with(4, []byte{0, 1}), ethereum.ErrEncoding},
		"fail/leading zero in chain id": {with(6, []byte{0, 1}), ethereum.ErrEncoding},
		"fail/list as value":            {with(4, []any{}), ethereum.ErrEncoding},
		"fail/list as destination":      {with(3, []any{}), ethereum.ErrEncoding},
		"fail/destination of 19 bytes":  {with(3, make([]byte, 19)), ethereum.ErrEncoding},
		"fail/destination of 21 bytes":  {with(3, make([]byte, 21)), ethereum.ErrEncoding},
		"fail/nonce of nine bytes":      {with(0, new(big.Int).Lsh(big.NewInt(1), 64)), ethereum.ErrEncoding},
		"fail/long length of the list":  {rawPayload(toHex(long)), ethereum.ErrEncoding},
		"fail/signed already":           {with(7, uint64(1)), ethereum.ErrEncoding},
		"fail/too few items":            {rawOf(t, 0, good[:8]...), ethereum.ErrEncoding},
		"fail/too many items":           {rawOf(t, 0, append(good, uint64(0))...), ethereum.ErrEncoding},
		"fail/access list of bytes":     {rawOf(t, 2, append(dynamicItems(uint64(1))[:8], []byte{})...), ethereum.ErrEncoding},
		"fail/empty":                    {rawPayload("0x"), ethereum.ErrEncoding},
		"fail/type byte alone":          {rawPayload("0x02"), ethereum.ErrEncoding},
	})
}

// TestAttackTrailingBytes: what stands behind a transaction is not ignored.
func TestAttackTrailingBytes(t *testing.T) {
	legacy, err := rlp.EncodeToBytes(legacyItems(uint64(1), uint64(0), uint64(0)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := rlp.EncodeToBytes(dynamicItems(uint64(1)))
	if err != nil {
		t.Fatal(err)
	}
	typed := append([]byte{2}, body...)
	attacks := map[string]attack{"fail/two transactions": {rawPayload(toHex(append(legacy, legacy...))), ethereum.ErrEncoding}}
	for _, tail := range []string{"00", "80", "c0", "ff"} {
		attacks["fail/legacy and "+tail] = attack{rawPayload(toHex(legacy) + tail), ethereum.ErrEncoding}
		attacks["fail/eip1559 and "+tail] = attack{rawPayload(toHex(typed) + tail), ethereum.ErrEncoding}
	}
	refuseAll(t, attacks)
}

// TestAttackValueOverflow: numbers that wrap somewhere else.
func TestAttackValueOverflow(t *testing.T) {
	over := new(big.Int).Lsh(big.NewInt(1), 256)
	most := new(big.Int).Sub(over, big.NewInt(1)).String()
	items := dynamicItems(uint64(1))
	items[6] = over
	refuseAll(t, map[string]attack{
		"fail/value 2^256":              {dynamic(t, map[string]any{"value": over.String()}), ethereum.ErrRange},
		"fail/value 2^256 raw":          {rawOf(t, 2, items...), ethereum.ErrRange},
		"fail/value and fee over 2^256": {dynamic(t, map[string]any{"value": most}), ethereum.ErrRange},
		"fail/fee cap 2^256":            {dynamic(t, map[string]any{"max_fee_per_gas": over.String()}), ethereum.ErrRange},
		"fail/80 digits":                {dynamic(t, map[string]any{"value": strings.Repeat("9", 80)}), ethereum.ErrPayload},
		"fail/gas of 65 bits":           {dynamic(t, map[string]any{"gas_limit": "18446744073709551616"}), ethereum.ErrRange},
		"fail/nonce of 65 bits":         {dynamic(t, map[string]any{"nonce": "18446744073709551616"}), ethereum.ErrRange},
		"fail/last nonce":               {dynamic(t, map[string]any{"nonce": "18446744073709551615"}), ethereum.ErrRange},
	})
}

// TestAttackGasOverflow: the product of limit and price neither wraps to a
// small fee nor goes unnoticed.
func TestAttackGasOverflow(t *testing.T) {
	shift := new(big.Int).Lsh(big.NewInt(1), 193).String()
	refuseAll(t, map[string]attack{
		"fail/product wraps to zero": {dynamic(t, map[string]any{
			"gas_limit": "9223372036854775808", "max_fee_per_gas": shift, "max_priority_fee_per_gas": "0",
		}), ethereum.ErrFee},
		"fail/greatest gas limit":    {dynamic(t, map[string]any{"gas_limit": "18446744073709551615"}), ethereum.ErrFee},
		"fail/no gas":                {dynamic(t, map[string]any{"gas_limit": "0"}), ethereum.ErrGas},
		"fail/one below intrinsic":   {dynamic(t, map[string]any{"gas_limit": "20999"}), ethereum.ErrGas},
		"fail/below that of data":    {dynamic(t, map[string]any{"gas_limit": "21019", "data": "0x0001"}), ethereum.ErrGas},
		"fail/below that of a list":  {dynamic(t, map[string]any{"gas_limit": "25299", "access_list": accessList()}), ethereum.ErrGas},
		"fail/below that of a birth": {dynamic(t, map[string]any{"gas_limit": "53017", "data": "0x60", "to": nil}), ethereum.ErrGas},
	})
	for name, changes := range map[string]map[string]any{
		"transfer":    {"gas_limit": "21000"},
		"data":        {"gas_limit": "21020", "data": "0x0001"},
		"access list": {"gas_limit": "25300", "access_list": accessList()},
		"creation":    {"gas_limit": "53018", "data": "0x60", "to": nil},
	} {
		if _, err := decodeTransaction(dynamic(t, changes), mainnet(t)); err != nil {
			t.Errorf("%s at its intrinsic gas: %v", name, err)
		}
	}
}

func accessList() []map[string]any {
	return []map[string]any{{"address": recipient, "storage_keys": []string{"0x" + strings.Repeat("00", 32)}}}
}

// TestAttackAbsurdFee: the bound holds without any policy.
func TestAttackAbsurdFee(t *testing.T) {
	refuseAll(t, map[string]attack{
		"fail/price and limit swapped": {dynamic(t, map[string]any{"gas_limit": "30000000000", "max_fee_per_gas": "1000000000"}), ethereum.ErrFee},
		"fail/gwei taken for wei":      {dynamic(t, map[string]any{"max_fee_per_gas": "30000000000000000000"}), ethereum.ErrFee},
		"fail/one wei over the bound":  {dynamic(t, map[string]any{"gas_limit": "10000000000000000001", "max_fee_per_gas": "1", "max_priority_fee_per_gas": "0"}), ethereum.ErrFee},
		"fail/tip above the cap":       {dynamic(t, map[string]any{"max_priority_fee_per_gas": "30000000001"}), ethereum.ErrFee},
	})
	at := dynamic(t, map[string]any{"gas_limit": "100000", "max_fee_per_gas": "100000000000000"})
	if fee := mustDecode(t, at).Effects().Fee; !fee.IsUint64() || fee.Uint64() != ethereum.MaxFee {
		t.Fatalf("fee %s, want the bound %d", fee, ethereum.MaxFee)
	}
}

// TestAttackFeeBumpUnderOldApproval: an approval names digests, and any change
// of the fee, or of anything else, is another digest.
func TestAttackFeeBumpUnderOldApproval(t *testing.T) {
	base := mustDecode(t, dynamic(t, nil))
	seen := map[string]string{string(base.Digests()[0].Value): "base"}
	for name, changes := range map[string]map[string]any{
		"fee":         {"max_fee_per_gas": "30000000001"},
		"tip":         {"max_priority_fee_per_gas": "1000000001"},
		"gas":         {"gas_limit": "100001"},
		"nonce":       {"nonce": "8"},
		"value":       {"value": "1000000000000000001"},
		"destination": {"to": "0x1111111111111111111111111111111111111112"},
		"data":        {"data": "0x00"},
		"access list": {"access_list": accessList()},
	} {
		tx := mustDecode(t, dynamic(t, changes))
		digest := string(tx.Digests()[0].Value)
		if other, ok := seen[digest]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[digest] = name
		old := sign(t, base, privateKey(t, testKey))
		if _, err := ethereum.New().Assemble(tx, mainnet(t), [][]byte{old}); !errors.Is(err, ethereum.ErrSignature) {
			t.Errorf("%s: an old signature was put in: %v", name, err)
		}
	}
	if bumped := mustDecode(t, dynamic(t, map[string]any{"max_fee_per_gas": "60000000000"})); bumped.Effects().Fee.Cmp(base.Effects().Fee) <= 0 {
		t.Error("the effects do not show the higher fee")
	}
}

// TestAttackBadChecksumAddress: EIP-55.
func TestAttackBadChecksumAddress(t *testing.T) {
	const good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
	attacks := map[string]attack{}
	for name, address := range map[string]string{
		"one letter's case":  "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
		"0X":                 "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
		"no 0x":              "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
		"19 bytes":           "0x5aaeb6053f3e94c9b9a09f33669435e7ef1bea",
		"21 bytes":           "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaedaa",
		"odd":                "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae",
		"empty":              "",
		"name":               "vitalik.eth",
		"space":              " 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
		"full-width letters": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaｅd",
	} {
		attacks["fail/"+name] = attack{dynamic(t, map[string]any{"to": address}), ethereum.ErrAddress}
	}
	refuseAll(t, attacks)
	for _, address := range []string{good, strings.ToLower(good), "0x" + strings.ToUpper(good[2:])} {
		if _, err := decodeTransaction(dynamic(t, map[string]any{"to": address}), mainnet(t)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestAttackJSONTwoMeanings: a payload that two parsers may read differently.
func TestAttackJSONTwoMeanings(t *testing.T) {
	good := string(dynamic(t, nil))
	edit := func(old, replacement string) []byte {
		out := strings.Replace(good, old, replacement, 1)
		if out == good {
			t.Fatalf("%q is not in the payload", old)
		}
		return []byte(out)
	}
	refuseAll(t, map[string]attack{
		"fail/member twice":          {edit(`{`, `{"value":"0",`), ethereum.ErrPayload},
		"fail/member in other case":  {edit(`"value"`, `"Value"`), ethereum.ErrPayload},
		"fail/unknown member":        {edit(`{`, `{"memo":"x",`), ethereum.ErrPayload},
		"fail/number":                {edit(`"nonce":"7"`, `"nonce":7`), ethereum.ErrPayload},
		"fail/float":                 {edit(`"nonce":"7"`, `"nonce":7.0`), ethereum.ErrPayload},
		"fail/exponent":              {edit(`"nonce":"7"`, `"nonce":"1e1"`), ethereum.ErrPayload},
		"fail/hex number":            {edit(`"nonce":"7"`, `"nonce":"0x7"`), ethereum.ErrPayload},
		"fail/leading zero":          {edit(`"nonce":"7"`, `"nonce":"07"`), ethereum.ErrPayload},
		"fail/sign":                  {edit(`"nonce":"7"`, `"nonce":"+7"`), ethereum.ErrPayload},
		"fail/negative":              {edit(`"nonce":"7"`, `"nonce":"-7"`), ethereum.ErrPayload},
		"fail/underscore":            {edit(`"nonce":"7"`, `"nonce":"1_0"`), ethereum.ErrPayload},
		"fail/empty number":          {edit(`"nonce":"7"`, `"nonce":""`), ethereum.ErrPayload},
		"fail/other digits":          {edit(`"nonce":"7"`, `"nonce":"７"`), ethereum.ErrPayload},
		"fail/null":                  {edit(`"nonce":"7"`, `"nonce":null`), ethereum.ErrPayload},
		"fail/null destination":      {edit(`"to":"`+recipient+`"`, `"to":null`), ethereum.ErrPayload},
		"fail/null beside raw":       {[]byte(`{"raw":"0x01","type":null}`), ethereum.ErrPayload},
		"fail/nonce missing":         {dynamic(t, map[string]any{"nonce": nil}), ethereum.ErrPayload},
		"fail/fee cap missing":       {dynamic(t, map[string]any{"max_fee_per_gas": nil}), ethereum.ErrPayload},
		"fail/tip missing":           {dynamic(t, map[string]any{"max_priority_fee_per_gas": nil}), ethereum.ErrPayload},
		"fail/gas limit missing":     {dynamic(t, map[string]any{"gas_limit": nil}), ethereum.ErrPayload},
		"fail/trailing object":       {[]byte(good + "{}"), ethereum.ErrPayload},
		"fail/an array":              {[]byte("[" + good + "]"), ethereum.ErrPayload},
		"fail/bad UTF-8":             {edit(`"7"`, "\"\xff\""), ethereum.ErrPayload},
		"fail/raw beside fields":     {edit(`{`, `{"raw":"0x01",`), ethereum.ErrPayload},
		"fail/raw without 0x":        {rawPayload("c0"), ethereum.ErrPayload},
		"fail/odd data":              {dynamic(t, map[string]any{"data": "0x0"}), ethereum.ErrPayload},
		"fail/base64 data":           {dynamic(t, map[string]any{"data": "AAAA"}), ethereum.ErrPayload},
		"fail/short storage key":     {dynamic(t, map[string]any{"access_list": []any{map[string]any{"address": recipient, "storage_keys": []string{"0x00"}}}}), ethereum.ErrPayload},
		"fail/unknown in access":     {dynamic(t, map[string]any{"access_list": []any{map[string]any{"address": recipient, "x": "y"}}}), ethereum.ErrPayload},
		"fail/null in access":        {dynamic(t, map[string]any{"access_list": []any{nil}}), ethereum.ErrAddress},
		"fail/nothing at all":        {[]byte(`{}`), ethereum.ErrPayload},
		"fail/neither code nor goal": {dynamic(t, map[string]any{"to": nil, "gas_limit": "100000"}), ethereum.ErrPayload},
		"fail/digest of the client":  {edit(`{`, `{"hash":"0x00",`), ethereum.ErrPayload},
	})
}

// TestNullsAreNamedInOrder: of several nulls every instance names the same.
func TestNullsAreNamedInOrder(t *testing.T) {
	payload := []byte(`{"type":null,"to":null,"nonce":null,"value":null,"data":null}`)
	for range 50 {
		if _, err := decodeTransaction(payload, mainnet(t)); err == nil || !strings.Contains(err.Error(), `"data" is null`) {
			t.Fatal(err)
		}
	}
}

// TestAttackKindConfusion: a payload is read as its kind says, and other kinds
// are none of this chain's.
func TestAttackKindConfusion(t *testing.T) {
	for kind, payload := range map[message.Kind][]byte{
		message.KindEthereumMessage:     dynamic(t, nil),
		message.KindEthereumTransaction: []byte(`{"text":"hello"}`),
		message.KindWalletCreate:        dynamic(t, nil),
		"ethereum.typed-data":           dynamic(t, nil),
		"":                              dynamic(t, nil),
	} {
		if _, err := ethereum.New().Decode(kind, payload, mainnet(t)); !errors.Is(err, ethereum.ErrPayload) {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

// TestAttackForgedAccountDescriptor: effects name the account whose key signs.
func TestAttackForgedAccountDescriptor(t *testing.T) {
	other := accountOf(t, &privateKey(t, strings.Repeat("01", 32)).PublicKey, 1)
	for name, change := range map[string]func(*message.AccountDescriptor){
		"fail/address of another":   func(a *message.AccountDescriptor) { a.Address = other.Address },
		"fail/address in one case":  func(a *message.AccountDescriptor) { a.Address = strings.ToLower(a.Address) },
		"fail/key of another":       func(a *message.AccountDescriptor) { a.PublicKey = other.PublicKey },
		"fail/no key":               func(a *message.AccountDescriptor) { a.PublicKey = nil },
		"fail/uncompressed key":     func(a *message.AccountDescriptor) { a.PublicKey = append([]byte{4}, make([]byte, 64)...) },
		"fail/key off the curve":    func(a *message.AccountDescriptor) { a.PublicKey = append([]byte{2}, make([]byte, 32)...) },
		"fail/curve of another key": func(a *message.AccountDescriptor) { a.Curve = "ed25519" },
		"fail/curve in other case":  func(a *message.AccountDescriptor) { a.Curve = "Secp256k1" },
	} {
		account := mainnet(t)
		change(&account)
		if _, err := decodeTransaction(dynamic(t, nil), account); !errors.Is(err, ethereum.ErrAccount) {
			t.Errorf("%s: %v", name, err)
		}
		tx := mustDecode(t, dynamic(t, nil))
		if _, err := ethereum.New().Assemble(tx, account, [][]byte{sign(t, tx, privateKey(t, testKey))}); !errors.Is(err, ethereum.ErrAccount) {
			t.Errorf("%s: assembled: %v", name, err)
		}
	}
}

// TestAttackHighS: a malleated signature, and every other wrong one, is found
// before anything leaves.
func TestAttackHighS(t *testing.T) {
	tx := mustDecode(t, dynamic(t, nil))
	good := sign(t, tx, privateKey(t, testKey))
	edit := func(change func([]byte)) []byte {
		out := append([]byte{}, good...)
		change(out)
		return out
	}
	for name, signature := range map[string][]byte{
		"fail/high s": edit(func(s []byte) {
			high := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(s[32:64]))
			high.FillBytes(s[32:64])
			s[64] ^= 1
		}),
		"fail/other recovery id": edit(func(s []byte) { s[64] ^= 1 }),
		"fail/recovery id 2":     edit(func(s []byte) { s[64] += 2 }),
		"fail/v 27":              edit(func(s []byte) { s[64] += 27 }),
		"fail/r zero":            edit(func(s []byte) { clear(s[:32]) }),
		"fail/s zero":            edit(func(s []byte) { clear(s[32:64]) }),
		"fail/r of the group":    edit(func(s []byte) { crypto.S256().Params().N.FillBytes(s[:32]) }),
		"fail/bit flipped":       edit(func(s []byte) { s[40] ^= 1 }),
		"fail/cut":               good[:64],
		"fail/extended":          append(append([]byte{}, good...), 0),
		"fail/empty":             {},
		"fail/by another key":    sign(t, tx, privateKey(t, strings.Repeat("01", 32))),
	} {
		if _, err := ethereum.New().Assemble(tx, mainnet(t), [][]byte{signature}); !errors.Is(err, ethereum.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, signatures := range [][][]byte{nil, {good, good}} {
		if _, err := ethereum.New().Assemble(tx, mainnet(t), signatures); !errors.Is(err, ethereum.ErrSignature) {
			t.Errorf("%d signatures: %v", len(signatures), err)
		}
	}
	if _, err := ethereum.New().Assemble(nil, mainnet(t), [][]byte{good}); !errors.Is(err, ethereum.ErrPayload) {
		t.Error("assembled nothing")
	}
}

// TestErrorsCarryNoPayload: what a user sent does not reach logs by way of
// errors, beyond short fixed facts.
func TestErrorsCarryNoPayload(t *testing.T) {
	secret := strings.Repeat("5ec4e7", 40)
	for name, payload := range map[string][]byte{
		"data":  dynamic(t, map[string]any{"data": "0x" + secret + "zz"}),
		"to":    dynamic(t, map[string]any{"to": secret}),
		"value": dynamic(t, map[string]any{"value": secret}),
		"raw":   rawPayload("0x02" + secret),
	} {
		_, err := decodeTransaction(payload, mainnet(t))
		if err == nil || strings.Contains(fmt.Sprint(err), secret[:24]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
