package message_test

import (
	"testing"

	"github.com/countersign/countersign/internal/message"
)

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		text string
		n    int
		want string
	}{
		{"short", 10, "short"},
		{"short", 5, "short"},
		{"longer", 4, "long"},
		{"grün", 3, "gr"},
		{"grün", 4, "grü"},
		{"\xffx", 10, "\ufffdx"},
		{"ü", 1, ""},
		{"", 0, ""},
	} {
		if got := message.Cut(tc.text, tc.n); got != tc.want {
			t.Errorf("%q cut to %d is %q, want %q", tc.text, tc.n, got, tc.want)
		}
	}
}
