package proposer

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// preferredWait reads "Prefer: wait=SECONDS" (RFC 7240 section 4.3). Other
// preferences are passed over, as section 2 of the RFC asks; of several waits
// the first counts; more than most is cut to it.
func preferredWait(h http.Header, most time.Duration) (time.Duration, error) {
	for _, line := range h.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			token, _, _ := strings.Cut(preference, ";")
			name, value, ok := strings.Cut(token, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if !ok || err != nil {
				return 0, problem(CodeInvalidPreference, "wait must be a whole number of seconds")
			}
			return min(time.Duration(seconds)*time.Second, most), nil
		}
	}
	return 0, nil
}
