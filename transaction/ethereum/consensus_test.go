package ethereum_test

import (
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/transaction/ethereum"
)

// unsigned takes the signature off a transaction by means of its RLP items
// alone, independently of the package's own encoder.
func unsigned(t testing.TB, tx *types.Transaction) []byte {
	t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	id, err := rlp.EncodeToBytes(tx.ChainId())
	if err != nil {
		t.Fatal(err)
	}
	out, err := strip(raw, id)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// strip drops the last three items of a signed transaction, and puts chain id
// and two empty strings in their place if it is a legacy one.
func strip(raw, chainID []byte) ([]byte, error) {
	prefix := []byte{}
	if len(raw) > 0 && raw[0] < 0x80 {
		prefix, raw = raw[:1:1], raw[1:]
	}
	var items []rlp.RawValue
	if err := rlp.DecodeBytes(raw, &items); err != nil {
		return nil, err
	}
	if len(items) < 3 {
		return nil, errors.New("too few items")
	}
	items = items[:len(items)-3]
	if len(prefix) == 0 {
		items = append(items, chainID, rlp.RawValue{0x80}, rlp.RawValue{0x80})
	}
	body, err := rlp.EncodeToBytes(items)
	return append(prefix, body...), err
}

type consensusResult struct{ Exception, Hash, IntrinsicGas, Sender string }

// aboutSignature are the faults of ethereum/tests that lie in the signature,
// which is cut off here.
func aboutSignature(id, exception string) bool {
	return strings.Contains(exception, "SIGNATURE") || strings.Contains(exception, "INVALID_CHAINID") ||
		strings.HasPrefix(id, "ttRSValue/") || strings.HasPrefix(id, "ttVValue/") || strings.HasPrefix(id, "ttSignature/") ||
		strings.Contains(id, "rvalue") || strings.Contains(id, "svalue")
}

// TestConsensusTransactions: what ethereum/tests refuses for another fault than
// its signature is refused, and of what it accepts the intrinsic gas agrees.
func TestConsensusTransactions(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, TxBytes string
			Result      map[string]consensusResult
		}
	}
	vectors.Load(t, "2-ethereum/ethereum-tests-transactions.json", &v)
	accepted, refused := 0, 0
	for _, c := range v.Cases {
		want, ok := c.Result["Cancun"]
		if !ok {
			want = c.Result["London"]
		}
		raw := unhex(t, c.TxBytes)
		// One sample is "signed" by two zeros: that is EIP-155's unsigned form.
		if _, err := decodeTransaction(rawPayload(toHex(raw)), mainnet(t)); err == nil && !strings.Contains(c.ID, "/ZeroSig") {
			t.Errorf("%s: accepted as it is, signed", c.ID)
		}
		stripped, err := strip(raw, rlp.RawValue{1})
		if want.Exception == "" {
			if err != nil {
				t.Fatal(err)
			}
			accepted++
			checkAccepted(t, c.ID, stripped, want)
			continue
		}
		if err != nil || aboutSignature(c.ID, want.Exception) {
			continue
		}
		refused++
		if _, err := decodeTransaction(rawPayload(toHex(stripped)), mainnet(t)); err == nil {
			t.Errorf("%s: accepted in spite of %s", c.ID, want.Exception)
		}
	}
	if accepted < 20 || refused < 25 {
		t.Fatalf("only %d accepted and %d refused cases tested", accepted, refused)
	}
}

func checkAccepted(t *testing.T, id string, raw []byte, want consensusResult) {
	t.Helper()
	tx, err := ethereum.DecodeForm(rawPayload(toHex(raw)), mainnet(t))
	if err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	if gas := ethereum.IntrinsicGas(tx).String(); gas != decimal(t, want.IntrinsicGas) {
		t.Errorf("%s: intrinsic gas %s, want %s", id, gas, want.IntrinsicGas)
	}
}

// TestConsensusRLP: none of ethereum/tests' RLP samples is a transaction.
func TestConsensusRLP(t *testing.T) {
	var v struct {
		Cases []struct{ ID, Out string }
	}
	vectors.Load(t, "2-ethereum/ethereum-tests-rlp.json", &v)
	for _, c := range v.Cases {
		if _, err := decodeTransaction(rawPayload(c.Out), mainnet(t)); err == nil {
			t.Errorf("%s accepted", c.ID)
		}
	}
}

