package wallet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The curves that accounts' keys are on.
const (
	CurveSecp256k1 = "secp256k1"
	CurveEd25519   = "ed25519"
)

// Limits of derivation paths (BIP-32): an index is below 2^31, and hardened
// ones are written with "'" and have the highest bit set. maxDepth is our own:
// no scheme in use goes deeper.
const (
	hardened = uint32(1) << 31
	maxDepth = 10
)

// ErrPath says that a derivation path is not in the one accepted form.
var ErrPath = errors.New("invalid derivation path")

// parsePath reads "m/44'/60'/0'/0/0": one to maxDepth levels, decimal without
// leading zeros, "'" alone for hardened. Where Ed25519 is derived every level
// must be hardened (SLIP-10 knows no other).
func parsePath(curve, path string) ([]uint32, error) {
	if curve != CurveSecp256k1 && curve != CurveEd25519 {
		return nil, fmt.Errorf("curve %q is not known", curve)
	}
	rest, ok := strings.CutPrefix(path, "m/")
	if !ok {
		return nil, fmt.Errorf("%w: does not begin with m/", ErrPath)
	}
	// Counted before they are split: a path may come from anybody.
	if n := strings.Count(rest, "/") + 1; n > maxDepth {
		return nil, fmt.Errorf("%w: %d levels, more than %d", ErrPath, n, maxDepth)
	}
	var out []uint32
	for level := range strings.SplitSeq(rest, "/") {
		index, err := parseLevel(level)
		if err != nil {
			return nil, err
		}
		if curve == CurveEd25519 && index < hardened {
			return nil, fmt.Errorf("%w: every level must be hardened on ed25519", ErrPath)
		}
		out = append(out, index)
	}
	return out, nil
}

func parseLevel(level string) (uint32, error) {
	digits, isHardened := strings.CutSuffix(level, "'")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, fmt.Errorf("%w: a level is not a number below 2^31, with ' alone for hardened", ErrPath)
	}
	if isHardened {
		return uint32(n) | hardened, nil
	}
	return uint32(n), nil
}
