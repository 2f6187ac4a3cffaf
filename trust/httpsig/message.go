package httpsig

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// The longest value of a component, in bytes: longer ones are no request of
// ours.
const maxValue = 4096

// ContentDigest returns the value of the Content-Digest field (RFC 9530) for
// a body: one SHA-256 digest, in its one encoding. A request must carry
// exactly this value.
func ContentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// values returns the value of every component that the message can give, by
// name (RFC 9421 sections 2.1 and 2.2). An empty value is absent: what is not
// there cannot be covered.
func (m Message) values() (map[string]string, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, name := range components {
		if value := m.value(name); value != "" {
			values[name] = value
		}
	}
	return values, nil
}

// value returns the value of one component, "" if the message has none.
func (m Message) value(name string) string {
	switch name {
	case componentMethod:
		return m.Method
	case componentAuthority:
		return normalAuthority(m.Authority)
	case componentPath:
		return m.Path
	case componentContentType:
		return strings.Trim(m.ContentType, " \t")
	case componentDigest:
		return ContentDigest(m.Body)
	}
	return ""
}

func (m Message) check() error {
	for _, c := range m.Method {
		if c < 'A' || c > 'Z' {
			return fmt.Errorf("%w: method is not upper-case letters", ErrMalformed)
		}
	}
	if strings.ContainsAny(m.Authority, "/\\?#@ ") {
		return fmt.Errorf("%w: authority is not host and port", ErrMalformed)
	}
	if !strings.HasPrefix(m.Path, "/") || strings.ContainsAny(m.Path, "?#\\ ") {
		return fmt.Errorf("%w: path is not an absolute path alone", ErrMalformed)
	}
	return nil
}

// normalAuthority is RFC 9421 section 2.2.3 for https, the only scheme that
// we serve: lower case, without the default port.
func normalAuthority(authority string) string {
	return strings.TrimSuffix(strings.ToLower(authority), ":443")
}

// checkValue keeps a value from ending its line of the signature base and so
// from forging the next one.
func checkValue(value string) error {
	if len(value) > maxValue {
		return fmt.Errorf("%w: component value has %d bytes, more than %d", ErrMalformed, len(value), maxValue)
	}
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c > '~' {
			return fmt.Errorf("%w: component value has a control or non-ASCII byte", ErrMalformed)
		}
	}
	return nil
}
