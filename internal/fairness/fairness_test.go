package fairness_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/fairness"
)

// TestAttackManyUsersFillMemory checks that buckets that are full again are
// forgotten.
func TestAttackManyUsersFillMemory(t *testing.T) {
	now := time.Now()
	buckets := fairness.NewBuckets(fairness.Rate{PerSecond: 1, Burst: 2})
	take := func(user string) bool {
		_, ok := buckets.Take(user, now)
		return ok
	}
	for i := range 100_000 {
		if !take(fmt.Sprint(i)) {
			t.Fatal("a new user is refused")
		}
		now = now.Add(time.Millisecond) // so a thousand buckets are not full
	}
	if n := buckets.Len(); n > 4096 {
		t.Fatalf("%d buckets are kept", n)
	}
	take("flood")
	take("flood")
	for i := range 10_000 {
		take(fmt.Sprint("x", i))
	}
	if take("flood") {
		t.Fatal("a bucket that was empty has been forgotten")
	}
}

func TestRateValid(t *testing.T) {
	for rate, want := range map[fairness.Rate]bool{
		{PerSecond: 0.5, Burst: 1}:         true,
		{}:                                 false,
		{PerSecond: 1}:                     false,
		{Burst: 1}:                         false,
		{PerSecond: -1, Burst: 1}:          false,
		{PerSecond: math.Inf(1), Burst: 1}: false,
		{PerSecond: math.NaN(), Burst: 1}:  false,
	} {
		if rate.Valid() != want {
			t.Errorf("%+v: valid is %v", rate, !want)
		}
	}
}

// TestPlaces: one caller has no more than its share, all have no more than
// there are, and what is given back is there again.
func TestPlaces(t *testing.T) {
	places := fairness.NewPlaces(2, 3)
	want := func(caller string, ok bool) func() {
		t.Helper()
		leave, got := places.Take(caller)
		if got != ok {
			t.Fatalf("a place for %s: %v, want %v", caller, got, ok)
		}
		return leave
	}
	leave := want("alice", true)
	want("alice", true)
	want("alice", false)
	want("bob", true)
	want("carol", false)
	leave()
	want("carol", true)
	want("alice", false)
}

// TestTurns: a caller waits for its own calls, and for nobody else's.
func TestTurns(t *testing.T) {
	turns := fairness.NewTurns(1)
	end, err := turns.Take(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.Take(gone, "alice"); err == nil {
		t.Fatal("a second turn at once")
	}
	if _, err := turns.Take(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	end()
	if _, err := turns.Take(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
}
