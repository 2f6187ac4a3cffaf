package ethereum_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/transaction"
)

// repeated is n times what each number makes.
func repeated(n int, each func(i int) string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = each(i)
	}
	return out
}

// TestAttackManyEffects: what one request makes every role remember is bounded,
// also where no call with data stands for it: with one effect more than there may
// be the whole is an unknown call.
func TestAttackManyEffects(t *testing.T) {
	in := func(data string) transaction.Effects {
		return mustDecode(t, dynamic(t, map[string]any{"to": wallet, "data": data, "value": "0", "gas_limit": "9000000"})).Effects()
	}
	receiver := func(i int) string { return fmt.Sprintf("0x%040x", i+1) }
	paying := func(i int) string { return packedCall("00", receiver(i), "01", "0x") }
	number1 := func(i int) string { return fmt.Sprintf("%02x", i+1) }
	for name, effects := range map[string]func(n int) transaction.Effects{
		"multiSend of values": func(n int) transaction.Effects { return in(multiSend(repeated(n, paying)...)) },
		"executeBatch of values": func(n int) transaction.Effects {
			return in(call("executeBatch(address[],bytes[])") +
				dynamics(words(repeated(n, receiver)...), list(blobs(repeated(n, func(int) string { return "0x" }))...)))
		},
		"many items": func(n int) transaction.Effects {
			ids, amounts := words(repeated(n, number1)...), words(repeated(n, number1)...)
			heads := padded(word(me)) + padded(word(recipient)) + number(160) + number(160+len(ids)/2) + number(160+len(ids)/2+len(amounts)/2)
			return in(call("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)") + heads + ids + amounts + blob("0x"))
		},
		"permits in typed data": func(n int) transaction.Effects {
			content := "[" + strings.Join(repeated(n, func(i int) string { return `{"token":"` + receiver(i) + `","amount":"7"}` }), ",") + "]"
			return mustType(t, permitted("PermitBatchTransferFrom", "TokenPermissions[]", content, permit2), mainnet(t)).Effects()
		},
		"values in a Safe's typed data": func(n int) transaction.Effects {
			return mustType(t, safeTx(multiSends, "0", multiSend(repeated(n, paying)...), "1", "0"), mainnet(t)).Effects()
		},
	} {
		t.Run(name, func(t *testing.T) {
			if e := effects(transaction.MaxEffects); len(e.Unknown) != 0 || e.Count() != transaction.MaxEffects {
				t.Errorf("%d effects, %d unknown", e.Count(), len(e.Unknown))
			}
			for _, n := range []int{transaction.MaxEffects + 1, 600} {
				e := effects(n)
				if len(e.Unknown) != 1 || e.Count() <= transaction.MaxEffects {
					t.Errorf("of %d: %d effects, %d unknown", n, e.Count(), len(e.Unknown))
				}
				if calls := e.Details.Calls; len(calls) > 0 && e.Details.Typed == nil && calls[0].Understood {
					t.Errorf("of %d: the outermost call is understood", n)
				}
			}
		})
	}
}
