package rules

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// inForm refuses texts that are no accounts or assets where a function takes one:
// nothing is known of them, which a rule must not take for "not listed" or "none
// yet". An empty account is one that cannot be told. Values of another type CEL
// itself refuses.
func (f *Function) inForm(args []ref.Val) error {
	for i, v := range args {
		switch said := text(v); f.Args[i].Form {
		case Account:
			if said != "" && !isAccount(said) {
				return fmt.Errorf("%s: %q is not %s; addresses without a chain are written account(...)", f.Name, bounded(said), Account)
			}
		case AssetID:
			if !strings.Contains(said, "/") || otherCase(said) {
				return fmt.Errorf("%s: %q is not %s", f.Name, bounded(said), AssetID)
			}
		}
	}
	return nil
}

// isAccount says whether a text is CAIP-10; of eip155, in any case. Rules ask it
// often, so that those are read without a regular expression.
func isAccount(text string) bool {
	rest, ok := strings.CutPrefix(text, "eip155:")
	if !ok {
		return document.CanonicalAccount(text)
	}
	chain, address, _ := strings.Cut(rest, ":")
	digits, ok := strings.CutPrefix(address, "0x")
	return ok && chain != "" && allDigits(chain, 10) && len(digits) == 40 && allDigits(digits, 16)
}

// accountOf implements account(...): the address with the request's chain in
// front. It may stand there already, as in typed.contract.
func accountOf(e *evaluation, args []ref.Val) ref.Val {
	d := e.facts.Meaning.Effects.Details
	if d == nil {
		return absent("tx.chain")
	}
	if !strings.HasPrefix(d.Chain, ethereum.Namespace+":") {
		return types.NewErr("account: addresses of chain %s are not known", bounded(d.Chain))
	}
	address, err := ethereum.ReadAddress(strings.TrimPrefix(text(args[0]), d.Chain+":"))
	if err != nil {
		return types.NewErr("account: %q: %v", bounded(text(args[0])), err)
	}
	return types.String(transaction.Canonical(d.Chain + ":" + address))
}
