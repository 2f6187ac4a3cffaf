package rules_test

import (
	"math/big"
	"testing"

	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// TestAttackUnlimitedAllowance: what tokens and permits take for unlimited is
// said to be, not 2^256-1 alone.
func TestAttackUnlimitedAllowance(t *testing.T) {
	ones := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits)
		return n.Sub(n, big.NewInt(1))
	}
	less := func(n *big.Int) *big.Int { return new(big.Int).Sub(n, big.NewInt(1)) }
	for name, tc := range map[string]struct {
		amount *big.Int
		want   bool
	}{
		"ok/some":            {big.NewInt(1_000_000), false},
		"ok/95-bits-of-ones": {ones(95), false},
		"ok/nearly-96":       {less(ones(96)), false},
		"ok/127-bits":        {less(ones(127)), false},
		"fail/96":            {ones(96), true},
		"fail/128":           {less(ones(128)), true},
		"fail/160":           {ones(160), true},
		"fail/255":           {ones(255), true},
		"fail/256":           {ones(256), true},
	} {
		t.Run(name, func(t *testing.T) {
			f := transfer()
			f.Meaning.Effects.Allowances = []transaction.Allowance{{Asset: usdc, Owner: alice, Spender: bob, Amount: tc.amount}}
			out := decide(t, f, allow(`true`), deny(`tx.allowances.exists(a, a.unlimited)`))
			if (out.Verdict == rules.Deny) != tc.want {
				t.Errorf("%s of an allowance of %s", out.Verdict, tc.amount)
			}
		})
	}
}

// TestAttackListedCollection: a list that names a collection's contract covers
// its items.
func TestAttackListedCollection(t *testing.T) {
	f := transfer()
	f.Meaning.Effects.Moves[1].Asset = "eip155:1/erc721:0x00000000000000000000000000000000000000ee/7"
	out := decide(t, f, allow(`true`), deny(`tx.moves.exists(m, m.asset.startsWith("eip155:1/erc721:")) && signal.listed("blocked")`))
	if out.Verdict != rules.Deny {
		t.Errorf("%s %v", out.Verdict, out.Reasons)
	}
}
