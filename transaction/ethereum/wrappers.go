package ethereum

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
)

func makeWrapperFunctions() map[[selectorSize]byte]wrapperFunction {
	out := map[[selectorSize]byte]wrapperFunction{}
	for text, calls := range map[string]func(call, []any) ([]call, bool){
		"multicall(bytes[] data)":                                                         selfCalls,
		"multicall(uint256 deadline,bytes[] data)":                                        selfCalls,
		"aggregate((address target,bytes data)[] calls)":                                  aggregate,
		"blockAndAggregate((address target,bytes data)[] calls)":                          aggregate,
		"tryAggregate(bool required,(address target,bytes data)[] calls)":                 aggregate,
		"tryBlockAndAggregate(bool required,(address target,bytes data)[] calls)":         aggregate,
		"aggregate3((address target,bool mayFail,bytes data)[] calls)":                    aggregate,
		"aggregate3Value((address target,bool mayFail,uint256 value,bytes data)[] calls)": aggregate,
		"execute(address to,uint256 value,bytes data)":                                    execute,
		"executeBatch(address[] to,bytes[] data)":                                         executeBatch,
		"executeBatch(address[] to,uint256[] value,bytes[] data)":                         executeBatch,
		"executeBatch((address to,uint256 value,bytes data)[] calls)":                     aggregate,
		"multiSend(bytes transactions)":                                                   multiSend,
		"execTransaction(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,uint256 gasPrice,address gasToken,address refundReceiver,bytes signatures)": execTransaction,
	} {
		f := mustFunction(text)
		out[f.Selector()] = wrapperFunction{f, calls}
	}
	return out
}

// multiSenders are the contracts of Safe that send several calls on, in
// versions 1.3.0 (each at two addresses) and 1.4.1. The address of each follows from its
// code, on all chains that build addresses as Ethereum does.
var multiSenders = map[common.Address]bool{
	common.HexToAddress("0x40A2aCCbd92BCA938b02010E17A5b8929b49130D"): true, // MultiSendCallOnly 1.3.0
	common.HexToAddress("0xA1dabEF33b3B82c7814B6D82A79e50F4AC44102B"): true, // the same, other deployer
	common.HexToAddress("0x9641d764fc13c8B624c04430C7356C1C7C8102e2"): true, // MultiSendCallOnly 1.4.1
	common.HexToAddress("0xA238CBeb142c10Ef7Ad8442C6D1f9E89e07e7761"): true, // MultiSend 1.3.0
	common.HexToAddress("0x998739BFdAAdde7C933B942a68053933098f9EDa"): true, // the same, other deployer
	common.HexToAddress("0x38869bf66a61cF6bDB996A6aE40D5853Fd43B526"): true, // MultiSend 1.4.1
}

// caller is who makes the calls inside a call: the contract that is called, or,
// by delegation, whose code it runs in place of.
func (c call) caller() common.Address {
	if c.delegate {
		return c.from
	}
	return c.to
}

// selfCalls are the calls that a contract makes of itself, for the one who
// called it and with the value that has moved already.
func selfCalls(c call, a []any) ([]call, bool) {
	var out []call
	for _, data := range a[len(a)-1].([]any) {
		inner := call{from: c.from, to: c.to, value: new(big.Int), data: data.([]byte)}
		if len(inner.data) == 0 {
			return nil, false
		}
		out = append(out, inner)
	}
	return out, true
}

// aggregate reads an array of tuples that begin with the target, end with the
// data and may have a value between them.
func aggregate(c call, a []any) ([]call, bool) {
	var out []call
	for _, item := range a[len(a)-1].([]any) {
		tuple := item.([]any)
		inner := call{from: c.caller(), to: tuple[0].(common.Address), value: new(big.Int), data: tuple[len(tuple)-1].([]byte)}
		if value, ok := tuple[len(tuple)-2].(*big.Int); ok {
			inner.value = value
		}
		out = append(out, inner)
	}
	return out, true
}

func execute(c call, a []any) ([]call, bool) {
	return []call{{from: c.caller(), to: a[0].(common.Address), value: a[1].(*big.Int), data: a[2].([]byte)}}, true
}

// executeBatch reads targets, values and data that stand in arrays of their
// own, of one length; no values at all are zeros.
func executeBatch(c call, a []any) ([]call, bool) {
	to, data := a[0].([]any), a[len(a)-1].([]any)
	var amounts []any
	if len(a) == 3 {
		amounts = a[1].([]any)
	}
	if len(to) != len(data) || (len(amounts) != 0 && len(amounts) != len(to)) {
		return nil, false
	}
	var out []call
	for i := range to {
		inner := call{from: c.caller(), to: to[i].(common.Address), value: new(big.Int), data: data[i].([]byte)}
		if len(amounts) > 0 {
			inner.value = amounts[i].(*big.Int)
		}
		out = append(out, inner)
	}
	return out, true
}

// Operations of Safe.
const (
	operationCall     = 0
	operationDelegate = 1
)

func execTransaction(c call, a []any) ([]call, bool) { return safeCall(c.caller(), a) }

// safeCall is what a Safe does for execTransaction's arguments, which the typed
// data SafeTx has too. Where a gas price is given, the Safe also pays somebody
// an amount that no argument bounds.
func safeCall(safe common.Address, a []any) ([]call, bool) {
	operation := a[3].(*big.Int).Uint64()
	if operation > operationDelegate {
		return nil, false
	}
	inner := call{
		from: safe, to: a[0].(common.Address), value: a[1].(*big.Int), data: a[2].([]byte),
		delegate: operation == operationDelegate,
	}
	return []call{inner}, a[6].(*big.Int).Sign() == 0
}

// multiSendHead is what stands in front of the data of each call of multiSend:
// operation (1 byte), address (20), value (32), length of the data (32).
const multiSendHead = 1 + common.AddressLength + 2*wordSize

// multiSend reads calls that stand one behind another without padding.
func multiSend(c call, a []any) ([]call, bool) {
	var out []call
	for rest := a[0].([]byte); len(rest) > 0; {
		if len(rest) < multiSendHead || rest[0] > operationDelegate {
			return out, false
		}
		length, ok := smallNumber(rest[multiSendHead-wordSize : multiSendHead])
		if !ok || length > len(rest)-multiSendHead {
			return out, false
		}
		inner := call{from: c.caller(), delegate: rest[0] == operationDelegate}
		inner.to = common.BytesToAddress(rest[1 : 1+common.AddressLength])
		inner.value = new(big.Int).SetBytes(rest[1+common.AddressLength : multiSendHead-wordSize])
		inner.data = rest[multiSendHead : multiSendHead+length]
		out, rest = append(out, inner), rest[multiSendHead+length:]
	}
	return out, true
}
