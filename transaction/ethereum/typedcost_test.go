package ethereum_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/transaction/ethereum"
)

// manyStructs is typed data with so many structs, whose type names twelve others
// with names of so many letters.
func manyStructs(structs, letters int) []byte {
	name := func(prefix string, i int) string {
		short := fmt.Sprintf("%s%d", prefix, i)
		return short + strings.Repeat("x", max(0, letters-len(short)))
	}
	const types = 13
	var b strings.Builder
	fmt.Fprintf(&b, `{"types":{"EIP712Domain":[{"name":"chainId","type":"uint256"}],"M":[{"name":"items","type":"Item[]"}],"Item":[{"name":"a","type":"%s[]"}]`, name("T", 0))
	for i := range types {
		fmt.Fprintf(&b, `,"%s":[{"name":"n","type":"uint8"}`, name("T", i))
		for j := i + 1; j < min(types, i+9); j++ {
			fmt.Fprintf(&b, `,{"name":"%s","type":"%s[]"}`, name("m", j), name("T", j))
		}
		b.WriteString("]")
	}
	items := strings.TrimSuffix(strings.Repeat(`{"a":[]},`, structs), ",")
	fmt.Fprintf(&b, `},"primaryType":"M","domain":{"chainId":1},"message":{"items":[%s]}}`, items)
	return typedPayload(b.String())
}

// spent is the processor time that this process has used: others that keep the
// machine busy make it no longer.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestAttackTypedDataHashBomb: a few kilobytes do not make every service hash for
// a second: each struct costs go-ethereum its type with all that this one names.
func TestAttackTypedDataHashBomb(t *testing.T) {
	for _, letters := range []int{1, 128} {
		for structs := 2000; structs > 0; structs /= 2 {
			start := spent(t)
			_, err := decodeTyped(manyStructs(structs, letters), mainnet(t))
			if took := spent(t) - start; took > 3*time.Second {
				t.Errorf("%d structs with names of %d letters took %v (%v)", structs, letters, took, err)
			}
			if err != nil && !errors.Is(err, ethereum.ErrTypedData) {
				t.Error(err)
			}
			if structs == 2000 && err == nil {
				t.Errorf("%d structs with names of %d letters were hashed", structs, letters)
			}
		}
	}
	if _, err := decodeTyped(manyStructs(5, 30), mainnet(t)); err != nil {
		t.Errorf("a few structs are refused: %v", err)
	}
}

// TestTypedDataOfManyStructs: what applications ask for is far from the bound.
func TestTypedDataOfManyStructs(t *testing.T) {
	detail := `{"token":"` + token + `","amount":"1","expiration":"1","nonce":"0"}`
	batch := `{"types":{"EIP712Domain":[{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],` +
		`"PermitBatch":[{"name":"details","type":"PermitDetails[]"},{"name":"spender","type":"address"},{"name":"sigDeadline","type":"uint256"}],` +
		`"PermitDetails":[{"name":"token","type":"address"},{"name":"amount","type":"uint160"},{"name":"expiration","type":"uint48"},{"name":"nonce","type":"uint48"}]},` +
		`"primaryType":"PermitBatch","domain":{"chainId":1,"verifyingContract":"0x000000000022d473030f116ddee9f6b43ac78ba3"},` +
		`"message":{"details":[` + strings.TrimSuffix(strings.Repeat(detail+",", 800), ",") + `],"spender":"` + token + `","sigDeadline":"1"}}`
	if n := len(mustType(t, batch, mainnet(t)).Effects().Allowances); n != 800 {
		t.Errorf("%d allowances", n)
	}
}
