package ethereum

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
)

// The names of the transaction types in payloads.
const (
	typeLegacy     = "legacy"
	typeAccessList = "eip2930"
	typeDynamicFee = "eip1559"
)

// payload is the JSON of an ethereum.transaction: either raw alone, or the
// fields of its type. Numbers are decimal strings, bytes are 0x hex. Absent
// members are nil, so that an empty one is not taken for an absent one.
type payload struct {
	Raw         *string      `json:"raw,omitempty"`
	Type        *string      `json:"type,omitempty"`
	ChainID     *string      `json:"chain_id,omitempty"`
	Nonce       *string      `json:"nonce,omitempty"`
	GasLimit    *string      `json:"gas_limit,omitempty"`
	GasPrice    *string      `json:"gas_price,omitempty"`
	MaxFee      *string      `json:"max_fee_per_gas,omitempty"`
	MaxPriority *string      `json:"max_priority_fee_per_gas,omitempty"`
	To          *string      `json:"to,omitempty"`
	Value       *string      `json:"value,omitempty"`
	Data        *string      `json:"data,omitempty"`
	AccessList  *[]accessKey `json:"access_list,omitempty"`
}

type accessKey struct {
	Address     string   `json:"address"`
	StorageKeys []string `json:"storage_keys"`
}

// parse reads a payload of either form into a transaction whose unsigned
// encoding is canonical. It judges form only; checkSense judges the rest.
func parse(raw jsontext.Value, who sender) (*Transaction, error) {
	var p payload
	if err := decode(raw, &p); err != nil {
		return nil, err
	}
	if p.Raw != nil {
		return parseRaw(p, who)
	}
	inner, err := p.transaction(who.chainID)
	if err != nil {
		return nil, err
	}
	return newTransaction(inner, nil, who)
}

// decode refuses null beside what DecodeStrict refuses: some parsers take it
// for an absent member, others for an empty one.
func decode(raw jsontext.Value, v any) error {
	if err := message.DecodeStrict(raw, v); err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if !bytes.Contains(raw, []byte("null")) {
		return nil // a null has no other spelling
	}
	var members map[string]jsontext.Value
	if err := message.DecodeStrict(raw, &members); err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) { // all instances say the same
		if members[name].Kind() == 'n' {
			return fmt.Errorf("%w: %q is null", ErrPayload, name)
		}
	}
	return nil
}

func parseRaw(p payload, who sender) (*Transaction, error) {
	text := *p.Raw
	p.Raw = nil
	if p != (payload{}) {
		return nil, fmt.Errorf("%w: raw stands beside other members", ErrPayload)
	}
	raw, err := parseHex(text)
	if err != nil {
		return nil, fmt.Errorf("raw: %w", err)
	}
	inner, err := decodeUnsigned(raw, who.chainID)
	if err != nil {
		return nil, err
	}
	return newTransaction(inner, raw, who)
}

// transaction reads the fields. Errors are collected by the reader, so that
// the first one is reported.
func (p payload) transaction(chainID uint64) (*types.Transaction, error) {
	r := &reader{}
	if p.ChainID != nil && r.number("chain_id", p.ChainID).Cmp(new(big.Int).SetUint64(chainID)) != 0 {
		return nil, r.or(fmt.Errorf("%w: chain_id is %s, the account's is %d", ErrChainID, *p.ChainID, chainID))
	}
	var data types.TxData
	switch kind := r.text("type", p.Type); kind {
	case typeLegacy:
		r.forbid(p.MaxFee != nil || p.MaxPriority != nil || p.AccessList != nil, typeLegacy)
		data = &types.LegacyTx{
			Nonce: r.uint64("nonce", p.Nonce), GasPrice: r.number("gas_price", p.GasPrice),
			Gas: r.uint64("gas_limit", p.GasLimit), To: r.to(p.To), Value: r.value(p.Value), Data: r.data(p.Data),
		}
	case typeAccessList:
		r.forbid(p.MaxFee != nil || p.MaxPriority != nil, typeAccessList)
		data = &types.AccessListTx{
			ChainID: new(big.Int).SetUint64(chainID),
			Nonce:   r.uint64("nonce", p.Nonce), GasPrice: r.number("gas_price", p.GasPrice),
			Gas: r.uint64("gas_limit", p.GasLimit), To: r.to(p.To), Value: r.value(p.Value), Data: r.data(p.Data),
			AccessList: r.accessList(p.AccessList),
		}
	case typeDynamicFee:
		r.forbid(p.GasPrice != nil, typeDynamicFee)
		data = &types.DynamicFeeTx{
			ChainID: new(big.Int).SetUint64(chainID),
			Nonce:   r.uint64("nonce", p.Nonce), GasFeeCap: r.number("max_fee_per_gas", p.MaxFee),
			GasTipCap: r.number("max_priority_fee_per_gas", p.MaxPriority),
			Gas:       r.uint64("gas_limit", p.GasLimit), To: r.to(p.To), Value: r.value(p.Value), Data: r.data(p.Data),
			AccessList: r.accessList(p.AccessList),
		}
	default:
		return nil, r.or(fmt.Errorf("%w: %q", ErrType, kind))
	}
	if r.err != nil {
		return nil, r.err
	}
	return types.NewTx(data), nil
}

