package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deployment"
)

// keys are the JSON keys of a struct, and of those within it.
func keys(of reflect.Type) (out []string) {
	for field := range of.Fields() {
		if field.Anonymous {
			out = append(out, keys(field.Type.Elem())...)
		} else if key := field.Tag.Get("json"); key != "" {
			out = append(out, key)
		}
	}
	return out
}

// TestFiguresAreDocumented: the page says what each key means.
func TestFiguresAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "benchmark.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := keys(reflect.TypeFor[figures]())
	if len(all) < 40 {
		t.Fatalf("only %d keys", len(all))
	}
	for _, key := range all {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/benchmark.md does not say what %s is", key)
		}
	}
}

// TestPeakMemory: a service's figure is the largest of its instances, and stays
// the largest of what was compared.
func TestPeakMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := exec.CommandContext(t.Context(), "sleep", "60")
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = second.Process.Kill()
		_ = second.Wait()
	})
	running := &deployment.Running{Dir: t.TempDir()}
	running.Processes = map[string]string{"signing": path}
	large := &target{Running: running}
	small := &target{
		Running:  &deployment.Running{Dir: t.TempDir()},
		replicas: []*replica{{service: "signing", cmd: second}},
	}
	mib := func(of *target) float64 {
		t.Helper()
		peaks, err := of.peakMemory()
		if err != nil || len(peaks) != 1 || peaks["signing"] <= 0 {
			t.Fatalf("got %v, %v", peaks, err)
		}
		return peaks["signing"]
	}
	most := mib(large)
	if least := mib(small); least >= most {
		t.Fatalf("sleep takes %v MiB, this test %v", least, most)
	}
	large.replicas = small.replicas
	c := &comparison{}
	for _, of := range []*target{small, large, small} {
		if err := c.addMemory(&contender{target: of}); err != nil {
			t.Fatal(err)
		}
	}
	if c.RSS["signing"] < most {
		t.Fatalf("kept %v MiB of %v", c.RSS["signing"], most)
	}
}
