package strictyaml

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// SyntaxError says that a text is no YAML, or another than its writer means: most
// often something stands without quotes that needs them.
type SyntaxError string

func (e SyntaxError) Error() string { return string(e) }

// unread is how the decoder tells what it cannot read: nothing is said of the
// first line.
var unread = regexp.MustCompile(`^(?:line ([0-9]+): )?(.*)$`)

// Syntax is the decoder's error about a text that it cannot read, with the line
// that is meant: of what its parser finds the decoder counts lines from 0, and of
// a tab it tells the line before.
func Syntax(raw []byte, err error) SyntaxError {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	parts := unread.FindStringSubmatch(text)
	if parts == nil {
		return SyntaxError(text)
	}
	line, _ := strconv.Atoi(parts[1]) // none is 0
	lines := bytes.Split(bytes.TrimSuffix(raw, []byte{'\n'}), []byte{'\n'})
	switch what := parts[2]; {
	case strings.HasPrefix(what, "did not find expected "):
		return SyntaxError(fmt.Sprintf("line %d: %s", min(line+1, len(lines)), what))
	case strings.HasPrefix(what, "found a tab character "), strings.HasPrefix(what, "found character that cannot start any token"):
		if at := tabbed(lines, max(line, 1)); at > 0 {
			return SyntaxError(fmt.Sprintf("line %d: a tab stands before the text: write spaces", at))
		}
	}
	return SyntaxError(text)
}

// tabbed returns a line or the next, whichever begins with a tab or with spaces
// and a tab; 0 if neither does.
func tabbed(lines [][]byte, line int) int {
	for _, at := range []int{line, line + 1} {
		if at <= len(lines) && bytes.HasPrefix(bytes.TrimLeft(lines[at-1], " "), []byte{'\t'}) {
			return at
		}
	}
	return 0
}