// reader reads members and keeps the first error.
type reader struct{ err error }

func (r *reader) or(err error) error {
	if r.err != nil {
		return r.err
	}
	return err
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) forbid(given bool, kind string) {
	if given {
		r.fail(fmt.Errorf("%w: a member does not belong to type %s", ErrPayload, kind))
	}
}

func (r *reader) text(name string, s *string) string {
	if s == nil {
		r.fail(fmt.Errorf("%w: %s is missing", ErrPayload, name))
		return ""
	}
	return *s
}

func (r *reader) number(name string, s *string) *big.Int {
	n, err := parseDecimal(r.text(name, s))
	if err != nil {
		r.fail(fmt.Errorf("%s: %w", name, err))
		return new(big.Int)
	}
	return n
}

func (r *reader) uint64(name string, s *string) uint64 {
	n := r.number(name, s)
	if !n.IsUint64() {
		r.fail(fmt.Errorf("%s: %w: more than 64 bits", name, ErrRange))
	}
	return n.Uint64()
}

// value is zero where it is absent.
func (r *reader) value(s *string) *big.Int {
	if s == nil {
		return new(big.Int)
	}
	return r.number("value", s)
}

// to is nil where it is absent: a contract creation.
func (r *reader) to(s *string) *common.Address {
	if s == nil {
		return nil
	}
	address, err := parseAddress(*s)
	if err != nil {
		r.fail(fmt.Errorf("to: %w", err))
	}
	return &address
}

func (r *reader) data(s *string) []byte {
	if s == nil {
		return nil
	}
	b, err := parseHex(*s)
	if err != nil {
		r.fail(fmt.Errorf("data: %w", err))
	}
	return b
}

func (r *reader) accessList(list *[]accessKey) types.AccessList {
	out := types.AccessList{}
	if list == nil {
		return out
	}
	for _, entry := range *list {
		address, err := parseAddress(entry.Address)
		if err != nil {
			r.fail(fmt.Errorf("access_list: %w", err))
		}
		keys := []common.Hash{}
		for _, text := range entry.StorageKeys {
			key, err := parseHex(text)
			if err != nil || len(key) != common.HashLength {
				r.fail(fmt.Errorf("%w: access_list: storage key is not 32 bytes of 0x hex", ErrPayload))
			}
			keys = append(keys, common.BytesToHash(key))
		}
		out = append(out, types.AccessTuple{Address: address, StorageKeys: keys})
	}
	return out
}

// maxDecimal is the number of digits of 2^256-1.
const maxDecimal = 78

// parseDecimal reads an amount below 2^256: digits only, no leading zero.
func parseDecimal(s string) (*big.Int, error) {
	if s == "" || len(s) > maxDecimal || strings.Trim(s, "0123456789") != "" || (len(s) > 1 && s[0] == '0') {
		return nil, fmt.Errorf("%w: not a decimal number without leading zeros", ErrPayload)
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.BitLen() > 256 {
		return nil, fmt.Errorf("%w: 2^256 or more", ErrRange)
	}
	return n, nil
}

// parseHex reads whole bytes behind "0x".
func parseHex(s string) ([]byte, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return nil, fmt.Errorf("%w: hex does not begin with 0x", ErrPayload)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%w: not whole bytes of hex", ErrPayload)
	}
	return b, nil
}

// parseAddress reads 20 bytes of hex. Mixed case is a checksum (EIP-55) and
// must be right; one case alone carries none.
func parseAddress(s string) (common.Address, error) {
	b, err := parseHex(s)
	if err != nil || len(b) != common.AddressLength {
		return common.Address{}, fmt.Errorf("%w: not 20 bytes of 0x hex", ErrAddress)
	}
	address := common.BytesToAddress(b)
	digits := s[len("0x"):]
	mixed := digits != strings.ToLower(digits) && digits != strings.ToUpper(digits)
	if mixed && address.Hex() != s {
		return common.Address{}, fmt.Errorf("%w: EIP-55 checksum does not hold", ErrAddress)
	}
	return address, nil
}
