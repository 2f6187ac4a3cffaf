package ethereum_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/tyler-smith/go-bip32"
	"github.com/tyler-smith/go-bip39"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction/ethereum"
)

// TestEIP155Example is the worked example of EIP-155, through the whole way.
func TestEIP155Example(t *testing.T) {
	var v struct {
		Cases []struct{ ID, PrivateKey, SigningData, SigningHash, Signed string }
	}
	vectors.Load(t, "2-ethereum/eip155.json", &v)
	c := v.Cases[0]
	key := privateKey(t, c.PrivateKey)
	tx := mustDecode(t, rawPayload(c.SigningData))
	if got := toHex(tx.Digests()[0].Value); got != c.SigningHash {
		t.Fatalf("digest %s, want %s", got, c.SigningHash)
	}
	fields := mustDecode(t, object(t, map[string]any{
		"type": "legacy", "chain_id": "1", "nonce": "9", "gas_price": "20000000000", "gas_limit": "21000",
		"to": "0x3535353535353535353535353535353535353535", "value": "1000000000000000000", "data": "0x",
	}))
	if toHex(fields.Digests()[0].Value) != c.SigningHash {
		t.Fatal("fields give another digest")
	}
	out := assemble(t, tx, mainnet(t), sign(t, tx, key))
	if out.Raw != c.Signed {
		t.Fatalf("signed %s, want %s", out.Raw, c.Signed)
	}
}

// TestSignedTransactionsOfBlocks takes signed transactions apart, decodes their
// unsigned form and puts the real signature back: the same bytes, hash and
// sender must come out.
func TestSignedTransactionsOfBlocks(t *testing.T) {
	tested := 0
	for _, file := range []string{
		"6-chain/mainnet-block-18189758.json", "6-chain/mainnet-block-19431837.json",
		"6-chain/bsc-block-19410658.json", "6-chain/hoodi-payload-txs.json", "6-chain/geth-trace-txs.json",
	} {
		var v struct {
			Cases []struct{ ID, Raw, From string }
		}
		vectors.Load(t, file, &v)
		for _, c := range v.Cases {
			var tx types.Transaction
			if err := tx.UnmarshalBinary(unhex(t, c.Raw)); err != nil {
				t.Fatal(err)
			}
			if tx.Type() > types.DynamicFeeTxType || !tx.Protected() || tx.ChainId().Sign() == 0 {
				continue
			}
			t.Run(c.ID, func(t *testing.T) { rebuild(t, &tx, c.Raw, c.ID, c.From) })
			tested++
		}
	}
	if tested < 400 {
		t.Fatalf("only %d transactions tested", tested)
	}
}

// TestEIP155Vectors are signed transactions whose senders are known.
func TestEIP155Vectors(t *testing.T) {
	var v struct {
		Cases []struct{ ID, RLP, Hash, Sender string }
	}
	vectors.Load(t, "2-ethereum/eip155.json", &v)
	for _, c := range v.Cases[1:] {
		t.Run(c.ID, func(t *testing.T) {
			var tx types.Transaction
			if err := tx.UnmarshalBinary(unhex(t, c.RLP)); err != nil {
				t.Fatal(err)
			}
			rebuild(t, &tx, c.RLP, tx.Hash().Hex(), "0x"+c.Sender)
		})
	}
}

func rebuild(t *testing.T, tx *types.Transaction, raw, hash, from string) {
	t.Helper()
	signer := types.LatestSignerForChainID(tx.ChainId())
	digest := signer.Hash(tx)
	signature := signatureOf(tx)
	public, err := crypto.SigToPub(digest[:], signature)
	if err != nil {
		t.Fatal(err)
	}
	account := accountOf(t, public, tx.ChainId().Uint64())
	decoded, err := ethereum.DecodeForm(rawPayload(toHex(unsigned(t, tx))), account)
	if err != nil {
		t.Fatal(err)
	}
	if string(decoded.Digests()[0].Value) != string(digest[:]) {
		t.Fatal("digest is another")
	}
	out := assemble(t, decoded, account, signature)
	if out.Raw != raw || out.Hash != hash || !strings.EqualFold(out.From, from) {
		t.Fatalf("assembled %+v", out)
	}
}

// signatureOf returns r||s||recovery id of a signed transaction.
func signatureOf(tx *types.Transaction) []byte {
	v, r, s := tx.RawSignatureValues()
	out := make([]byte, 65)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:64])
	recovery := new(big.Int).Set(v)
	if tx.Type() == types.LegacyTxType {
		recovery.Sub(v, new(big.Int).Add(new(big.Int).Lsh(tx.ChainId(), 1), big.NewInt(35)))
	}
	out[64] = byte(recovery.Uint64())
	return out
}

