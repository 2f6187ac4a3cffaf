package ethereum

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// TypedData is a decoded ethereum.typed-data: EIP-712 as eth_signTypedData_v4
// takes it. The prefix 0x1901 keeps its digest from being a transaction's or a
// message's.
type TypedData struct {
	from    sender
	digest  message.Digest
	effects transaction.Effects
}

// typedPayload is the JSON of an ethereum.typed-data.
type typedPayload struct {
	TypedData *typedJSON `json:"typed_data"`
}

type typedJSON struct {
	Types       map[string][]member `json:"types"`
	PrimaryType string              `json:"primaryType"`
	Domain      jsontext.Value      `json:"domain"`
	Message     jsontext.Value      `json:"message"`
}

// typed is typed data that has been read by its types.
type typed struct {
	types           *structs
	primary, domain *valueType
	message, values []any // values are the domain's
}

func parseTypedData(raw jsontext.Value, who sender) (*TypedData, error) {
	var p typedPayload
	if err := decode(raw, &p); err != nil {
		return nil, err
	}
	if p.TypedData == nil {
		return nil, fmt.Errorf("%w: typed_data is missing", ErrPayload)
	}
	if err := refuseNulls(raw); err != nil {
		return nil, err
	}
	t, err := p.TypedData.read()
	if err != nil {
		return nil, err
	}
	about := t.about(who)
	if id := about.ChainID; id != nil && id.Cmp(new(big.Int).SetUint64(who.chainID)) != 0 {
		return nil, fmt.Errorf("%w: the domain's is %s, the account's is %d", ErrChainID, clip(id), who.chainID)
	}
	digest, err := t.digest()
	if err != nil {
		return nil, err
	}
	return &TypedData{
		from: who, effects: typedEffects(t, about, who),
		digest: message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest},
	}, nil
}

// refuseNulls finds a null at any depth: some programs take it for an absent
// member, or for an empty one.
func refuseNulls(raw jsontext.Value) error {
	if !bytes.Contains(raw, []byte("null")) {
		return nil
	}
	tokens := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := tokens.ReadToken()
		if err != nil {
			return nil // the end: it has been read before
		}
		if token.Kind() == 'n' {
			return fmt.Errorf("%w: null", ErrTypedData)
		}
	}
}

func (j typedJSON) read() (*typed, error) {
	types, err := readTypes(j.Types, j.PrimaryType)
	if err != nil {
		return nil, err
	}
	t := &typed{types: types, primary: types.done[j.PrimaryType], domain: types.done[domainType]}
	r := &valueReader{left: maxValues}
	domain, err := r.read(t.domain, j.Domain, 0)
	if err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	content, err := r.read(t.primary, j.Message, 0)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	t.values, t.message = domain.([]any), content.([]any)
	return t, nil
}

// about is what people and rules see of the typed data.
func (t *typed) about(who sender) *transaction.Typed {
	out := &transaction.Typed{PrimaryType: t.primary.text, Message: t.primary.jsonValue(nil, t.message)}
	for i, f := range t.domain.fields {
		switch v := t.values[i].(type) {
		case string:
			if f.name == "name" {
				out.Name = v
			} else {
				out.Version = v
			}
		case *big.Int:
			out.ChainID = v
		case common.Address:
			out.Contract = lower(v)
		}
	}
	if out.Contract != "" && out.ChainID != nil {
		out.Contract = who.chain + ":" + out.Contract
	}
	return out
}

// contract is the domain's verifying contract.
func (t *typed) contract() (common.Address, bool) {
	for _, v := range t.values {
		if address, ok := v.(common.Address); ok {
			return address, true
		}
	}
	return common.Address{}, false
}

// digest is keccak256(0x19 0x01 || domain separator || hash of the message),
// by our own reading and by go-ethereum's, which must agree.
func (t *typed) digest() ([]byte, error) {
	ours := crypto.Keccak256([]byte{0x19, 0x01}, t.domain.hashStruct(t.values), t.primary.hashStruct(t.message))
	theirs, err := t.gethDigest()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTypedData, err)
	}
	if !bytes.Equal(ours, theirs) {
		return nil, fmt.Errorf("%w: two encoders disagree", ErrTypedData)
	}
	return ours, nil
}

func (t *typed) gethDigest() ([]byte, error) {
	data := apitypes.TypedData{Types: apitypes.Types{}, PrimaryType: t.primary.text}
	for name, members := range t.types.given {
		for _, m := range members {
			data.Types[name] = append(data.Types[name], apitypes.Type(m))
		}
	}
	// Hashed is what is given to HashStruct; this only says that there is one.
	data.Domain.Name = domainType
	domain, _ := gethValue(t.domain, t.values).(map[string]any)
	separator, err := data.HashStruct(domainType, domain)
	if err != nil {
		return nil, errGeth
	}
	content, _ := gethValue(t.primary, t.message).(map[string]any)
	hash, err := data.HashStruct(t.primary.text, content)
	if err != nil {
		return nil, errGeth
	}
	return crypto.Keccak256([]byte{0x19, 0x01}, separator, hash), nil
}

// errGeth stands for go-ethereum's own errors, which repeat values.
var errGeth = fmt.Errorf("%w: go-ethereum refuses it", ErrTypedData)

// gethValue is a value in the form that go-ethereum hashes.
func gethValue(t *valueType, value any) any {
	switch v := value.(type) {
	case common.Address:
		return v.Hex()
	case []any:
		if t.kind == kindTuple {
			out := make(map[string]any, len(v))
			for i, f := range t.fields {
				out[f.name] = gethValue(f.typ, v[i])
			}
			return out
		}
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = gethValue(t.elem, element)
		}
		return out
	}
	return value
}

// Effects says what the signature lets others do, as far as it is known.
func (d *TypedData) Effects() transaction.Effects { return d.effects }

// Digests returns the one digest to be signed.
func (d *TypedData) Digests() []message.Digest { return []message.Digest{d.digest} }
