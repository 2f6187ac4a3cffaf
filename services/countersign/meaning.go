package main

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/go-json-experiment/json"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// oneDescriptor gives the descriptor that came with a request for whatever id
// is asked for; the interpreter checks that it is of that id. A false one
// would give false digests, and a vote on them is good for nothing.
type oneDescriptor []byte

func (d oneDescriptor) WalletDescriptor(context.Context, string) ([]byte, error)  { return d, nil }
func (d oneDescriptor) AccountDescriptor(context.Context, string) ([]byte, error) { return d, nil }

// interpret computes what a statement means from its bytes and the descriptor
// of its account.
func interpret(ctx context.Context, deployment message.Hash, statement, descriptor []byte) (transaction.Meaning, error) {
	var of struct {
		Roles      []string `json:"roles"`
		Generation int      `json:"generation"`
	}
	if err := json.Unmarshal(descriptor, &of); err != nil {
		return transaction.Meaning{}, fmt.Errorf("descriptor: %w", err)
	}
	return transaction.Interpreter{
		Deployment: deployment, Roles: of.Roles, Generation: of.Generation,
		Chains: map[string]transaction.Chain{"eip155": ethereum.New()}, Descriptors: oneDescriptor(descriptor),
	}.Interpret(ctx, statement)
}

// describe says in words what a request does.
func describe(m transaction.Meaning) []string {
	var out []string
	switch {
	case m.WalletCreate != nil:
		out = append(out, fmt.Sprintf("make a wallet for %q, labelled %q", m.WalletCreate.Owner, m.WalletCreate.Label))
	case m.AccountCreate != nil:
		out = append(out, fmt.Sprintf("derive account %s on %s in wallet %s", m.AccountCreate.Path, m.AccountCreate.Chain, m.Wallet))
	case m.PolicyUpdate != nil:
		out = append(out, describeUpdate(*m.PolicyUpdate))
	case m.Freeze != nil && m.Freeze.User != "":
		out = append(out, fmt.Sprintf("stop user %q: %q", m.Freeze.User, m.Freeze.Reason))
	case m.Freeze != nil:
		out = append(out, fmt.Sprintf("stop wallet %s: %q", m.Freeze.Wallet, m.Freeze.Reason))
	}
	e := m.Effects
	for _, v := range e.Moves {
		out = append(out, fmt.Sprintf("move %s of %s from %s to %s", v.Amount, v.Asset, v.From, v.To))
	}
	for _, v := range e.Allowances {
		out = append(out, fmt.Sprintf("let %s take up to %s of %s", v.Spender, v.Amount, v.Asset))
	}
	out = append(out, describeUnknown(e)...)
	if e.Fee != nil {
		out = append(out, fmt.Sprintf("pay a fee of at most %s of %s", e.Fee, e.FeeAsset))
	}
	if e.Message != nil {
		// Its digest is the same for every account, so the account is named.
		out = append(out, fmt.Sprintf("sign the message %q with account %s of wallet %s", e.Message, m.Account, m.Wallet))
	}
	return append(out, describeDetails(m)...)
}

// describeUnknown says loudly what nobody can tell.
func describeUnknown(e transaction.Effects) []string {
	var out []string
	for _, v := range e.Unknown {
		if e.Details != nil && e.Details.Typed != nil && len(e.Details.Calls) == 0 {
			out = append(out, fmt.Sprintf("UNKNOWN TYPED DATA for %q, type hash %x...: nobody can tell what it allows", v.To, v.Selector))
			continue
		}
		out = append(out, fmt.Sprintf("UNKNOWN CALL to %q, selector %x, %d bytes: nobody can tell what it does", v.To, v.Selector, v.Size))
	}
	return out
}

// describeDetails says what calls are made, and what typed data says.
func describeDetails(m transaction.Meaning) []string {
	d := m.Effects.Details
	if d == nil {
		return nil
	}
	var out []string
	for _, c := range d.Calls {
		verb, name := "call", c.Function
		if c.Delegate {
			verb = "DELEGATE everything that the caller has to"
		}
		if name == "" {
			name = fmt.Sprintf("selector %x", c.Selector)
		}
		out = append(out, fmt.Sprintf("%s%s %s of %s", strings.Repeat("  ", c.Depth), verb, name, c.To))
	}
	if t := d.Typed; t != nil {
		out = append(out, fmt.Sprintf("sign the typed data %s of %q, version %q, for contract %q, with account %s of wallet %s: %s",
			t.PrimaryType, t.Name, t.Version, t.Contract, m.Account, m.Wallet, visible(t.Message)))
	}
	return out
}

// visible writes the characters that a terminal would not show as the escapes
// of JSON.
func visible(text []byte) string {
	var out strings.Builder
	for _, r := range string(text) {
		if unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, "\\u%04x", unit)
		}
	}
	return out.String()
}

// describeUpdate says which document would be put in force: whoever agrees to it
// compares the hash with the one of the file that the admins have signed.
func describeUpdate(bundle message.PolicyUpdate) string {
	version := "an unreadable version"
	if n, err := document.VersionOf(bundle.Document); err == nil {
		version = fmt.Sprintf("version %d", n)
	}
	return fmt.Sprintf("put %s of the policy in force, SHA-256 %s, with %d signatures", version, message.Sum(bundle.Document), len(bundle.Signatures))
}
