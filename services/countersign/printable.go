package main

import (
	"io"
	"strings"
	"unicode"
)

// printable writes text for people without the characters that could make a
// terminal hide, overwrite or reorder what stands there: much of the text comes
// from services, and an approver must see what is signed.
type printable struct{ io.Writer }

// Write passes on what can be printed, spaces and line feeds. It reports all
// of p as written.
func (w printable) Write(p []byte) (int, error) {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return -1
	}, string(p))
	if _, err := io.WriteString(w.Writer, clean); err != nil {
		return 0, err
	}
	return len(p), nil
}
