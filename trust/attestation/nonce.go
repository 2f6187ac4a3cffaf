package attestation

import "github.com/countersign/countersign/internal/message"

// HelloNonce binds a hello's attestation to the whole hello but the
// attestation itself, its HPKE key included: the SHA-256 of the encoding with
// an empty attestation.
func HelloNonce(h message.Hello) ([]byte, error) {
	h.Attestation = nil
	return nonceOf(h)
}

// AnnouncementNonce binds an announcement's attestation to the whole
// announcement but the attestation itself (and the identity signature, which
// covers the attestation in turn): the SHA-256 of the encoding with an empty
// attestation.
func AnnouncementNonce(b message.AnnouncementBody) ([]byte, error) {
	b.Attestation = nil
	return nonceOf(b)
}

func nonceOf(v any) ([]byte, error) {
	b, err := message.Encode(v)
	if err != nil {
		return nil, err
	}
	sum := message.Sum(b)
	return sum[:], nil
}