// TestRealTransactions decodes the transactions of well-known applications: of
// the unsigned ones the digest is that of their bytes; the signed ones among
// them are refused.
func TestRealTransactions(t *testing.T) {
	var v struct {
		Cases []struct{ ID, RawTx string }
	}
	vectors.Load(t, "6-chain/erc7730-raw-tx.json", &v)
	decoded := 0
	for _, c := range v.Cases {
		raw := unhex(t, c.RawTx)
		account := accountOf(t, &privateKey(t, testKey).PublicKey, rawChainID(t, raw))
		tx, err := ethereum.DecodeForm(rawPayload(c.RawTx), account)
		if isSigned(raw) {
			if !errors.Is(err, ethereum.ErrEncoding) && !errors.Is(err, ethereum.ErrChainID) {
				t.Errorf("%s is signed: %v", c.ID, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.ID, err)
			continue
		}
		decoded++
		if got := toHex(tx.Digests()[0].Value); got != toHex(crypto.Keccak256(raw)) {
			t.Errorf("%s: digest %s", c.ID, got)
		}
	}
	if decoded < 70 {
		t.Fatalf("only %d decoded", decoded)
	}
}

// isSigned tells signed transactions from unsigned ones, of which EIP-155's
// can be read as signed by zeros.
func isSigned(raw []byte) bool {
	var tx types.Transaction
	if tx.UnmarshalBinary(raw) != nil {
		return false
	}
	_, r, _ := tx.RawSignatureValues()
	return r.Sign() != 0
}

// rawChainID reads the chain id out of unsigned RLP; 1 where there is none.
func rawChainID(t *testing.T, raw []byte) uint64 {
	t.Helper()
	at := 0
	if raw[0] >= 0xc0 {
		at = 6
	} else {
		raw = raw[1:]
	}
	var items []rlp.RawValue
	if err := rlp.DecodeBytes(raw, &items); err != nil {
		t.Fatal(err)
	}
	if at >= len(items) {
		return 1
	}
	var id uint64
	if err := rlp.DecodeBytes(items[at], &id); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestWycheproofSecp256k1 holds the verification that stands before every
// output against Wycheproof's vectors for Bitcoin, which want low S as
// Ethereum does. Either recovery id may be the right one.
func TestWycheproofSecp256k1(t *testing.T) {
	var v struct {
		Cases []struct{ ID, PublicKey, Comment, Msg, Sig, Result string }
	}
	vectors.Load(t, "4-crypto/wycheproof-ecdsa-secp256k1-bitcoin.json", &v)
	valid, invalid := 0, 0
	for _, c := range v.Cases {
		public, err := crypto.UnmarshalPubkey(unhex(t, c.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		signature, ok := vectors.Raw(unhex(t, c.Sig))
		if !ok {
			continue // The fault is in the DER, which has no place here.
		}
		digest := sha256.Sum256(unhex(t, c.Msg))
		good := false
		for recovery := range byte(2) {
			err := ethereum.VerifySignature(accountOf(t, public, 1), digest[:], append(signature, recovery))
			good = good || err == nil
		}
		if good != (c.Result == "valid") {
			t.Errorf("%s (%s): %v, want %s", c.ID, c.Comment, good, c.Result)
		}
		if good {
			valid++
		} else {
			invalid++
		}
	}
	if valid < 5 || invalid < 5 {
		t.Fatalf("only %d valid, %d invalid", valid, invalid)
	}
}

// TestRFC6979 holds the library that keys sign by against the deterministic
// vectors, and the verification against those that must not verify.
func TestRFC6979(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Kind, D, Message string
			Signature            struct{ R, S string }
		}
	}
	vectors.Load(t, "2-ethereum/rfc6979-secp256k1.json", &v)
	for _, c := range v.Cases {
		if c.Signature.R == "" || strings.HasPrefix(c.Signature.R+c.Signature.S, "-") || strings.HasPrefix(c.Signature.S, "-") {
			continue
		}
		d, _ := new(big.Int).SetString(c.D, 16)
		key, err := crypto.ToECDSA(d.FillBytes(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte(c.Message))
		r, _ := new(big.Int).SetString(c.Signature.R, 16)
		s, _ := new(big.Int).SetString(c.Signature.S, 16)
		want := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		if strings.HasPrefix(c.Kind, "sign") {
			got, err := crypto.Sign(digest[:], key)
			if err != nil || string(got[:64]) != string(want) {
				t.Errorf("%s: signature %x, %v; want %x", c.ID, got, err, want)
			}
			continue
		}
		for recovery := range byte(2) {
			if ethereum.VerifySignature(accountOf(t, &key.PublicKey, 1), digest[:], append(want, recovery)) == nil {
				t.Errorf("%s verifies", c.ID)
			}
		}
	}
}
