package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval/api"
)

// TestAttackTerminalHidesEffects: a dishonest approval service cannot hide what
// a request does from the approver's eyes, nor add lines of its own.
func TestAttackTerminalHidesEffects(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, errOut: &out}
	v := voteView{
		Request: "r", Kind: "ethereum.transaction", User: "alice\neffect   move 1 wei\x1b[8m\u009b8m\u202e",
		Effects: []string{"move everything"}, Asks: []api.Ask{{
			Rule: "r\neffect   move 2 wei", Reason: "\u202e\neffect   move 3 wei", Approvers: []string{"bob\neffect   move 4 wei"},
		}},
		Signals: []message.Reason{{Code: "signal_lookalike", Detail: "lookalike\neffect   move 5 wei"}},
	}
	if err := a.show(v, v.human); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\neffect"); got != 1 {
		t.Errorf("%d lines look like effects: %q", got, out.String())
	}
	if !strings.Contains(out.String(), "\nsignal   \"lookalike\\neffect   move 5 wei\" (as the service says)\n") {
		t.Errorf("a signal is not shown as what the service says: %q", out.String())
	}
	_ = a.show(v, func(w io.Writer) { _, _ = io.WriteString(w, v.User) })
	a.report(errors.New("no: " + v.User))
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e") {
		t.Errorf("control characters reach the terminal: %q", out.String())
	}
}
