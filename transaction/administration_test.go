package transaction_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// TestAdministration: the kinds that change what others may ask for open
// nothing, and are read strictly.
func TestAdministration(t *testing.T) {
	fix := stored(t)
	wallet := map[string]any{"wallet": fix.wallet}
	with := func(payload map[string]any, more ...map[string]any) map[string]any {
		out := map[string]any{"payload": payload}
		for _, m := range more {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	for name, tc := range map[string]struct {
		kind    message.Kind
		changes map[string]any
		good    bool
	}{
		"ok/wallet":                {message.KindWalletFreeze, with(map[string]any{"reason": "lost"}, wallet), true},
		"ok/user":                  {message.KindUserFreeze, with(map[string]any{"user": "alice", "reason": "lost"}), true},
		"ok/policy":                {message.KindPolicyUpdate, with(map[string]any{"document": "dg", "signatures": []string{"a"}}), true},
		"fail/account-of-a-wallet": {message.KindWalletFreeze, with(map[string]any{"reason": "lost"}, map[string]any{"wallet": fix.account}), false},
		"fail/wallet-of-nobody":    {message.KindWalletFreeze, with(map[string]any{"reason": "lost"}, map[string]any{"wallet": strings.Repeat("ab", 32)}), false},
		"fail/no-wallet":           {message.KindWalletFreeze, with(map[string]any{"reason": "lost"}), false},
		"fail/no-reason":           {message.KindWalletFreeze, with(map[string]any{"reason": ""}, wallet), false},
		"fail/control-characters":  {message.KindWalletFreeze, with(map[string]any{"reason": "a\u202eb"}, wallet), false},
		"fail/unknown-member":      {message.KindWalletFreeze, with(map[string]any{"reason": "lost", "until": "x"}, wallet), false},
		"fail/no-user":             {message.KindUserFreeze, with(map[string]any{"user": "", "reason": "lost"}), false},
		"fail/user-of-a-wallet":    {message.KindUserFreeze, with(map[string]any{"user": "alice", "reason": "lost"}, wallet), false},
		"fail/long-reason":         {message.KindUserFreeze, with(map[string]any{"user": "alice", "reason": strings.Repeat("x", 200)}), false},
		"fail/document-not-base64": {message.KindPolicyUpdate, with(map[string]any{"document": "?", "signatures": []string{}}), false},
		"fail/dry-run-of-a-freeze": {message.KindWalletFreeze, with(map[string]any{"reason": "lost"}, wallet, map[string]any{"dry_run": true}), false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := interpreter(fix.store).Interpret(t.Context(), statement(t, tc.kind, tc.changes))
			if (err == nil) != tc.good {
				t.Fatalf("error %v", err)
			}
			if len(m.Releases) > 0 || len(m.Digests) > 0 {
				t.Error("it opens something")
			}
			if tc.good && (m.Descriptor.IsZero() || (m.Freeze == nil) == (m.PolicyUpdate == nil)) {
				t.Errorf("meaning %+v", m)
			}
		})
	}
}

// TestFreezeOfADamagedWallet: its accounts may be whole, and are stopped.
func TestFreezeOfADamagedWallet(t *testing.T) {
	fix := stored(t)
	fix.store.wallets[fix.wallet] = []byte("{}")
	freeze := statement(t, message.KindWalletFreeze, map[string]any{"wallet": fix.wallet, "payload": map[string]any{"reason": "lost"}})
	if m, err := interpreter(fix.store).Interpret(t.Context(), freeze); err != nil || m.Freeze.Wallet != fix.wallet {
		t.Fatalf("%+v, %v", m.Freeze, err)
	}
}

// TestDryRunOpensNothing: it means the same as in earnest, but for the shares.
func TestDryRunOpensNothing(t *testing.T) {
	fix := stored(t)
	m, err := interpreter(fix.store).Interpret(t.Context(), transfer(t, fix, map[string]any{"dry_run": true}))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Releases) > 0 || len(m.Digests) != 1 || !m.Statement.DryRun {
		t.Fatalf("meaning %+v", m)
	}
}
