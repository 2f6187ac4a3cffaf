package message_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// TestAttackPeekAtARowOfDots: what is peeked at was written by anybody, as large
// as a row may be. Refusing it costs no memory.
func TestAttackPeekAtARowOfDots(t *testing.T) {
	for name, row := range map[string][]byte{
		"larger-than-any-message": bytes.Repeat([]byte{'.'}, 4<<20),
		"as-large-as-a-message":   bytes.Repeat([]byte{'.'}, message.MaxSize),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := message.Peek(row, &message.Announcement{}); err == nil {
				t.Fatal("accepted")
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}
