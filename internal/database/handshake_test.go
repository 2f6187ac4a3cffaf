package database

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/countersign/countersign/secrets"
)

func message(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

func auth(code uint32, rest string) []byte {
	return message('R', append(binary.BigEndian.AppendUint32(nil, code), rest...))
}

// The driver answers a request for the password also after the authentication
// is over, until the server is ready: this is a white-box test because the
// steps before cannot be forged without the password.
func TestAttackPasswordAskedAgainAfterAuthentication(t *testing.T) {
	begin := [][]byte{
		auth(authSASL, "SCRAM-SHA-256\x00\x00"), auth(authSASLContinue, "r=x,s=AAAA,i=4096"),
		auth(authSASLFinal, "v=x"), auth(authOK, ""), message('S', []byte("a\x00b\x00")),
	}
	for _, c := range []struct {
		name string
		next []byte
		want error
	}{
		{"clear-text", auth(3, ""), ErrAuthentication},
		{"md5", auth(5, "salt"), ErrAuthentication},
		{"sasl-twice", auth(authSASL, "SCRAM-SHA-256\x00\x00"), ErrAuthentication},
		{"ready", message('Z', []byte("I")), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			go func() {
				defer server.Close()
				for _, m := range append(begin[:len(begin):len(begin)], c.next, []byte("after")) {
					if _, err := server.Write(m); err != nil {
						return
					}
				}
			}()
			_, err := io.ReadAll(&handshake{Conn: client})
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

// The example of RFC 7677 section 3: the stored and server keys follow from
// password and salt.
func TestVerifierForm(t *testing.T) {
	password := secrets.NewSecret([]byte("pencil"))
	got := Verifier(password)
	if !verifierForm.MatchString(got) {
		t.Errorf("%q is not the form that Init takes", got)
	}
	if got == Verifier(password) {
		t.Error("two verifiers have one salt")
	}
	salt := []byte{0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81}
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if got := verifier(password, salt); got != want {
		t.Errorf("verifier %s, want %s", got, want)
	}
}