type ethersForm struct{ Unsigned, Sighash, Signed string }

type ethersCase struct {
	ID          string
	Transaction map[string]any
	PrivateKey  string
	Legacy      ethersForm
	EIP155      ethersForm
	Berlin      ethersForm
	London      ethersForm
	Cancun      ethersForm
}

// TestEthersTransactions decodes each of ethers' transactions from raw RLP and
// from fields, signs both with the vector's key, and compares every byte.
func TestEthersTransactions(t *testing.T) {
	var v struct{ Cases []ethersCase }
	vectors.Load(t, "2-ethereum/ethers-signed-transactions.json", &v)
	tested := 0
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			key := privateKey(t, c.PrivateKey)
			id, ok := new(big.Int).SetString(decimal(t, c.Transaction["chainId"]), 10)
			if !ok || id.Sign() == 0 {
				refused(t, c.EIP155, 1, ethereum.ErrChainID, ethereum.ErrUnprotected)
				refused(t, c.London, 1, ethereum.ErrChainID)
				return
			}
			account := accountOf(t, &key.PublicKey, id.Uint64())
			for kind, form := range map[string]ethersForm{"legacy": c.EIP155, "eip2930": c.Berlin, "eip1559": c.London} {
				raw, err := ethereum.DecodeForm(rawPayload(form.Unsigned), account)
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				if got := toHex(raw.Digests()[0].Value); got != form.Sighash {
					t.Fatalf("%s: digest %s, want %s", kind, got, form.Sighash)
				}
				fields, err := ethereum.DecodeForm(object(t, ethersFields(t, kind, c.Transaction)), account)
				if err != nil {
					t.Fatalf("%s from fields: %v", kind, err)
				}
				if toHex(fields.Digests()[0].Value) != form.Sighash {
					t.Fatalf("%s from fields: digest is another", kind)
				}
				if out := assemble(t, fields, account, sign(t, fields, key)); out.Raw != form.Signed {
					t.Fatalf("%s: signed %s, want %s", kind, out.Raw, form.Signed)
				}
				tested++
			}
			refused(t, c.Legacy, id.Uint64(), ethereum.ErrUnprotected)
			refused(t, c.Cancun, id.Uint64(), ethereum.ErrType)
		})
	}
	if tested < 300 {
		t.Fatalf("only %d forms tested", tested)
	}
}

func refused(t *testing.T, form ethersForm, chainID uint64, want ...error) {
	t.Helper()
	if form.Unsigned == "" {
		return
	}
	account := accountOf(t, &privateKey(t, testKey).PublicKey, chainID)
	_, err := ethereum.DecodeForm(rawPayload(form.Unsigned), account)
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	t.Fatalf("got %v, want %v", err, want)
}

func ethersFields(t *testing.T, kind string, tx map[string]any) map[string]any {
	t.Helper()
	out := map[string]any{
		"type": kind, "chain_id": decimal(t, tx["chainId"]), "nonce": decimal(t, tx["nonce"]),
		"gas_limit": decimal(t, tx["gasLimit"]), "value": decimal(t, tx["value"]),
	}
	for from, to := range map[string]string{"to": "to", "data": "data"} {
		if s, _ := tx[from].(string); s != "" {
			out[to] = s
		}
	}
	if kind == "eip1559" {
		out["max_fee_per_gas"] = decimal(t, tx["maxFeePerGas"])
		out["max_priority_fee_per_gas"] = decimal(t, tx["maxPriorityFeePerGas"])
	} else {
		out["gas_price"] = decimal(t, tx["gasPrice"])
	}
	if list, ok := tx["accessList"].([]any); ok && kind != "legacy" {
		entries := []map[string]any{}
		for _, entry := range list {
			e := entry.(map[string]any)
			entries = append(entries, map[string]any{"address": e["address"], "storage_keys": e["storageKeys"]})
		}
		out["access_list"] = entries
	}
	return out
}

