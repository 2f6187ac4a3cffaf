package transaction

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The curves that accounts are on.
const (
	CurveSecp256k1 = "secp256k1"
	CurveEd25519   = "ed25519"
)

// ErrPath says that a derivation path is not acceptable.
var ErrPath = errors.New("bad derivation path")

// maxLevels bounds the work that a path can cost; BIP-44 has five levels.
const maxLevels = 10

// maxIndex is the greatest index that a level can name; hardening sets the
// next bit.
const maxIndex = 1<<31 - 1

// CheckPath accepts a derivation path in its one text form: "m", then 1 to 10
// levels such as "/44'", each a decimal number below 2^31 without leading
// zeros, with ' alone marking a hardened one. On ed25519 every level must be
// hardened (SLIP-10). The curve must be known.
func CheckPath(path, curve string) error {
	if curve != CurveSecp256k1 && curve != CurveEd25519 {
		return fmt.Errorf("%w: curve %q is not known", ErrPath, curve)
	}
	rest, ok := strings.CutPrefix(path, "m/")
	if !ok {
		return fmt.Errorf("%w: it does not begin with m/", ErrPath)
	}
	// Cut before splitting, so that an enormous path costs nothing.
	if strings.Count(rest, "/") >= maxLevels {
		return fmt.Errorf("%w: more than %d levels", ErrPath, maxLevels)
	}
	for level := range strings.SplitSeq(rest, "/") {
		index, hardened := strings.CutSuffix(level, "'")
		if err := checkIndex(index); err != nil {
			return err
		}
		if curve == CurveEd25519 && !hardened {
			return fmt.Errorf("%w: %s wants every level hardened", ErrPath, curve)
		}
	}
	return nil
}

func checkIndex(index string) error {
	n, err := strconv.ParseUint(index, 10, 32)
	if err != nil || n > maxIndex || strconv.FormatUint(n, 10) != index {
		return fmt.Errorf("%w: a level is not a number below 2^31 without leading zeros", ErrPath)
	}
	return nil
}
