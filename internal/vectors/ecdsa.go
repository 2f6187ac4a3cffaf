package vectors

import (
	"encoding/asn1"
	"math/big"
)

// Raw turns an ECDSA signature as vectors have it, in DER, into the two numbers
// of 32 bytes each that our formats carry; false for what is not the one
// encoding of such numbers.
func Raw(der []byte) ([]byte, bool) {
	var n struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &n)
	if err != nil || len(rest) > 0 || n.R.Sign() < 0 || n.S.Sign() < 0 || n.R.BitLen() > 256 || n.S.BitLen() > 256 {
		return nil, false
	}
	if again, err := asn1.Marshal(n); err != nil || string(again) != string(der) {
		return nil, false
	}
	return append(n.R.FillBytes(make([]byte, 32)), n.S.FillBytes(make([]byte, 32))...), true
}
