package ethereum_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

var update = flag.Bool("update", false, "write the counted tables into docs/decoding.md")

const decodingPage = "../../docs/decoding.md"

// Columns of the table, in its order.
var understoodAs = []string{
	"native transfer", "deposit", "token transfer", "allowance", "NFT", "wrapper", "unknown call", "contract creation", "not supported",
}

// tally counts, for one file, what transactions are understood as, and why
// some are not supported.
type tally struct {
	total   int
	columns map[string]int
	reasons map[string]int
}

// TestDecodingPage counts the real transactions of the public vectors and holds
// the tables of docs/decoding.md against them. `-update` writes them anew.
func TestDecodingPage(t *testing.T) {
	files := []string{
		"mainnet-block-18189758", "mainnet-block-19431837", "bsc-block-19410658", "hoodi-payload-txs", "geth-trace-txs",
		"erc7730-raw-tx", "execution-apis-io",
	}
	all := map[string]*tally{}
	for _, file := range files {
		all[file] = count(t, file)
	}
	page, err := os.ReadFile(decodingPage)
	if err != nil {
		t.Fatal(err)
	}
	want := replaceTable(t, replaceTable(t, string(page), "understood", columnsTable(files, all)), "refused", reasonsTable(files, all))
	if string(page) == want {
		return
	}
	if !*update {
		t.Fatalf("docs/decoding.md is out of date (go test ./transaction/ethereum -run DecodingPage -update):\n%s", columnsTable(files, all))
	}
	if err := os.WriteFile(decodingPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replaceTable replaces what stands between the marks of a table.
func replaceTable(t *testing.T, page, name, table string) string {
	t.Helper()
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	head, rest, ok := strings.Cut(page, begin)
	_, tail, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("docs/decoding.md has no place for table %s", name)
	}
	return head + begin + table + end + tail
}

func columnsTable(files []string, all map[string]*tally) string {
	out := "| file | total | " + strings.Join(understoodAs, " | ") + " |\n| ---" + strings.Repeat(" | ---:", len(understoodAs)+1) + " |\n"
	sum := tally{columns: map[string]int{}}
	line := func(name string, c tally) {
		out += fmt.Sprintf("| %s | %d", name, c.total)
		for _, column := range understoodAs {
			out += fmt.Sprintf(" | %d", c.columns[column])
		}
		out += " |\n"
	}
	for _, file := range files {
		line("`"+file+"`", *all[file])
		sum.total += all[file].total
		for column, n := range all[file].columns {
			sum.columns[column] += n
		}
	}
	line("together", sum)
	return out
}

func reasonsTable(files []string, all map[string]*tally) string {
	out := "| why not supported | transactions |\n| --- | ---: |\n"
	sum := map[string]int{}
	for _, file := range files {
		for reason, n := range all[file].reasons {
			sum[reason] += n
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(sum)) {
		out += fmt.Sprintf("| %s | %d |\n", reason, sum[reason])
	}
	return out
}

func count(t *testing.T, file string) *tally {
	t.Helper()
	c := &tally{columns: map[string]int{}, reasons: map[string]int{}}
	for _, raw := range rawTransactions(t, file) {
		c.total++
		column, reason := classify(t, raw)
		c.columns[column]++
		if reason != "" {
			c.reasons[reason]++
		}
	}
	return c
}

// rawTransactions are the raw transactions of a file, signed or not.
func rawTransactions(t *testing.T, file string) []string {
	t.Helper()
	var v struct {
		Cases []struct {
			Raw, RawTx string
			Request    struct {
				Method string
				Params []json.RawMessage
			}
			Response struct{ Result json.RawMessage }
		}
	}
	vectors.Load(t, "6-chain/"+file+".json", &v)
	var out []string
	for _, c := range v.Cases {
		raw := c.Raw + c.RawTx
		switch c.Request.Method {
		case "eth_sendRawTransaction":
			_ = json.Unmarshal(c.Request.Params[0], &raw)
		case "debug_getRawTransaction":
			_ = json.Unmarshal(c.Response.Result, &raw)
		}
		if raw != "" && raw != "0x" {
			out = append(out, raw)
		}
	}
	return out
}

// classify says what a transaction is understood as where our account is the
// sender, by the first column that fits from the right: what is worse counts.
func classify(t *testing.T, text string) (column, reason string) {
	t.Helper()
	raw := unhex(t, text)
	tx, err := decodeAsOurs(t, raw)
	if err != nil {
		return "not supported", whyNot(raw, err)
	}
	e := tx.Effects()
	assets := ""
	for _, m := range e.Moves {
		assets += m.Asset
	}
	for _, a := range e.Allowances {
		assets += a.Asset
	}
	calls := e.Details.Calls
	switch {
	case e.Details.Creates:
		return "contract creation", ""
	case len(e.Unknown) > 0:
		return "unknown call", ""
	case len(calls) == 0:
		return "native transfer", ""
	case slices.ContainsFunc(calls, func(c transaction.Call) bool { return c.Depth > 0 }):
		return "wrapper", ""
	case strings.Contains(assets, "/erc721:") || strings.Contains(assets, "/erc1155:"):
		return "NFT", ""
	case len(e.Allowances) > 0:
		return "allowance", ""
	case strings.Contains(assets, "/erc20:"):
		return "token transfer", ""
	}
	return "deposit", ""
}

// decodeAsOurs takes the signature off, if there is one, and decodes for the
// account that has made it.
func decodeAsOurs(t *testing.T, raw []byte) (transaction.Transaction, error) {
	t.Helper()
	if !isSigned(raw) {
		account := accountOf(t, &privateKey(t, testKey).PublicKey, max(1, rawChainID(t, raw)))
		return decodeTransaction(rawPayload(toHex(raw)), account)
	}
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		return nil, err
	}
	if tx.Type() > types.DynamicFeeTxType {
		return nil, ethereum.ErrType
	}
	if !tx.Protected() || tx.ChainId().Sign() == 0 {
		return nil, ethereum.ErrUnprotected
	}
	digest := types.LatestSignerForChainID(tx.ChainId()).Hash(&tx)
	public, err := crypto.SigToPub(digest[:], signatureOf(&tx))
	if err != nil {
		return nil, err
	}
	return decodeTransaction(rawPayload(toHex(unsigned(t, &tx))), accountOf(t, public, tx.ChainId().Uint64()))
}

// whyNot names a refusal by its sentinel.
func whyNot(raw []byte, err error) string {
	if errors.Is(err, ethereum.ErrType) || errors.Is(err, types.ErrTxTypeNotSupported) {
		switch raw[0] {
		case types.BlobTxType:
			return "a blob transaction (EIP-4844)"
		case types.SetCodeTxType:
			return "a set-code transaction (EIP-7702)"
		}
		return fmt.Sprintf("a transaction of type %d", raw[0])
	}
	for _, sentinel := range []error{
		ethereum.ErrUnprotected, ethereum.ErrChainID, ethereum.ErrFee, ethereum.ErrGas, ethereum.ErrRange, ethereum.ErrEncoding,
		ethereum.ErrPayload,
	} {
		if errors.Is(err, sentinel) {
			return sentinel.Error()
		}
	}
	return err.Error()
}

// TestDetails: what is written in a transaction is given beside its effects.
func TestDetails(t *testing.T) {
	payloads := map[string][]byte{
		"eip1559": dynamic(t, toToken(call("transfer(address,uint256)", word(recipient), "07"), "4")),
		"legacy": object(t, map[string]any{"type": "legacy", "nonce": "3", "gas_price": "9", "gas_limit": "100000", "to": token, "value": "4",
			"data": call("transfer(address,uint256)", word(recipient), "07")}),
	}
	for form, payload := range payloads {
		d := mustDecode(t, payload).Effects().Details
		if d.Form != form || d.Chain != "eip155:1" || d.From != self || d.To != "eip155:1:"+token || d.Value.Int64() != 4 || d.Nonce == nil ||
			d.GasLimit != 100000 || d.FeePerGas == nil || (d.PriorityFeePerGas == nil) == (form == "eip1559") || d.Creates || len(d.Data) != 68 || d.Typed != nil {
			t.Errorf("%s: %+v", form, d)
		}
		if len(d.Calls) != 1 {
			t.Fatalf("%s: calls %+v", form, d.Calls)
		}
		c := d.Calls[0]
		if c.To != d.To || c.Function != "transfer(address,uint256)" || toHex(c.Selector) != "0xa9059cbb" || c.Value.Int64() != 4 ||
			string(c.Data) != string(d.Data) || c.Depth != 0 || c.Delegate || !c.Understood {
			t.Errorf("%s: call %+v", form, c)
		}
		if f := mustFunction(t, c.Function); toHex(c.Selector) != toHexArray(f.Selector()) {
			t.Errorf("%s: function %s", form, c.Function)
		}
	}
	birth := mustDecode(t, dynamic(t, map[string]any{"to": nil, "data": "0x6000"})).Effects().Details
	if !birth.Creates || birth.To != "" || len(birth.Calls) != 0 {
		t.Errorf("creation: %+v", birth)
	}
	m := decodeMessage(t, []byte(`{"text":"a"}`), mainnet(t)).Effects().Details
	if m.Form != "eip191" || m.From != self || m.Chain != "eip155:1" || m.Nonce != nil {
		t.Errorf("message: %+v", m)
	}
}

func toHexArray(b [4]byte) string { return toHex(b[:]) }
