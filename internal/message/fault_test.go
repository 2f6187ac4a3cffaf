package message_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// What is wrong with JSON is said for people, and by every process the same.
func TestFaultsAreForPeople(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1}`:                               `member "/a" is not known`,
		`{"\u202e\n":1}`:                        `member "/\u202e\n" is not known`,
		`{"` + strings.Repeat("é", 40) + `":1}`: `member "/` + strings.Repeat("é", 31) + `..." is not known`,
		`{"id":1}`:                              `member "/id" must not be a number`,
		`{"id":true}`:                           `member "/id" must not be a boolean`,
		`{"dry_run":"yes"}`:                     `member "/dry_run" must not be a string`,
		`{"kind":{}}`:                           `member "/kind" must not be an object`,
		`[]`:                                    `the value must not be an array`,
		`{"audience":"00"}`:                     `member "/audience": 2 hex digits, want 64`,
		`{"audience":"` + strings.Repeat("g", 64) + `"}`: `member "/audience": not all are hex digits`,
		`{"expires":"tomorrow"}`:                         `member "/expires": time is not RFC 3339 in UTC with whole seconds`,
		`{"expires":1}`:                                  `member "/expires": time is not a string`,
		`{"id":"a","id":"b"}`:                            `member "/id" stands twice`,
		`{"payload":{"x":{"y":1,"y":2}}}`:                `member "/payload/x/y" stands twice`,
		`{"id":"a"`:                                      `the JSON ends too early`,
		``:                                               `the JSON ends too early`,
		`{"id":'a'}`:                                     `member "/id" is not valid JSON, at byte 6`,
		`{"payload":{"a":01}}`:                           `member "/payload" is not valid JSON, at byte 17`,
		`{"expires":}`:                                   `member "/expires" is not valid JSON, at byte 11`,
		`{"id":"a"}{}`:                                   `the value is not valid JSON, at byte 10`,
	} {
		if err := message.DecodeStrict([]byte(text), &message.Statement{}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"version":1.5}`:                      `member "/version" is a number of another form than is wanted`,
		`{"version":99999999999999999999}`:     `member "/version" is out of range`,
		`{"signature":{"Content-Type":"x"}}`:   `member "/signature/Content-Type" is not known`,
		`{"statement":"a="}`:                   `member "/statement": illegal base64 data at input byte 1`,
		`{"version":1} `:                       `not in canonical encoding`,
		strings.Repeat(" ", message.MaxSize+1): `262145 bytes exceed 262144`,
	} {
		if err := message.Decode([]byte(text), &message.Envelope{}); err == nil || err.Error() != want {
			t.Errorf("%.50s: %v, want %s", text, err, want)
		}
	}
}
