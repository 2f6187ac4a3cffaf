package message_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

func TestContextIsUnambiguous(t *testing.T) {
	lists := [][]string{
		{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"b", "a"},
		{"a\x00\x00\x00\x01b"}, {"\x00\x00\x00\x01a"}, {"a", "b", "c"}, {"ab", "c"}, {"a", "bc"}, {"abc"},
	}
	seen := map[string]int{}
	for i, fields := range lists {
		for _, label := range []string{"l", "la", ""} {
			var raw [][]byte
			for _, f := range fields {
				raw = append(raw, []byte(f))
			}
			got := label + "|" + string(message.Context(label, raw...))
			if j, ok := seen[got]; ok {
				t.Errorf("lists %q and %q give the same bytes", fields, lists[j])
			}
			seen[got] = i
		}
	}
	if string(message.Context("l", []byte("ab"))) != "\x00\x00\x00\x01l\x00\x00\x00\x02ab" {
		t.Error("layout differs")
	}
	// The label is a field like the others.
	if bytes.Equal(message.Context("la", []byte("b")), message.Context("l", []byte("ab"))) {
		t.Error("label runs into the first field")
	}
}

func TestTextForms(t *testing.T) {
	for name, c := range map[string]struct {
		into interface{ UnmarshalText([]byte) error }
		bad  []string
	}{
		"hash": {new(message.Hash), []string{
			"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("A", 64),
			strings.Repeat("g", 64), "0x" + strings.Repeat("0", 62), strings.Repeat("0", 63) + "\n",
		}},
		"epoch": {new(message.EpochID), []string{"", strings.Repeat("0", 31), strings.Repeat("F", 32), strings.Repeat("z", 32)}},
		"bytes": {new(message.Bytes), []string{"A", "AA==", "AB", "A+", "A/", "A A", "AAA\n", "\nAAAA", "AAAA\r\n", "AA="}},
		"time": {new(message.Time), []string{
			"", "2026-11-21", "2026-11-21T12:00:00", "2026-11-21T12:00:00+00:00", "2026-11-21T12:00:00.0Z",
			"2026-11-21T12:00:00,5Z", "2026-11-21t12:00:00z", "2026-11-21 12:00:00Z", "2026-13-21T12:00:00Z",
			"2026-11-21T24:00:00Z", "2026-11-21T12:00:60Z", "2026-2-1T12:00:00Z", "20261-11-21T12:00:00Z", "-026-11-21T12:00:00Z",
			"2026-02-30T12:00:00Z", "1795262400",
		}},
	} {
		for _, text := range c.bad {
			if err := c.into.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("%s accepts %q", name, text)
			}
		}
	}
	if _, err := message.ParseHash(strings.Repeat("ab", 32)); err != nil {
		t.Error(err)
	}
	at := message.At(time.Date(2026, 1, 2, 3, 4, 5, 999, time.FixedZone("x", 3600)))
	if b, err := at.MarshalText(); err != nil || string(b) != "2026-01-02T02:04:05Z" {
		t.Errorf("time is written as %s, %v", b, err)
	}
}

