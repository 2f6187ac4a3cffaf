package faulty_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The services' wall clocks are set by building the unmodified services with
// another time.Now (go build -overlay): as on a machine whose clock is set, the
// wall reading jumps and the monotonic one does not, in our code, in libraries
// and in TLS alike. See docs/decisions/clock-faults.md.
//
// wallStep stands at the end of package time. Each binary maps the file NAME.clock
// beside itself, eight bytes: the seconds by which its wall clock is off. A
// binary that finds none does not start.
const wallStep = `
var wallClockFile = mapWallClock()

func mapWallClock() *int64 {
	path := make([]byte, 4096)
	n, err := syscall.Readlink("/proc/self/exe", path)
	if err != nil {
		panic("` + clockMark + `: " + err.Error())
	}
	fd, err := syscall.Open(string(path[:n])+".clock", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("` + clockMark + `: " + err.Error())
	}
	mapped, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + clockMark + `: " + err.Error())
	}
	syscall.Close(fd)
	return (*int64)(unsafe.Pointer(&mapped[0]))
}

func wallStep() int64 {
	if wallClockFile == nil {
		return 0 // while packages are initialised
	}
	return *wallClockFile
}
`

// clockMark is found in the binaries whose clock can be set, and in no other.
const clockMark = "countersign test: mapping the wall clock"

// clockEdits are the changes to package time. Each must fit exactly once, so
// that another Go version is noticed.
var clockEdits = []struct{ old, new string }{
	{"\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {", "\tsec, nsec, mono := runtimeNow()\n\tsec += wallStep()\n\tif mono == 0 {"},
	{"\t_ \"unsafe\" // for go:linkname\n", "\t\"syscall\"\n\t\"unsafe\"\n"},
}

// overlay writes the other package time into a folder and returns the file
// that go build is to be given.
func overlay(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking for GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	for _, e := range clockEdits {
		if n := bytes.Count(source, []byte(e.old)); n != 1 {
			return "", fmt.Errorf("%s has %q %d times", original, e.old, n)
		}
		source = bytes.Replace(source, []byte(e.old), []byte(e.new), 1)
	}
	changed := filepath.Join(dir, "time.go")
	if err := os.WriteFile(changed, append(source, wallStep...), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// clockBinaries builds the services with clocks that can be set, once for all
// tests. The launcher beside them is the normal one.
var clockBinaries = sync.OnceValues(func() (string, error) {
	bin, err := binDir()
	if err != nil {
		return "", err
	}
	list, err := overlay(bin)
	if err != nil {
		return "", err
	}
	args := []string{"-overlay", list, "-o", bin + "/"}
	for _, service := range services {
		args = append(args, "./services/"+service)
	}
	if err := goBuild(args...); err != nil {
		return "", err
	}
	normal, err := binaries()
	if err != nil {
		return "", err
	}
	return bin, os.Link(filepath.Join(normal, "countersign"), filepath.Join(bin, "countersign"))
})

// clocks are the files of one deployment's wall clocks.
type clocks map[string]*os.File

// newClocks gives a deployment its own links of the binaries, with a clock each
// beside them that is right.
func newClocks(t *testing.T) (bin string, c clocks) {
	t.Helper()
	from, err := clockBinaries()
	if err != nil {
		t.Fatal(err)
	}
	if bin, err = binDir(); err != nil {
		t.Fatal(err)
	}
	c = clocks{}
	for _, name := range append([]string{"countersign"}, services...) {
		if err := os.Link(filepath.Join(from, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range services {
		f, err := os.Create(filepath.Join(bin, service+".clock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		c[service] = f
		c.set(t, 0, service)
	}
	return bin, c
}

// set puts wall clocks ahead of the right time, or behind it.
func (c clocks) set(t *testing.T, ahead time.Duration, services ...string) {
	t.Helper()
	for _, service := range services {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], uint64(int64(ahead/time.Second)))
		if _, err := c[service].WriteAt(b[:], 0); err != nil {
			t.Error(err)
		}
	}
}

// newClockWorld is a world whose services' wall clocks can be set.
func newClockWorld(t *testing.T, ahead time.Duration, services ...string) (*world, clocks) {
	t.Helper()
	bin, c := newClocks(t)
	c.set(t, ahead, services...)
	return newWorldOf(t, setup{bin: bin}), c
}

// TestClockCanBeSetInTestsAlone: what `make build` and releases build has no
// such clock.
func TestClockCanBeSetInTestsAlone(t *testing.T) {
	t.Parallel()
	normal, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	set, err := clockBinaries()
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range services {
		for dir, want := range map[string]bool{normal: false, set: true} {
			b, err := os.ReadFile(filepath.Join(dir, service))
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(b, []byte(clockMark)); got != want {
				t.Errorf("%s of %s: a clock that can be set: %v", service, dir, got)
			}
		}
	}
}
