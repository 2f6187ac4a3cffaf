package trial

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/strictyaml"
	"github.com/countersign/countersign/policy/document"
)

// ErrCases says that a file of cases is not as it must be.
var ErrCases = errors.New("not a file of cases")

// Cases is a file of cases in YAML.
type Cases struct {
	// Lists are the files of the document's lists, beside this file.
	Lists []string `yaml:"lists,omitempty"`
	// Names are names for addresses, for this file alone.
	Names map[string]string `yaml:"names,omitempty"`
	// Defaults are what cases leave out.
	Defaults Request `yaml:"defaults,omitempty"`
	// History is what was approved before every case, beside its own.
	History []Earlier `yaml:"history,omitempty"`
	Cases   []Case    `yaml:"cases"`
}

// Case is one request at one time, with what is to come of it.
type Case struct {
	Name    string        `yaml:"name"`
	At      document.Time `yaml:"at"`
	Request `yaml:",inline"`
	// History is what was approved before, oldest first.
	History []Earlier   `yaml:"history,omitempty"`
	Expect  Expectation `yaml:"expect"`
}

// Earlier is a request that every role approved some time before the case. Times
// makes it so many, all at that time; one where it is left out.
type Earlier struct {
	Ago     time.Duration `yaml:"ago"`
	Times   *int          `yaml:"times,omitempty"`
	Request `yaml:",inline"`
}

// Request is what a user asks for. Exactly one of Transaction, TypedData and
// Message is given, or none for a kind that creates something.
type Request struct {
	User string `yaml:"user,omitempty"`
	// Kind follows from the rest where it is left out.
	Kind    message.Kind `yaml:"kind,omitempty"`
	Wallet  Wallet       `yaml:"wallet,omitempty"`
	Account Account      `yaml:"account,omitempty"`
	// Open is how long the request is open; an hour where it is left out.
	Open        time.Duration `yaml:"open,omitempty"`
	Transaction *Transaction  `yaml:"transaction,omitempty"`
	// TypedData is EIP-712 typed data in JSON, as wallets give it.
	TypedData string  `yaml:"typed_data,omitempty"`
	Message   *string `yaml:"message,omitempty"`
}

// Wallet is a made-up wallet. ID is its id, or any name for one.
type Wallet struct {
	ID    string `yaml:"id,omitempty"`
	Owner string `yaml:"owner,omitempty"`
}

// Account is a made-up account of the wallet, on a CAIP-2 chain. ID is any name.
type Account struct {
	ID    string `yaml:"id,omitempty"`
	Chain string `yaml:"chain,omitempty"`
}

// Transaction is an Ethereum transaction. An amount is in base units, or a number
// with the name of one of the document's assets, "gwei" or "wei": 1.5 eth. An
// address is 0x..., or one of the file's names, or a label of the document's
// lists. What is left out of nonce, gas and fees is filled in with usual values.
type Transaction struct {
	// Pay and Approve write to, value and data for the asset of their amount.
	Pay            *Payment `yaml:"pay,omitempty"`
	Approve        *Payment `yaml:"approve,omitempty"`
	To             string   `yaml:"to,omitempty"`
	Value          string   `yaml:"value,omitempty"`
	Data           string   `yaml:"data,omitempty"`
	Nonce          *uint64  `yaml:"nonce,omitempty"`
	GasLimit       uint64   `yaml:"gas_limit,omitempty"`
	GasPrice       string   `yaml:"gas_price,omitempty"`
	MaxFee         string   `yaml:"max_fee,omitempty"`
	MaxPriorityFee string   `yaml:"max_priority_fee,omitempty"`
}

// Payment is an amount of an asset for somebody, such as "20000 usdc".
type Payment struct {
	To     string `yaml:"to"`
	Amount string `yaml:"amount"`
}

// Expectation is what is to come of a case. What is left out is not looked at.
type Expectation struct {
	Verdict Verdict `yaml:"verdict"`
	// Role is who says so, and Rule one of the rules that make it.
	Role string `yaml:"role,omitempty"`
	Rule string `yaml:"rule,omitempty"`
	// Reasons are codes that must be among the reasons.
	Reasons []string `yaml:"reasons,omitempty"`
	// Approvers and Quorum are whom the rule asks, and how many of them.
	Approvers []string `yaml:"approvers,omitempty"`
	Quorum    int      `yaml:"quorum,omitempty"`
}

// ParseCases reads a file of cases strictly: no unknown or repeated keys, no
// second document, and every case complete. It reports all faults at once.
func ParseCases(raw []byte) (*Cases, error) {
	var c Cases
	if err := strictyaml.Decode(raw, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCases, err)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCases, err)
	}
	return &c, nil
}

