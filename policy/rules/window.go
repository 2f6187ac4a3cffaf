package rules

import (
	"time"

	"cel.dev/cel-go/common/ast"

	"github.com/countersign/countersign/policy/ledger"
)

// Window is how far the rules of the set look back: the longest window that one
// of them names; at least ledger.Lookback where one asks for what was approved
// and names none; 0 where none looks back, or only at what a ledger knows for
// ever.
func (s *Set) Window() time.Duration { return s.window }

// unnamed are the functions that look back as far as a ledger does where it is
// told no window. First uses, lookalikes and the next nonce are not among them:
// those are known for ever.
var unnamed = map[string]bool{"signal.unusual": true, "signal.nonce_reused": true, "signal.nonce_replaces": true}

// reach takes into the set's window how far one call looks back. A window that
// is not understood is taken for the longest.
func (c *condition) reach(f *Function, args []ast.Expr) {
	if unnamed[f.Name] {
		c.set.window = max(c.set.window, ledger.Lookback)
	}
	for i, arg := range args {
		if f.Args[i].Form != Window {
			continue
		}
		d, ok := windowLiteral(arg)
		if !ok {
			d = ledger.Longest
		}
		c.set.window = max(c.set.window, d)
	}
}

// windowLiteral reads duration("...").
func windowLiteral(e ast.Expr) (time.Duration, bool) {
	text, ok := durationText(e)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}
