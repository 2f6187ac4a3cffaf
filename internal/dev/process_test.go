package dev

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// These are white-box tests: what a service is started with shows nowhere else.

func TestServicesShareTheCores(t *testing.T) {
	t.Setenv(maxProcs, "") // restores it at the end
	if err := os.Unsetenv(maxProcs); err != nil {
		t.Fatal(err)
	}
	if want := maxProcs + "=" + strconv.Itoa(coresPerService()); !slices.Contains(environment(), want) {
		t.Errorf("%s is missing", want)
	}
	t.Setenv(maxProcs, "7")
	given := slices.DeleteFunc(environment(), func(s string) bool { return !strings.HasPrefix(s, maxProcs+"=") })
	if !slices.Equal(given, []string{maxProcs + "=7"}) {
		t.Errorf("what the environment sets became %v", given)
	}
}

func TestServicesSleepLoosely(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := slack(t)
	cmd := exec.Command("cat", "/proc/self/timerslack_ns")
	var out strings.Builder
	cmd.Stdout = &out
	if err := startPatiently(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Skip("this kernel does not tell:", err)
	}
	if got := strings.TrimSpace(out.String()); got != strconv.FormatInt(timerSlack.Nanoseconds(), 10) {
		t.Errorf("the service's timer slack is %s ns", got)
	}
	if after := slack(t); after != before {
		t.Errorf("the launcher's own timer slack went from %d to %d ns", before, after)
	}
}

// slack is the calling thread's timer slack in nanoseconds.
func slack(t *testing.T) int {
	t.Helper()
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
