package httpsig

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// usual is a signature in the one form that our own client writes: a profile's
// required components in its order, then created, keyid and tag. Nearly every
// signature is, and each is verified several times on a request's way, so that
// this form is recognised by comparing bytes. Any other takes the parser's way
// in fields.go; what is accepted is the same (FuzzUsual).
//
//	sig=("@method" "@path");created=1618884473;keyid="k";tag="t"
type usual struct {
	claim  Verified
	params string // the value of "@signature-params"
	raw    []byte // the signature
}

// maxCreated is the greatest integer of RFC 9651.
const maxCreated = 999_999_999_999_999

// usualOf recognises the usual form; false is not a refusal.
func (p Profile) usualOf(input, signature string) (u usual, ok bool) {
	name, list, found := strings.Cut(input, "=")
	if !found || !isKey(name) || len(input) > maxField || len(signature) > maxField {
		return u, false
	}
	if u.params = list; !u.readParams(p, list) {
		return u, false
	}
	encoded, found := strings.CutPrefix(signature, name+"=:")
	if !found {
		return u, false
	}
	encoded, found = strings.CutSuffix(encoded, ":")
	if !found || len(encoded) != base64.StdEncoding.EncodedLen(2*scalarSize) {
		return u, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != encoded {
		return u, false
	}
	u.raw = raw
	return u, true
}

// readParams takes key id and time from between what is fixed, and holds the
// whole against what they would be written as.
func (u *usual) readParams(p Profile, list string) bool {
	_, rest, found := strings.Cut(list, ");"+paramCreated+"=")
	if !found {
		return false
	}
	digits, rest, found := strings.Cut(rest, ";"+paramKeyID+`="`)
	if !found {
		return false
	}
	keyID, _, found := strings.Cut(rest, `"`)
	if !found {
		return false
	}
	seconds, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || usualParams(p, keyID, seconds) != list {
		return false
	}
	u.claim = Verified{KeyID: keyID, Created: time.Unix(seconds, 0).UTC()}
	return true
}

// usualParams returns the parameters in the usual form; "" if a value cannot
// be written in it without escapes, or not at all.
func usualParams(p Profile, keyID string, created int64) string {
	if created <= 0 || created > maxCreated || keyID == "" || len(keyID) > maxKeyID || !isPlain(keyID) || !isPlain(p.Tag) {
		return ""
	}
	b := make([]byte, 0, maxUsual)
	b = append(b, '(')
	for i, name := range p.Required {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(append(append(b, '"'), name...), '"')
	}
	b = strconv.AppendInt(append(b, ");"+paramCreated+"="...), created, 10)
	b = append(append(b, ";"+paramKeyID+`="`...), keyID...)
	b = append(append(b, `";`+paramTag+`="`...), p.Tag...)
	return string(append(b, '"'))
}

// maxUsual holds the usual parameters of a thumbprint's length, and a usual
// base, without growing; both may be longer.
const maxUsual = 512

// usualBase is the signature base (RFC 9421 section 2.5) of a profile's
// required components with usual parameters.
func (m Message) usualBase(p Profile, params string) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, maxUsual)
	for _, name := range p.Required {
		value := m.value(name)
		if value == "" {
			return nil, fmt.Errorf("%w: the message has no component %q", ErrCoverage, name)
		}
		if err := checkValue(value); err != nil {
			return nil, err
		}
		b = append(append(append(b, '"'), name...), `": `...)
		b = append(append(b, value...), '\n')
	}
	return append(append(b, `"@signature-params": `...), params...), nil
}

// signUsual signs in the usual form; params are what usualParams gave.
func signUsual(m Message, p Profile, key crypto.Signer, params string) (Signed, error) {
	base, err := m.usualBase(p, params)
	if err != nil {
		return Signed{}, err
	}
	signature, err := SignBase(key, base)
	if err != nil {
		return Signed{}, err
	}
	return Signed{
		ContentDigest:  ContentDigest(m.Body),
		SignatureInput: label + "=" + params,
		Signature:      label + "=:" + base64.StdEncoding.EncodeToString(signature) + ":",
	}, nil
}

// verify does in the same order what Verify does.
func (u usual) verify(m Message, p Profile, now time.Time, lookup func(keyID string) (crypto.PublicKey, error)) (Verified, error) {
	if err := p.checkTime(u.claim.Created, now); err != nil {
		return Verified{}, err
	}
	base, err := m.usualBase(p, u.params)
	if err != nil {
		return Verified{}, err
	}
	key, err := lookup(u.claim.KeyID)
	if err != nil {
		return Verified{}, fmt.Errorf("looking up the signature's key: %w", err)
	}
	if err := VerifyBase(key, base, u.raw); err != nil {
		return Verified{}, err
	}
	return u.claim, nil
}

// isKey says whether s is a dictionary key (RFC 9651 section 3.1.2).
func isKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c == '*':
		case i > 0 && (c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// isPlain says whether s stands in a string (RFC 9651 section 3.3.3) as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