// TestEthereumJSTransactions signs by the vector's keys.
func TestEthereumJSTransactions(t *testing.T) {
	var v struct{ Cases []map[string]any }
	vectors.Load(t, "2-ethereum/ethereumjs-tx.json", &v)
	tested := 0
	for _, c := range v.Cases {
		want, ok := c["signedTransactionRLP"].(string)
		if !ok {
			continue
		}
		tested++
		t.Run(c["id"].(string), func(t *testing.T) {
			key := privateKey(t, c["privateKey"].(string))
			account := accountOf(t, &key.PublicKey, 4)
			c["chainId"] = "4"
			tx, err := ethereum.DecodeForm(object(t, ethersFields(t, "eip1559", c)), account)
			if err != nil {
				t.Fatal(err)
			}
			out := assemble(t, tx, account, sign(t, tx, key))
			// The vector wraps the typed bytes into an RLP string: b8 71 ...
			if want = "0x" + want[len("0xb871"):]; out.Raw != want {
				t.Fatalf("signed %s, want %s", out.Raw, want)
			}
		})
	}
	if tested < 6 {
		t.Fatalf("only %d tested", tested)
	}
}

// TestTrezorTransactions derives each key from its mnemonic and compares the
// device's signature, which is deterministic as ours.
func TestTrezorTransactions(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Mnemonic, Passphrase string
			Parameters               map[string]any
			Result                   map[string]any
		}
	}
	vectors.Load(t, "2-ethereum/trezor-sign-tx.json", &v)
	tested := 0
	for _, c := range v.Cases {
		if c.Parameters["tx_type"] == 1.0 {
			continue // Wanchain's own format, see the vectors' README.
		}
		p := c.Parameters
		tested++
		t.Run(c.ID, func(t *testing.T) {
			key := privateKey(t, derive(t, c.Mnemonic, c.Passphrase, p["path"].(string)))
			account := accountOf(t, &key.PublicKey, uint64(p["chain_id"].(float64)))
			kind := "legacy"
			if p["max_gas_fee"] != nil {
				kind = "eip1559"
			}
			fields := map[string]any{
				"chainId": p["chain_id"], "nonce": p["nonce"], "gasLimit": p["gas_limit"], "value": p["value"],
				"gasPrice": p["gas_price"], "maxFeePerGas": p["max_gas_fee"], "maxPriorityFeePerGas": p["max_priority_fee"],
				"to": p["to_address"],
			}
			if data, _ := p["data"].(string); data != "" {
				fields["data"] = "0x" + data
			}
			tx, err := ethereum.DecodeForm(object(t, ethersFields(t, kind, fields)), account)
			if strings.HasSuffix(c.ID, "/max_uint64") {
				// Its chain id is beyond EIP-2294, which the device ignores.
				if !errors.Is(err, ethereum.ErrChainID) {
					t.Fatalf("got %v, want ErrChainID", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out := assemble(t, tx, account, sign(t, tx, key))
			if want := "0x" + c.Result["sig_r"].(string) + c.Result["sig_s"].(string); !strings.HasPrefix(out.Signature, want) {
				t.Fatalf("signature %s, want %s", out.Signature, want)
			}
			var signed types.Transaction
			if err := signed.UnmarshalBinary(hexutil.MustDecode(out.Raw)); err != nil {
				t.Fatal(err)
			}
			if v, _, _ := signed.RawSignatureValues(); v.Cmp(big.NewInt(int64(c.Result["sig_v"].(float64)))) != 0 {
				t.Fatalf("v %s, want %v", v, c.Result["sig_v"])
			}
		})
	}
	if tested < 60 {
		t.Fatalf("only %d tested", tested)
	}
}

var derived = map[string]string{}

// derive returns the hex key at a BIP-32 path of a BIP-39 mnemonic.
func derive(t *testing.T, mnemonic, passphrase, path string) string {
	t.Helper()
	id := mnemonic + "|" + passphrase + "|" + path
	if key, ok := derived[id]; ok {
		return key
	}
	key, err := bip32.NewMasterKey(bip39.NewSeed(mnemonic, passphrase))
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range strings.Split(path, "/")[1:] {
		index, hardened := strings.CutSuffix(level, "'")
		n, _ := new(big.Int).SetString(index, 10)
		child := uint32(n.Uint64())
		if hardened {
			child += bip32.FirstHardenedChild
		}
		if key, err = key.NewChildKey(child); err != nil {
			t.Fatal(err)
		}
	}
	derived[id] = toHex(key.Key)
	return derived[id]
}

func TestAccounts(t *testing.T) {
	var v struct {
		Cases []struct{ ID, PrivateKey, Address string }
	}
	vectors.Load(t, "2-ethereum/accounts.json", &v)
	for _, c := range v.Cases {
		public := crypto.CompressPubkey(&privateKey(t, c.PrivateKey).PublicKey)
		address, err := ethereum.New().Address("eip155:1", "secp256k1", public)
		if err != nil || address != c.Address {
			t.Errorf("%s: %s, %v; want %s", c.ID, address, err, c.Address)
		}
	}
}
