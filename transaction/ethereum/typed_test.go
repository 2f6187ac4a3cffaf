package ethereum_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// typedPayload is the payload of typed data in JSON.
func typedPayload(data string) []byte { return []byte(`{"typed_data":` + data + `}`) }

func decodeTyped(payload []byte, account message.AccountDescriptor) (transaction.Transaction, error) {
	return ethereum.New().Decode(message.KindEthereumTypedData, payload, account)
}

// onChain is the account of the test key on a chain.
func onChain(t testing.TB, id uint64) message.AccountDescriptor {
	t.Helper()
	return accountOf(t, &privateKey(t, testKey).PublicKey, id)
}

func mustType(t testing.TB, data string, account message.AccountDescriptor) transaction.Transaction {
	t.Helper()
	d, err := decodeTyped(typedPayload(data), account)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mail is the example of EIP-712.
const mail = `{"types":{"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},
{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],
"Person":[{"name":"name","type":"string"},{"name":"wallet","type":"address"}],
"Mail":[{"name":"from","type":"Person"},{"name":"to","type":"Person"},{"name":"contents","type":"string"}]},
"primaryType":"Mail",
"domain":{"name":"Ether Mail","version":"1","chainId":1,"verifyingContract":"0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"},
"message":{"from":{"name":"Cow","wallet":"0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
"to":{"name":"Bob","wallet":"0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},"contents":"Hello, Bob!"}}`

// TestTypedDataExample is EIP-712's Mail: its digest and its signature by the
// key keccak256("cow").
func TestTypedDataExample(t *testing.T) {
	key := privateKey(t, toHex(crypto.Keccak256([]byte("cow"))))
	account := accountOf(t, &key.PublicKey, 1)
	d := mustType(t, mail, account)
	const digest = "0xbe609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
	output, err := ethereum.New().Assemble(d, account, [][]byte{sign(t, d, key)})
	if err != nil {
		t.Fatal(err)
	}
	var out ethereum.TypedDataOutput
	if err := message.Decode(output, &out); err != nil {
		t.Fatal(err)
	}
	want := ethereum.TypedDataOutput{
		Signature: "0x4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d" +
			"07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c",
		Address: "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826", Digest: digest,
	}
	if out != want {
		t.Fatalf("output %+v, want %+v", out, want)
	}
	e := d.Effects()
	about := e.Details.Typed
	if len(e.Unknown) != 1 || e.Unknown[0].To != "eip155:1:0xcccccccccccccccccccccccccccccccccccccccc" || toHex(e.Unknown[0].Selector) != "0xa0cedeb2" {
		t.Errorf("effects %+v", e)
	}
	if e.Details.Form != "eip712" || about.PrimaryType != "Mail" || about.Name != "Ether Mail" || about.Version != "1" ||
		about.ChainID.Int64() != 1 || about.Contract != e.Unknown[0].To {
		t.Errorf("details %+v, %+v", e.Details, about)
	}
	const shown = `{"from":{"name":"Cow","wallet":"0xcd2a3d9f938e13cd947ec05abc7fe734df8dd826"},` +
		`"to":{"name":"Bob","wallet":"0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},"contents":"Hello, Bob!"}`
	if string(about.Message) != shown {
		t.Errorf("message %s", about.Message)
	}
}

// typedCase is a case of the vectors that carry whole typed data.
type typedCase struct {
	ID          string
	Data        json.RawMessage
	Digest      string
	BadChecksum bool
}

// chainOf is the chain id that a domain names, or 1.
func chainOf(t testing.TB, data []byte) uint64 {
	t.Helper()
	var v struct{ Domain struct{ ChainID json.Number } }
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	id, ok := new(big.Int).SetString(v.Domain.ChainID.String(), 10)
	if !ok || !id.IsUint64() {
		return 1
	}
	return id.Uint64()
}

// TestTypedDataVectors compares the digest of what applications really ask
// for; what is refused is refused for a reason that stands here.
func TestTypedDataVectors(t *testing.T) {
	refused := map[string]error{
		"09-rarible":   ethereum.ErrTypedData, // a number in hex
		"14-rabby_bug": ethereum.ErrPayload,   // the libraries disagree
	}
	for file, least := range map[string]int{"2-ethereum/erc7730-typed-data.json": 40, "2-ethereum/ledger-typed-data.json": 11} {
		var v struct{ Cases []typedCase }
		vectors.Load(t, file, &v)
		tested := 0
		for _, c := range v.Cases {
			d, err := decodeTyped(typedPayload(string(c.Data)), onChain(t, chainOf(t, c.Data)))
			want := refused[c.ID]
			if c.BadChecksum {
				want = ethereum.ErrAddress
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", c.ID, err, want)
				continue
			}
			if err != nil {
				continue
			}
			tested++
			if got := toHex(d.Digests()[0].Value); got != c.Digest {
				t.Errorf("%s: digest %s, want %s", c.ID, got, c.Digest)
			}
		}
		if tested < least {
			t.Errorf("%s: only %d tested", file, tested)
		}
	}
}

// TestEthersTypedData: random nested types, to which the domain's is added.
func TestEthersTypedData(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, PrimaryType, Digest string
			Domain                  map[string]any
			Types                   map[string][]map[string]string
			Data                    any
		}
	}
	vectors.Load(t, "2-ethereum/ethers-typed-data.json", &v)
	for _, c := range v.Cases {
		c.Types["EIP712Domain"] = domainMembers(c.Domain)
		b := object(t, map[string]any{"types": c.Types, "primaryType": c.PrimaryType, "domain": c.Domain, "message": c.Data})
		d, err := decodeTyped(typedPayload(string(b)), onChain(t, chainOf(t, b)))
		if len(c.Domain) == 0 { // valid everywhere
			if !errors.Is(err, ethereum.ErrTypedData) {
				t.Errorf("%s: no domain: %v", c.ID, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.ID, err)
			continue
		}
		if got := toHex(d.Digests()[0].Value); got != c.Digest {
			t.Errorf("%s: digest %s, want %s", c.ID, got, c.Digest)
		}
	}
}

