package sandbox_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/secrets/hygiene/sandbox"
)

// childVariable tells the test binary to play a process in a sandbox.
const childVariable = "COUNTERSIGN_TEST_CHILD"

// order is what a child does: it enters the sandbox, says so, waits until it is
// told to go on, tries the acts and reports.
type order struct {
	Config sandbox.Config
	// Answers are what the kernel says to some calls before the sandbox is
	// entered, as another kernel would.
	Answers map[uint32]uint32
	Acts    []string
	// Folder, Port and Other are what some acts are tried on: see outside.
	Folder      string
	Port, Other int
}

// report is what a child says. Errno is 0 for what succeeds and -1 for a failure
// without a number; Text is the error's.
type report struct {
	Enforced []sandbox.Part
	Landlock int
	Err      string // of Enter
	NotKept  bool
	Results  map[string]result
}

type result struct {
	Errno int
	Text  string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		var o order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			panic(err)
		}
		o.play()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (o order) play() {
	pretend(o.Answers)
	before := prepare()
	state, err := sandbox.Enter(o.Config)
	r := report{Enforced: state.Enforced(), Landlock: state.Landlock, Results: map[string]result{}}
	if err != nil {
		r.Err, r.NotKept = err.Error(), errors.Is(err, sandbox.ErrNotKept)
	}
	fmt.Println("entered")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	for _, name := range o.Acts {
		r.Results[name] = resultOf(acts[name](o, before))
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

func resultOf(err error) result {
	if err == nil {
		return result{}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return result{Errno: int(errno), Text: err.Error()}
	}
	return result{Errno: -1, Text: err.Error()}
}

// pretend has the kernel give answers to calls, as one that is older or other
// would.
func pretend(answers map[uint32]uint32) {
	if len(answers) == 0 {
		return
	}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 4}}
	for call, answer := range answers {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1}, bpf.RetConstant{Val: answer})
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: allowed}))
	if err == nil {
		err = sandbox.Install(raw)
	}
	if err != nil {
		panic(err)
	}
}

// outside is what children are tried on.
//
//	folder/named/file   in a folder that is named
//	folder/alone        a file that is named
//	folder/secret       neither
func outside(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "named"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"named/file", "alone", "secret"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// run has a child follow an order. Meanwhile runs while the child waits.
func (o order) run(t testing.TB, meanwhile func()) (report, syscall.WaitStatus) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text), "GOTRACEBACK=none", "GORACE=atexit_sleep_ms=0")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); err != nil || line != "entered\n" {
		t.Errorf("the child says %q, %v", line, err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	_, _ = io.WriteString(in, "go on\n")
	var r report
	decoded := json.NewDecoder(out).Decode(&r)
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Exited() && decoded != nil {
		t.Fatalf("the child reports nothing: %v", decoded)
	}
	return r, status
}

// needs skips a test of what this machine's kernel does not enforce.
func needs(t *testing.T, r report, parts ...sandbox.Part) {
	t.Helper()
	for _, p := range parts {
		if !slices.Contains(r.Enforced, p) {
			t.Skipf("this kernel does not enforce %s", p)
		}
	}
}

// prepared is what a child does before it enters.
type prepared struct {
	code    func()            // 32-bit code, on amd64
	threads []chan chan error // threads that wait; each opens the path it is sent
	path    *string
}

func prepare() prepared {
	p := prepared{code: foreignCode(), path: new(string)}
	for range 8 {
		calls := make(chan chan error)
		ready := make(chan bool)
		go func() {
			runtime.LockOSThread()
			ready <- true
			for answer := range calls {
				answer <- tryEscape(*p.path)
			}
		}()
		<-ready
		p.threads = append(p.threads, calls)
	}
	return p
}

// tryEscape succeeds where one of the two that the sandbox forbids works: to
// read a file, and to make a Unix socket.
func tryEscape(path string) error {
	_, reading := os.ReadFile(path)
	_, socket := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if !errors.Is(reading, unix.EACCES) || !errors.Is(socket, unix.EAFNOSUPPORT) {
		return fmt.Errorf("reading: %q, making a socket: %q", fmt.Sprint(reading), fmt.Sprint(socket))
	}
	return nil
}
