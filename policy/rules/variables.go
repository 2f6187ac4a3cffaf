package rules

import (
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// Variable is a name that conditions may read. Of says which requests have it;
// for others reading it is an error, so that the rule denies.
type Variable struct {
	Name string
	Type *types.Type
	Of   Of
	Doc  string

	read func(e *evaluation) ref.Val
}

// Of says which requests have a variable.
type Of string

// What variables are of. Effects are those of transactions and of typed data,
// such as a permit.
const (
	OfAll          Of = "all"
	OfUser         Of = "all, where the user is known"
	OfWallet       Of = "those about a wallet"
	OfAccount      Of = "those about an account"
	OfSigned       Of = "transactions, messages, typed data"
	OfTransactions Of = "transactions"
	OfMessages     Of = "messages"
	OfTypedData    Of = "typed data"
	// OfFees are transactions that name a priority fee.
	OfFees Of = "transactions with a priority fee (EIP-1559)"
)

var stringList = types.NewListType(types.StringType)

// variables is the table of all variables.
func variables() []Variable {
	return append(append(requestVariables(), transactionVariables()...), typedVariables()...)
}

// Variables returns what conditions may read, for documentation.
func Variables() []Variable { return variables() }

func requestVariables() []Variable {
	return []Variable{
		{"now", types.TimestampType, OfAll, "when the role decides; `now.getHours(\"Europe/Zurich\")` and its like take a named zone",
			func(e *evaluation) ref.Val { return types.Timestamp{Time: e.facts.Now} }},
		{"request.id", types.StringType, OfAll, "the request's id (UUIDv7)",
			func(e *evaluation) ref.Val { return types.String(e.statement().ID) }},
		{"request.kind", types.StringType, OfAll, "such as `ethereum.transaction`",
			func(e *evaluation) ref.Val { return types.String(e.statement().Kind) }},
		{"request.expires", types.TimestampType, OfAll, "when the request ends",
			func(e *evaluation) ref.Val { return types.Timestamp{Time: e.statement().Expires.Time} }},
		{"user.id", types.StringType, OfUser, "who asks",
			func(e *evaluation) ref.Val { return e.text("user.id", e.facts.User.ID) }},
		{"user.groups", stringList, OfUser, "the groups that the user is in",
			func(e *evaluation) ref.Val { return e.userGroups() }},
		{"wallet.id", types.StringType, OfWallet, "64 hex digits",
			func(e *evaluation) ref.Val { return e.text("wallet.id", e.facts.Meaning.Wallet) }},
		{"wallet.owner", types.StringType, OfWallet, "the user id of the owner",
			func(e *evaluation) ref.Val { return e.text("wallet.owner", e.facts.Meaning.Owner()) }},
		{"account.id", types.StringType, OfAccount, "64 hex digits",
			func(e *evaluation) ref.Val { return e.text("account.id", e.facts.Meaning.Account) }},
		{"account.address", types.StringType, OfAccount, "CAIP-10; not of account.create, which has none yet",
			func(e *evaluation) ref.Val { return e.text("account.address", e.facts.Meaning.Address()) }},
		{"account.chain", types.StringType, OfAccount, "CAIP-2, such as `eip155:1`",
			func(e *evaluation) ref.Val { return e.text("account.chain", chain(e.facts.Meaning)) }},
	}
}

func transactionVariables() []Variable {
	return []Variable{
		{"tx.form", types.StringType, OfSigned, "`legacy`, `eip2930`, `eip1559`, `eip191` or `eip712`",
			details("tx.form", func(d *transaction.Details) ref.Val { return types.String(d.Form) })},
		{"tx.chain", types.StringType, OfSigned, "CAIP-2",
			details("tx.chain", func(d *transaction.Details) ref.Val { return types.String(d.Chain) })},
		{"tx.from", types.StringType, OfSigned, "the account that signs (CAIP-10)",
			details("tx.from", func(d *transaction.Details) ref.Val { return types.String(d.From) })},
		{"tx.to", types.StringType, OfTransactions, "the account that is called; empty for a contract creation",
			written("tx.to", func(d *transaction.Details) ref.Val { return types.String(d.To) })},
		{"tx.value", amountType, OfTransactions, "of the native asset",
			written("tx.value", func(d *transaction.Details) ref.Val { return newAmount(d.Value) })},
		{"tx.nonce", types.UintType, OfTransactions, "",
			written("tx.nonce", nonce)},
		{"tx.gas_limit", types.UintType, OfTransactions, "",
			written("tx.gas_limit", func(d *transaction.Details) ref.Val { return types.Uint(d.GasLimit) })},
		{"tx.fee_per_gas", amountType, OfTransactions, "the highest, in base units",
			written("tx.fee_per_gas", func(d *transaction.Details) ref.Val { return newAmount(d.FeePerGas) })},
		{"tx.priority_fee_per_gas", amountType, OfFees, "the highest, in base units",
			written("tx.priority_fee_per_gas", priorityFee)},
		{"tx.fee", amountType, OfTransactions, "the most that the sender can pay beside the moves",
			func(e *evaluation) ref.Val { return e.fee() }},
		{"tx.cost", amountType, OfTransactions, "`tx.value` and `tx.fee`: the most of the native asset that can leave",
			func(e *evaluation) ref.Val { return e.cost() }},
		{"tx.creates_contract", types.BoolType, OfTransactions, "",
			written("tx.creates_contract", func(d *transaction.Details) ref.Val { return types.Bool(d.Creates) })},
		{"tx.data_size", types.IntType, OfTransactions, "bytes",
			written("tx.data_size", func(d *transaction.Details) ref.Val { return types.Int(len(d.Data)) })},
		{"tx.selector", types.StringType, OfTransactions, "0x and the first 4 bytes of the data, or fewer",
			written("tx.selector", func(d *transaction.Details) ref.Val { return selector(d.Data) })},
		{"tx.moves", types.NewListType(moveStruct.object), OfSigned, "all that moves, token transfers in calldata too",
			effects("tx.moves", (*evaluation).moves)},
		{"tx.allowances", types.NewListType(allowanceStruct.object), OfSigned, "all that others may take later, permits too",
			effects("tx.allowances", (*evaluation).allowances)},
		{"tx.calls", types.NewListType(callStruct.object), OfSigned, "all calls that it is known to make, the outermost first, and before them what is not understood and no call: a contract creation, typed data, a message",
			effects("tx.calls", (*evaluation).calls)},
		{"tx.unknown", types.NewListType(callStruct.object), OfSigned, "what of `tx.calls` is not understood",
			effects("tx.unknown", (*evaluation).unknownCalls)},
		{"tx.amounts", types.NewListType(amountStruct.object), OfSigned,
			"per asset what is at risk: moves, allowances and the highest fee together",
			effects("tx.amounts", (*evaluation).amounts)},
		{"tx.destinations", stringList, OfSigned, "every account that receives, may take, or is called; each once",
			effects("tx.destinations", (*evaluation).destinationList)},
		{"tx.message", types.StringType, OfMessages, "the text to be signed; an error where it is no text",
			func(e *evaluation) ref.Val { return e.message() }},
	}
}

func typedVariables() []Variable {
	return []Variable{
		{"typed.primary_type", types.StringType, OfTypedData, "such as `Permit`",
			typed("typed.primary_type", func(t *transaction.Typed) ref.Val { return types.String(t.PrimaryType) })},
		{"typed.name", types.StringType, OfTypedData, "the domain's name; may be empty",
			typed("typed.name", func(t *transaction.Typed) ref.Val { return types.String(t.Name) })},
		{"typed.version", types.StringType, OfTypedData, "the domain's version; may be empty",
			typed("typed.version", func(t *transaction.Typed) ref.Val { return types.String(t.Version) })},
		{"typed.contract", types.StringType, OfTypedData, "the domain's contract (CAIP-10, or its address alone); may be empty",
			typed("typed.contract", func(t *transaction.Typed) ref.Val { return types.String(transaction.Canonical(t.Contract)) })},
		{"typed.message", types.NewMapType(types.StringType, types.DynType), OfTypedData,
			"the message; take amounts out of it with `amount(typed.message.value)`",
			typed("typed.message", func(t *transaction.Typed) ref.Val { return jsonObject(t.Message) })},
	}
}

// absent is the error of what a request does not have.
func absent(name string) ref.Val { return types.NewErr("the request has no %s", name) }

func (e *evaluation) statement() *message.Statement { return &e.facts.Meaning.Statement }

func (e *evaluation) text(name, value string) ref.Val {
	if value == "" {
		return absent(name)
	}
	return types.String(value)
}

// details reads what is written in anything that is signed.
func details(name string, read func(*transaction.Details) ref.Val) func(*evaluation) ref.Val {
	return func(e *evaluation) ref.Val {
		d := e.facts.Meaning.Effects.Details
		if d == nil {
			return absent(name)
		}
		return read(d)
	}
}

// written reads what only a transaction has: messages and typed data have no
// value, and a rule must not take "none" for zero.
func written(name string, read func(*transaction.Details) ref.Val) func(*evaluation) ref.Val {
	return details(name, func(d *transaction.Details) ref.Val {
		if d.Form == "eip191" || d.Form == "eip712" || d.Value == nil {
			return absent(name)
		}
		return read(d)
	})
}

func typed(name string, read func(*transaction.Typed) ref.Val) func(*evaluation) ref.Val {
	return details(name, func(d *transaction.Details) ref.Val {
		if d.Typed == nil {
			return absent(name)
		}
		return read(d.Typed)
	})
}

// effects reads what comes of the effects, which only what is signed has.
func effects(name string, read func(*evaluation) ref.Val) func(*evaluation) ref.Val {
	return func(e *evaluation) ref.Val {
		if !e.signs() {
			return absent(name)
		}
		return read(e)
	}
}

// signs says whether the request is for a signature, which has effects.
func (e *evaluation) signs() bool {
	m := &e.facts.Meaning
	return m.Transaction != nil || m.Effects.Details != nil
}

func nonce(d *transaction.Details) ref.Val {
	if d.Nonce == nil {
		return absent("tx.nonce")
	}
	return types.Uint(*d.Nonce)
}

func priorityFee(d *transaction.Details) ref.Val {
	if d.PriorityFeePerGas == nil {
		return absent("tx.priority_fee_per_gas")
	}
	return newAmount(d.PriorityFeePerGas)
}

func (e *evaluation) fee() ref.Val {
	if e.facts.Meaning.Effects.Fee == nil {
		return absent("tx.fee")
	}
	return newAmount(e.facts.Meaning.Effects.Fee)
}

func (e *evaluation) cost() ref.Val {
	value, fee := e.variable("tx.value"), e.fee()
	a, hasValue := value.(amount)
	if _, hasFee := fee.(amount); !hasValue || !hasFee {
		return absent("tx.cost")
	}
	return a.Add(fee)
}

func (e *evaluation) message() ref.Val {
	text := e.facts.Meaning.Effects.Message
	switch {
	case text == nil:
		return absent("tx.message")
	case !utf8.Valid(text):
		return types.NewErr("the message is no text")
	}
	return types.String(text)
}

func (e *evaluation) userGroups() ref.Val {
	if e.facts.User.ID == "" {
		return absent("user.groups")
	}
	return types.NewStringList(types.DefaultTypeAdapter, e.set.book.groupsOf(e.facts.User.ID))
}

func chain(m transaction.Meaning) string {
	switch {
	case m.AccountDescriptor != nil:
		return m.AccountDescriptor.Chain
	case m.AccountCreate != nil:
		return m.AccountCreate.Chain
	}
	return ""
}
