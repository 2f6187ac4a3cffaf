package httpsig_test

import (
	"crypto"
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/trust/httpsig"
)

// TestUsualFormIsTheGeneralOne: what is signed in the usual form is byte for
// byte what the general way signs.
func TestUsualFormIsTheGeneralOne(t *testing.T) {
	for name, p := range map[string]httpsig.Profile{"statement": httpsig.StatementProfile, "read": httpsig.ReadProfile} {
		for _, id := range []string{keyID, "k", strings.Repeat("k", 256), `with "quotes" and \`, "with spaces ; and =, ()"} {
			want, err := httpsig.SignAny(request(), p, edKey, id, created)
			if err != nil {
				t.Fatal(err)
			}
			got, err := httpsig.Sign(request(), p, edKey, id, created)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s, key id %q: %+v, want %+v", name, id, got, want)
			}
		}
	}
}

// FuzzUsual: the two ways of verifying agree on everything.
func FuzzUsual(f *testing.F) {
	s := mustSign(f, request(), httpsig.StatementProfile, edKey)
	in, sig := s.SignatureInput, s.Signature
	for _, input := range []string{
		in, strings.Replace(in, "sig=", "*a.b=", 1), strings.Replace(in, "sig=", "S=", 1), strings.Replace(in, "=1", "=01", 1),
		strings.Replace(in, "=1", "=-1", 1), strings.Replace(in, "=1", "=1000000000000000", 1), strings.Replace(in, "=1", "=+1", 1),
		strings.Replace(in, "the", `the\"`, 1), strings.Replace(in, "the", "\x7f", 1), strings.Replace(in, "keyid=\"", "keyid=\"\";x=\"", 1),
		in + ";alg=\"ed25519\"", in + ", b=()", in + " ", strings.Replace(in, ` "@path"`, "", 1), strings.Replace(in, "statement", "approver", 1),
	} {
		f.Add(input, sig)
		label, _, _ := strings.Cut(input, "=")
		f.Add(input, strings.Replace(sig, "sig", label, 1))
	}
	for _, signature := range []string{
		strings.Replace(sig, "==:", ":", 1), sig + ";x", strings.Replace(sig, ":", ":\n", 1), sig[:len(sig)-6] + "\n\n\n\n==:",
		sig[:len(sig)-4] + "x==:", "sig=:AA==:", "sig=()", "",
	} {
		f.Add(in, signature)
	}
	f.Fuzz(func(t *testing.T, input, signature string) {
		lookup := func(string) (crypto.PublicKey, error) { return edKey.Public(), nil }
		got, err := httpsig.Verify(request(), httpsig.StatementProfile, input, signature, created, lookup)
		want, wantErr := httpsig.VerifyAny(request(), httpsig.StatementProfile, input, signature, created, lookup)
		if got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("%+v, %v; the general way says %+v, %v", got, err, want, wantErr)
		}
		for _, known := range []error{httpsig.ErrMalformed, httpsig.ErrCoverage, httpsig.ErrTime, httpsig.ErrSignature} {
			if errors.Is(err, known) != errors.Is(wantErr, known) {
				t.Fatalf("%v; the general way says %v", err, wantErr)
			}
		}
	})
}
