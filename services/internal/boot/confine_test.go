package boot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets/hygiene/sandbox"
	"github.com/countersign/countersign/services/internal/boot"
)

// childVariable tells the test binary to play a service that confines itself.
const childVariable = "COUNTERSIGN_TEST_CHILD"

// service is what a child plays.
type service struct {
	Mode    message.Mode
	Sandbox config.Sandbox
	Lacks   uint32 // a system call that its kernel does not have; 0: none
}

// outcome is what becomes of it.
type outcome struct {
	Refused  bool // with ErrNotConfined
	Err      string
	Confined bool // it cannot read, or not write, any more
	Log      string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		var s service
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			panic(err)
		}
		s.play()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (s service) play() {
	runtime.LockOSThread() // the thread whose kernel lacks something
	s.lack()
	var log bytes.Buffer
	d := &boot.Deployment{Genesis: message.Genesis{Mode: s.Mode}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	err := d.Confine(s.Sandbox, sandbox.Config{})
	o := outcome{Refused: errors.Is(err, boot.ErrNotConfined), Log: log.String()}
	_, reading := os.ReadDir("/")
	o.Confined = errors.Is(reading, unix.EACCES) || errors.Is(os.Mkdir("/", 0o700), unix.EACCES)
	if err != nil {
		o.Err = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(o)
}

// lack has the kernel not know a call, as an older one or a container's sandbox
// would.
func (s service) lack() {
	if s.Lacks == 0 {
		return
	}
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: s.Lacks, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		panic(err)
	}
	var code []unix.SockFilter
	for _, in := range raw {
		code = append(code, unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0); err != nil {
		panic(err)
	}
}

func (s service) confine(t *testing.T) outcome {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = t.Output()
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestConfine: what a service does where the kernel takes all from it that it
// should, and where it does not. Whatever is missing is logged.
func TestConfine(t *testing.T) {
	whole := service{Mode: message.ModeStrict}.confine(t)
	if strings.Contains(whole.Log, "incomplete") {
		t.Skipf("this machine's kernel does not have all parts: %s", whole.Log)
	}
	const strict, development = message.ModeStrict, message.ModeDevelopment
	const noLandlock, noSeccomp = unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_SECCOMP
	tests := map[string]struct {
		service  service
		refused  bool
		confined bool
		missing  string // in the log
	}{
		"strict":                         {service{strict, config.SandboxDefault, 0}, false, true, ""},
		"strict-without-landlock":        {service{strict, config.SandboxDefault, noLandlock}, false, true, "[files tcp_ports]"},
		"fail/strict-without-seccomp":    {service{strict, config.SandboxDefault, noSeccomp}, true, false, "[system_calls sockets]"},
		"fail/required-without-landlock": {service{strict, config.SandboxRequire, noLandlock}, true, true, "[files tcp_ports]"},
		"fail/required-in-development":   {service{development, config.SandboxRequire, noLandlock}, true, true, "[files tcp_ports]"},
		"required":                       {service{strict, config.SandboxRequire, 0}, false, true, ""},
		"tried-without-seccomp":          {service{strict, config.SandboxTry, noSeccomp}, false, true, "[system_calls sockets]"},
		"development-without-seccomp":    {service{development, config.SandboxDefault, noSeccomp}, false, true, "[system_calls sockets]"},
		"off-in-development":             {service{development, config.SandboxOff, 0}, false, false, ""},
		"fail/off-in-strict":             {service{strict, config.SandboxOff, 0}, true, false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := tt.service.confine(t)
			if o.Refused != tt.refused || (o.Err != "") != tt.refused {
				t.Errorf("error is %q, want one: %v", o.Err, tt.refused)
			}
			if tt.confined != o.Confined && !tt.refused {
				t.Errorf("confined: %v, want %v", o.Confined, tt.confined)
			}
			if warned := strings.Contains(o.Log, "level=WARN"); warned != (tt.missing != "" || tt.service.Sandbox == config.SandboxOff && !tt.refused) {
				t.Errorf("the log says %q", o.Log)
			}
			if !strings.Contains(o.Log, tt.missing) {
				t.Errorf("the log does not say that %s are missing: %q", tt.missing, o.Log)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	cfg := config.Service{Health: "127.0.0.1:9000", Database: config.Database{Addresses: []string{"10.0.0.1:5432", "[::1]:5433"}}}
	needs, err := boot.Needs(cfg)
	if want := (sandbox.Config{ConnectTCP: []uint16{5432, 5433}, BindTCP: []uint16{9000}}); err != nil || !reflect.DeepEqual(needs, want) {
		t.Errorf("needs %+v, want %+v (%v)", needs, want, err)
	}
	cfg.Database.Addresses = append(cfg.Database.Addresses, "db.internal:5432")
	if needs, err = boot.Needs(cfg); err != nil || !needs.Names {
		t.Errorf("a server with a name, but names are not looked up: %+v, %v", needs, err)
	}
	for _, wrong := range []config.Service{
		{Health: "127.0.0.1", Database: cfg.Database},
		{Health: "127.0.0.1:9000", Database: config.Database{Addresses: []string{"db.internal:nosuchservice"}}},
	} {
		if needs, err := boot.Needs(wrong); err == nil {
			t.Error(fmt.Sprint("fail: accepted as ", needs))
		}
	}
}
