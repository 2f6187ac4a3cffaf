package message_test

import (
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// BenchmarkDecode is the strict decoding of an approval, with the comparison
// with its one encoding.
func BenchmarkDecode(b *testing.B) {
	encoded, err := message.Encode(sampleApproval())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var a message.Approval
		if err := message.Decode(encoded, &a); err != nil {
			b.Fatal(err)
		}
	}
}