// Two parsers must not see two things: what one could read differently is
// refused, in statements too, where white space and order are free.
func TestAttackTwoParsers(t *testing.T) {
	good := string(encode(t, sampleStatement()))
	for name, c := range map[string]struct{ old, new string }{
		"duplicate-member":        {`"kind":`, `"kind":"wallet.create","kind":`},
		"duplicate-escaped":       {`"kind":`, `"\u006bind":"wallet.create","kind":`},
		"duplicate-in-payload":    {`{"text":`, `{"text":"a","text":`},
		"other-case":              {`"kind"`, `"Kind"`},
		"other-case-additional":   {`"kind":`, `"KIND":"wallet.create","kind":`},
		"unknown-member":          {`"kind":`, `"hash":"00","kind":`},
		"trailing-bytes":          {`Z"}`, `Z"}{}`},
		"trailing-comma":          {`Z"}`, `Z",}`},
		"trailing-nul":            {`Z"}`, "Z\"}\x00"},
		"comment":                 {`{"id"`, `{/**/"id"`},
		"bom":                     {`{"id"`, "\xef\xbb\xbf{\"id\""},
		"bad-utf8":                {`"hello"`, "\"\xff\""},
		"lone-surrogate":          {`"hello"`, `"\ud800"`},
		"single-quotes":           {`"hello"`, `'hello'`},
		"nan":                     {`{"text":"hello"}`, `NaN`},
		"leading-zero-number":     {`{"text":"hello"}`, `{"text":01}`},
		"payload-null":            {`{"text":"hello"}`, `null`},
		"payload-array":           {`{"text":"hello"}`, `[]`},
		"payload-string":          {`{"text":"hello"}`, `"x"`},
		"payload-missing":         {`"payload":{"text":"hello"},`, ``},
		"id-upper":                {requestID, strings.ToUpper(requestID)},
		"id-urn":                  {requestID, "urn:uuid:" + requestID},
		"id-braces":               {requestID, "{" + requestID + "}"},
		"id-v4":                   {requestID, "0197e5c2-0000-4000-8000-000000000001"},
		"id-variant":              {requestID, "0197e5c2-0000-7000-0000-000000000001"},
		"id-zero":                 {requestID, "00000000-0000-0000-0000-000000000000"},
		"id-missing":              {`"id":"` + requestID + `",`, ``},
		"id-number":               {`"` + requestID + `"`, `1`},
		"audience-other":          {h("deployment").String(), h("other").String()},
		"audience-upper":          {h("deployment").String(), strings.ToUpper(h("deployment").String())},
		"audience-null":           {`"` + h("deployment").String() + `"`, `null`},
		"kind-unknown":            {"ethereum.message", "bitcoin.psbt"},
		"kind-internal":           {"ethereum.message", "result"},
		"kind-administrative":     {"ethereum.message", "secrets.rotate"},
		"kind-other-case":         {"ethereum.message", "Ethereum.Message"},
		"kind-space":              {"ethereum.message", "ethereum.message "},
		"kind-missing":            {`"kind":"ethereum.message",`, ``},
		"kind-null":               {`"ethereum.message"`, `null`},
		"wallet-missing":          {`"wallet":"` + h("wallet").String() + `",`, ``},
		"wallet-empty":            {`"wallet":"` + h("wallet").String() + `"`, `"wallet":""`},
		"wallet-short":            {h("wallet").String(), "00"},
		"wallet-upper":            {h("wallet").String(), strings.ToUpper(h("wallet").String())},
		"account-missing":         {`"account":"` + h("account").String() + `",`, ``},
		"account-for-create":      {"ethereum.message", "account.create"},
		"wallet-for-create":       {"ethereum.message", "wallet.create"},
		"expires-missing":         {`,"expires":"2026-11-21T12:10:00Z"`, ``},
		"expires-number":          {`"2026-11-21T12:10:00Z"`, `1795262400`},
		"expires-zone":            {`12:10:00Z`, `12:10:00+00:00`},
		"expires-fraction":        {`12:10:00Z`, `12:10:00.5Z`},
		"expires-null":            {`"2026-11-21T12:10:00Z"`, `null`},
		"deep":                    {`{"text":"hello"}`, `{"text":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`},
		"too-large":               {`"hello"`, `"` + strings.Repeat("a", message.MaxStatement) + `"`},
		"member-name-megabyte":    {`"kind":`, `"` + strings.Repeat("k", 100000) + `":1,"kind":`},
		"envelope-in-a-statement": {`"kind":`, `"version":1,"kind":`},
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatal("nothing was replaced: the test tests nothing")
			}
			_, err := message.ParseStatement([]byte(bad), h("deployment"))
			if err == nil {
				t.Fatal("accepted")
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error repeats the input: %d bytes", len(err.Error()))
			}
		})
	}
	free := "\n{ \"expires\":\"2026-11-21T12:10:00Z\" ," + strings.Replace(good[1:], `,"expires":"2026-11-21T12:10:00Z"`, "", 1)
	if _, err := message.ParseStatement([]byte(free), h("deployment")); err != nil {
		t.Errorf("other order and white space: %v", err)
	}
}

// What did not fit stands in no error: it may be a secret.
func TestAttackValueInError(t *testing.T) {
	for _, text := range []string{
		`{"audience":"SECRETSECRET"}`, `{"audience":123456789}`, `{"expires":"SECRETSECRET"}`,
		`{"id":{"SECRETSECRET":1}}`, `{"audience":"` + strings.Repeat("SECRET", 30) + `"}`,
	} {
		err := message.DecodeStrict([]byte(text), &message.Statement{})
		if err == nil || strings.Contains(err.Error(), "SECRETSECRET") && !strings.Contains(text, `{"SECRETSECRET"`) || strings.Contains(err.Error(), "123456789") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDecodeWantsTheOneEncoding(t *testing.T) {
	good := encode(t, sampleEnvelope())
	if err := message.Decode(good, &message.Envelope{}); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"white-space": append([]byte(" "), good...),
		"line-feed":   append(bytes.Clone(good), '\n'),
		"escape":      bytes.Replace(good, []byte("application/json"), []byte(`application\/json`), 1),
		"order":       []byte(strings.Replace(strings.Replace(string(good), `{"version":1,`, `{`, 1), `Z"}`, `Z","version":1}`, 1)),
	} {
		if err := message.Decode(bad, &message.Envelope{}); !errors.Is(err, message.ErrNotCanonical) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The one way to write a string, as docs/SPEC.md section 1 says.
func TestStringEscapes(t *testing.T) {
	v := sampleVote()
	v.Approver = "\"\\/<>&\b\f\n\r\t\x00\x1f\x7f\u2028é😀"
	want := `"approver":"\"\\/<>&\b\f\n\r\t\u0000\u001f` + "\x7f\u2028é😀" + `"`
	if b := encode(t, v); !bytes.Contains(b, []byte(want)) {
		t.Errorf("encoded as %s", b)
	}
	v.Approver = "\xff"
	if _, err := message.Encode(v); err == nil {
		t.Error("invalid UTF-8 is encoded")
	}
}
