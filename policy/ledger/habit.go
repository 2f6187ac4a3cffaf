package ledger

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"slices"
)

const (
	// habitSize is how many amounts a habit is made of, the latest.
	habitSize = 128
	// habitReach is how many events of a run are looked at to find them.
	habitReach = 4096
	// consistency makes the median absolute deviation estimate the standard
	// deviation where values are normally distributed.
	consistency = 1.4826
	// leastDeviation is taken where amounts hardly differ: a factor of 2^0.25, or
	// 19 %. An amount twice as high as all others is then 4 deviations away.
	leastDeviation = 0.25
)

// earlier is one amount of the past, big-endian without zeros in front.
type earlier struct {
	at     int64
	amount []byte
}

// habitOf compares an amount with the latest of them.
func habitOf(past []earlier, amount *big.Int) Habit {
	if len(past) == 0 {
		return Habit{}
	}
	slices.SortStableFunc(past, func(a, b earlier) int { return cmp.Compare(b.at, a.at) })
	past = past[:min(len(past), habitSize)]
	slices.SortFunc(past, func(a, b earlier) int { return compareAmounts(a.amount, b.amount) })
	logs := make([]float64, len(past))
	for i, p := range past {
		logs[i] = log2(p.amount)
	}
	h := Habit{
		Count: len(past), Median: median(logs),
		MedianAmount: new(big.Int).SetBytes(past[(len(past)-1)/2].amount),
	}
	for i := range logs {
		logs[i] = math.Abs(logs[i] - h.Median)
	}
	slices.Sort(logs)
	h.MAD = median(logs)
	h.Z = (log2(amount.Bytes()) - h.Median) / max(consistency*h.MAD, leastDeviation)
	return h
}

func compareAmounts(a, b []byte) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), bytes.Compare(a, b))
}

// median is of sorted values; of an even number it is the mean of the middle two.
func median(values []float64) float64 {
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// log2 of nothing is that of one base unit.
func log2(amount []byte) float64 {
	if len(amount) == 0 {
		return 0
	}
	high := uint64(0)
	front := amount[:min(8, len(amount))]
	for _, b := range front {
		high = high<<8 | uint64(b)
	}
	return math.Log2(float64(high)) + float64(8*(len(amount)-len(front)))
}