func (c *Cases) validate() error {
	if len(c.Cases) == 0 {
		return errors.New("there are no cases")
	}
	var faults []error
	seen := map[string]bool{}
	for i := range c.Cases {
		one := &c.Cases[i]
		one.History = append(slices.Clone(c.History), one.History...)
		one.fill(c.Defaults)
		if one.Name == "" || seen[one.Name] {
			faults = append(faults, fmt.Errorf("case %d: its name %q is empty or stands twice", i+1, one.Name))
		}
		seen[one.Name] = true
		for _, err := range one.faults() {
			faults = append(faults, fmt.Errorf("case %q: %w", one.Name, err))
		}
	}
	return errors.Join(faults...)
}

func (c *Case) fill(defaults Request) {
	c.Request.fill(defaults)
	for i := range c.History {
		c.History[i].fill(defaults)
		if c.History[i].Times == nil {
			c.History[i].Times = new(1)
		}
	}
}

// fill takes over who asks and on what, and never what is asked for.
func (r *Request) fill(from Request) {
	r.User = or(r.User, from.User)
	r.Wallet.ID, r.Wallet.Owner = or(r.Wallet.ID, from.Wallet.ID), or(r.Wallet.Owner, from.Wallet.Owner)
	r.Account.ID, r.Account.Chain = or(r.Account.ID, from.Account.ID), or(r.Account.Chain, from.Account.Chain)
	if r.Open == 0 {
		r.Open = from.Open
	}
	if r.Transaction != nil && from.Transaction != nil {
		r.Transaction.fill(*from.Transaction)
	}
	if r.Kind == "" {
		r.Kind = r.kind()
	}
}

// fill takes over gas and fees.
func (t *Transaction) fill(from Transaction) {
	if t.GasLimit == 0 {
		t.GasLimit = from.GasLimit
	}
	if t.GasPrice == "" && t.MaxFee == "" {
		t.GasPrice, t.MaxFee = from.GasPrice, from.MaxFee
	}
	if t.GasPrice == "" {
		t.MaxPriorityFee = or(t.MaxPriorityFee, from.MaxPriorityFee)
	}
}

func or(given, otherwise string) string {
	if given == "" {
		return otherwise
	}
	return given
}

// kind is what the request's content tells.
func (r *Request) kind() message.Kind {
	switch {
	case r.Transaction != nil:
		return message.KindEthereumTransaction
	case r.TypedData != "":
		return message.KindEthereumTypedData
	case r.Message != nil:
		return message.KindEthereumMessage
	}
	return ""
}

func (c *Case) faults() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.At.IsZero() {
		fault("at is missing")
	}
	if _, ok := severity[c.Expect.Verdict]; !ok {
		fault("expect: verdict %q is none of allow, ask, deny", c.Expect.Verdict)
	}
	if c.Expect.Role != "" && !slices.Contains(roles, c.Expect.Role) {
		fault("expect: role %q is none of %v", c.Expect.Role, roles)
	}
	if (len(c.Expect.Approvers) > 0 || c.Expect.Quorum > 0) && c.Expect.Rule == "" {
		fault("expect: approvers and quorum are those of a rule: name it")
	}
	for _, err := range c.Request.faults() {
		fault("%w", err)
	}
	for i, earlier := range c.History {
		for _, err := range earlier.faults() {
			fault("history %d: %w", i+1, err)
		}
		if *earlier.Times < 1 {
			fault("history %d: times must be 1 or more", i+1)
		}
		if earlier.Ago <= 0 || (i > 0 && earlier.Ago > c.History[i-1].Ago) {
			fault("history %d: ago must be above 0, and the oldest stands first", i+1)
		}
	}
	return faults
}

func (r *Request) faults() (faults []error) {
	if r.User == "" {
		faults = append(faults, errors.New("user is missing"))
	}
	if t := r.Transaction; t != nil && t.GasPrice != "" && t.MaxFee+t.MaxPriorityFee != "" {
		faults = append(faults, errors.New("gas_price is of another type of transaction than max_fee and max_priority_fee"))
	}
	given := 0
	for _, is := range []bool{r.Transaction != nil, r.TypedData != "", r.Message != nil} {
		if is {
			given++
		}
	}
	creates := r.Kind == message.KindWalletCreate || r.Kind == message.KindAccountCreate
	switch {
	case given > 1 || (given == 1 && creates):
		faults = append(faults, errors.New("only one of transaction, typed_data and message can be asked for"))
	case given == 0 && !creates:
		faults = append(faults, fmt.Errorf("kind %q: transaction, typed_data or message is missing", r.Kind))
	case given == 1 && r.Kind != r.kind():
		faults = append(faults, fmt.Errorf("kind %q does not fit what is asked for", r.Kind))
	}
	return faults
}
