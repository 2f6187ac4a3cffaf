package database

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"

	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/secrets"
)

// saltSize is the length of PostgreSQL's own SCRAM salts.
const saltSize = 16

// Verifier returns PostgreSQL's stored form of a password (RFC 5803):
//
//	SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>
//
// Whoever sees it can check the password but not log in. The passwords are 256
// random bits, so that more iterations would buy nothing. The salt is new each
// time. The password is ASCII, so that SASLprep changes nothing.
func Verifier(password *secrets.Secret) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never returns an error (crypto/rand)
	return verifier(password, salt)
}

func verifier(password *secrets.Secret, salt []byte) string {
	salted, err := pbkdf2.Key(sha256.New, string(password.Bytes()), salt, minIterations, sha256.Size)
	if err != nil {
		panic(err) // only of a key length or hash that is wrong at compile time
	}
	scratch.Hold(salted)
	defer clear(salted)
	stored := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding
	return fmt.Sprintf("%s$%d:%s$%s:%s", mechanism, minIterations, b64.EncodeToString(salt),
		b64.EncodeToString(stored[:]), b64.EncodeToString(mac(salted, "Server Key")))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// verifierForm is what Init accepts, so that no password in clear text reaches
// the server by mistake.
var verifierForm = regexp.MustCompile(`^SCRAM-SHA-256\$[1-9][0-9]{3,6}:[A-Za-z0-9+/]{20,}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$`)