func domainMembers(domain map[string]any) []map[string]string {
	out := []map[string]string{}
	for _, m := range [][2]string{
		{"name", "string"}, {"version", "string"}, {"chainId", "uint256"}, {"verifyingContract", "address"}, {"salt", "bytes32"},
	} {
		if _, ok := domain[m[0]]; ok {
			out = append(out, map[string]string{"name": m[0], "type": m[1]})
		}
	}
	return out
}

// TestTrezorTypedData signs by the derived keys.
func TestTrezorTypedData(t *testing.T) {
	refused := []string{"bare_minimum", "full_domain_empty_message", "array_of_structs", "structs_arrays_v4", "injective_testcase"}
	var v struct {
		Cases []struct {
			ID, Mnemonic, Passphrase string
			Parameters               struct {
				Path string
				Data json.RawMessage
			}
			Result struct{ Sig string }
		}
	}
	vectors.Load(t, "2-ethereum/trezor-typed-data.json", &v)
	tested := 0
	for _, c := range v.Cases {
		key := privateKey(t, derive(t, c.Mnemonic, c.Passphrase, c.Parameters.Path))
		account := accountOf(t, &key.PublicKey, chainOf(t, c.Parameters.Data))
		d, err := decodeTyped(typedPayload(string(c.Parameters.Data)), account)
		_, name, _ := strings.Cut(c.ID, "/")
		if bad := slices.Contains(refused, name); bad != (err != nil) {
			t.Errorf("%s: %v", c.ID, err)
		}
		if err != nil {
			continue
		}
		tested++
		output, err := ethereum.New().Assemble(d, account, [][]byte{sign(t, d, key)})
		if err != nil || !strings.Contains(string(output), c.Result.Sig) {
			t.Errorf("%s: %s, %v; want %s", c.ID, output, err, c.Result.Sig)
		}
	}
	if tested < 2 {
		t.Errorf("only %d tested", tested)
	}
}

// TestClefTypedData: what clef must refuse is refused, and so are its fuzzer's
// finds.
func TestClefTypedData(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Text string
			MustFail *bool
		}
	}
	vectors.Load(t, "2-ethereum/clef-typed-data.json", &v)
	for _, c := range v.Cases {
		_, err := decodeTyped(typedPayload(c.Text), mainnet(t))
		if good := c.ID == "custom_arraytype"; good != (err == nil) {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
}

// members writes the changed members of the typed data of a test.
func members(changes map[string]string) string {
	m := map[string]string{
		"types":       `{"EIP712Domain":[{"name":"chainId","type":"uint256"}],"A":[{"name":"a","type":"uint8"}]}`,
		"primaryType": `"A"`, "domain": `{"chainId":1}`, "message": `{"a":7}`,
	}
	maps.Copy(m, changes)
	parts := []string{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%q:%s", name, m[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// field is members with a type of A's one field and its value.
func oneField(typ, value string) string {
	return members(map[string]string{
		"types":   `{"EIP712Domain":[{"name":"chainId","type":"uint256"}],"A":[{"name":"a","type":"` + typ + `"}]}`,
		"message": `{"a":` + value + `}`,
	})
}
