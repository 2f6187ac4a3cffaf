package ethereum_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"github.com/countersign/countersign/transaction/ethereum"
)

// FuzzTypedData: nothing panics; what is accepted has one digest and an effect,
// and can be signed.
func FuzzTypedData(f *testing.F) {
	f.Add(mail)
	f.Add(members(nil))
	f.Add(oneField("int16[][2]", `[[-1],[]]`))
	f.Add(signedBy(token, "Permit", permitType, permitMessage))
	f.Add(safeTx(token, "0", multicall("0x01020304"), "0", "0"))
	f.Add(permitted("PermitBatchTransferFrom", "TokenPermissions[]", "["+permission+"]", permit2))
	f.Add(seaport(`{"itemType":1,"token":"` + token + `","identifierOrCriteria":0,"startAmount":"5","endAmount":"7"}`))
	account, key := mainnet(f), privateKey(f, testKey)
	f.Fuzz(func(t *testing.T, data string) {
		d, err := decodeTyped(typedPayload(data), account)
		if err != nil {
			return
		}
		again, err := decodeTyped(typedPayload(data), account)
		if err != nil || !bytes.Equal(again.Digests()[0].Value, d.Digests()[0].Value) {
			t.Fatalf("decoding again: %v", err)
		}
		if e := d.Effects(); len(e.Moves)+len(e.Allowances)+len(e.Unknown) == 0 {
			t.Fatal("typed data without any effect")
		}
		if _, err := ethereum.New().Assemble(d, account, [][]byte{sign(t, d, key)}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzCalldata: no calldata panics or is without effect, and the calls that are
// shown stay within bounds.
func FuzzCalldata(f *testing.F) {
	transfer := call("transfer(address,uint256)", word(recipient), "07")
	for _, data := range []string{
		transfer, multicall(transfer), execute(token, "05", transfer), safeExec(token, "00", transfer, "00", "00"),
		multiSend(packedCall("00", token, "00", transfer)), call("aggregate3((address,bool,bytes)[])") + tuple(list(tuple(blob(transfer), token, "01"))),
		call("executeBatch(address[],uint256[],bytes[])") + dynamics(words(token), words("05"), list(blob(transfer))), "0xd0e30db0",
	} {
		f.Add(unhex(f, data), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, value bool) {
		changes := map[string]any{"to": token, "data": toHex(data), "value": "0", "gas_limit": "100000000"}
		if value {
			changes["value"] = "5"
		}
		tx, err := decodeTransaction(dynamic(t, changes), mainnet(t))
		if err != nil {
			return
		}
		e := tx.Effects()
		if len(e.Moves)+len(e.Allowances)+len(e.Unknown) == 0 {
			t.Fatal("a transaction without any effect")
		}
		if value && (len(e.Moves) == 0 || e.Moves[0].Amount.Int64() != 5) {
			t.Fatal("value is not counted")
		}
		understood := true
		for _, c := range e.Details.Calls {
			understood = understood && c.Understood
		}
		if understood != (len(e.Unknown) == 0) || len(e.Details.Calls) > 256 {
			t.Fatalf("%d calls, %d unknown: %s", len(e.Details.Calls), len(e.Unknown), callNames(e.Details.Calls))
		}
	})
}

// FuzzFunctionDecode: our decoder accepts exactly what go-ethereum decodes and
// encodes again to the same bytes.
func FuzzFunctionDecode(f *testing.F) {
	const definition = `[{"type":"function","name":"f","inputs":[{"name":"a","type":"bytes[]"},{"name":"b","type":"tuple[]","components":[
		{"name":"x","type":"address"},{"name":"y","type":"int24"},{"name":"z","type":"bytes"}]},{"name":"c","type":"bool"},{"name":"d","type":"uint64[2][]"},{"name":"e","type":"bytes3"}]}]`
	parsed, err := abi.JSON(strings.NewReader(definition))
	if err != nil {
		f.Fatal(err)
	}
	arguments := parsed.Methods["f"].Inputs
	function := mustFunction(f, "f(bytes[] a,(address x,int24 y,bytes z)[] b,bool c,uint64[2][] d,bytes3 e)")
	selector := function.Selector()
	type pair struct {
		X common.Address
		Y *big.Int
		Z []byte
	}
	full, err := arguments.Pack([][]byte{{1, 2}, {}}, []pair{{common.HexToAddress(token), big.NewInt(-5), []byte{1}}}, true, [][2]uint64{{1, 2}}, [3]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := function.Decode(append(selector[:], full...)); err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(unhex(f, "0x"+number(160)+number(192)+number(0)+number(224)+number(0)+number(0)+number(0)+number(0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return // go-ethereum's memory grows with shared offsets
		}
		_, ours := function.Decode(append(selector[:], data...))
		theirs := false
		if values, err := arguments.UnpackValues(data); err == nil {
			again, err := arguments.PackValues(values)
			theirs = err == nil && bytes.Equal(again, data)
		}
		if (ours == nil) != theirs {
			t.Fatalf("ours %v, go-ethereum's %v: %x", ours, theirs, data)
		}
	})
}
