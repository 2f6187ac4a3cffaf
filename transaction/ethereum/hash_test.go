package ethereum_test

import (
	"strings"
	"testing"
)

// TestAttackHashAsMessage: what could be the hash of anything is not passed for a
// harmless text, in whichever way it is written.
func TestAttackHashAsMessage(t *testing.T) {
	for name, tc := range map[string]struct {
		payload string
		unknown bool
	}{
		"ok/text":            {`{"text":"log in to example.org with nonce 123"}`, false},
		"ok/short-hex-text":  {`{"text":"deadbeef"}`, false},
		"ok/text-as-hex":     {`{"hex":"0x68656c6c6f"}`, false},
		"fail/32-bytes":      {`{"hex":"0x` + strings.Repeat("ab", 32) + `"}`, true},
		"fail/32-characters": {`{"text":"` + strings.Repeat("x", 32) + `"}`, true},
		"fail/64-digits":     {`{"text":"` + strings.Repeat("ab", 32) + `"}`, true},
		"fail/0x-64-digits":  {`{"text":"0x` + strings.Repeat("AB", 32) + `"}`, true},
		"fail/no-text":       {`{"hex":"0xff00ff00ff"}`, true},
		"fail/0X-and-spaces": {`{"text":" 0X` + strings.Repeat("ab", 32) + `\n"}`, true},
		"fail/packed":        {`{"hex":"0x` + strings.Repeat("00", 63) + `05"}`, true},
		"ok/lines":           {`{"text":"log in\r\n\tnonce: 7\n"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			tx := decodeMessage(t, []byte(tc.payload), mainnet(t))
			if got := len(tx.Effects().Unknown) > 0; got != tc.unknown {
				t.Errorf("unknown: %v", got)
			}
		})
	}
}
