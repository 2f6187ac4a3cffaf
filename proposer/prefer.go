package proposer

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// preferredWait reads "Prefer: wait=SECONDS" (RFC 7240 section 4.3), and says
// whether a wait is asked for. Other preferences are passed over, as section 2 of
// the RFC asks; of several waits the first counts; more than most is cut to it.
func preferredWait(h http.Header, most time.Duration) (wait time.Duration, asked bool, err error) {
	value, asked := preference(h, "wait")
	if !asked {
		return 0, false, nil
	}
	wait, ok := seconds(value, most)
	if !ok {
		return 0, false, problem(CodeInvalidPreference, "wait must be a whole number of seconds")
	}
	return wait, true, nil
}

// preference returns the value of the first preference of a name, without its
// parameters.
func preference(h http.Header, name string) (value string, ok bool) {
	for _, line := range h.Values("Prefer") {
		for one, more := "", true; more; {
			one, line, more = cutUnquoted(line, ',')
			one, _, _ = cutUnquoted(one, ';')
			token, word, _ := strings.Cut(one, "=")
			if strings.EqualFold(trimSpace(token), name) {
				return unquote(trimSpace(word)), true
			}
		}
	}
	return "", false
}

// seconds reads a whole number of seconds, however large.
func seconds(digits string, most time.Duration) (time.Duration, bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil { // digits alone: there are too many
		return most, true
	}
	return min(time.Duration(n)*time.Second, most), true
}

// cutUnquoted is strings.Cut at the first separator that is not within a quoted
// string (RFC 9110 section 5.6.4).
func cutUnquoted(s string, separator byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++ // what is escaped neither ends the string nor escapes
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// unquote returns what a quoted string says, and anything else as it is.
func unquote(word string) string {
	if len(word) < 2 || word[0] != '"' || word[len(word)-1] != '"' {
		return word
	}
	var b strings.Builder
	for i := 1; i < len(word)-1; i++ {
		if word[i] == '\\' {
			i++
		}
		b.WriteByte(word[i])
	}
	return b.String()
}

// trimSpace takes away what RFC 9110 section 5.6.3 calls whitespace.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
