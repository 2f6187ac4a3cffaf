package message

import (
	"strings"
	"unicode/utf8"
)

// Cut shortens a text to at most n bytes of valid UTF-8.
func Cut(text string, n int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
