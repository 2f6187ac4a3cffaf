package document_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// accounts is the text of a list's file.
func accounts(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "eip155:1:0x%040x\n", i)
	}
	return out.String()
}

func TestReadList(t *testing.T) {
	text := accounts(1000)
	f, err := document.ReadList([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if f.Len() != 1000 || f.SHA256() != message.Sum([]byte(text)).String() {
		t.Fatalf("%d accounts, digest %s", f.Len(), f.SHA256())
	}
	for i := range 1000 {
		if !f.Has(fmt.Sprintf("eip155:1:0x%040x", i)) {
			t.Fatalf("%d is not there", i)
		}
	}
	for _, other := range []string{"", "eip155:1:0x" + strings.Repeat("f", 40), fmt.Sprintf("eip155:10:0x%040x", 1), fmt.Sprintf("eip155:1:0x%040x\n", 1)} {
		if f.Has(other) {
			t.Errorf("%q is there", other)
		}
	}
}

func TestReadListRefuses(t *testing.T) {
	one := accounts(1)
	for name, text := range map[string]string{
		"fail/empty":         "",
		"fail/no-end":        strings.TrimSuffix(one, "\n"),
		"fail/empty-line":    one + "\n",
		"fail/carriage":      strings.Replace(one, "\n", "\r\n", 1),
		"fail/twice":         one + accounts(1),
		"fail/twice-apart":   accounts(50) + one,
		"fail/upper-case":    "eip155:1:0x" + strings.Repeat("A", 40) + "\n",
		"fail/space":         " " + one,
		"fail/comment":       "# sanctions\n" + one,
		"fail/no-chain":      "0x" + strings.Repeat("a", 40) + "\n",
		"fail/byte-order":    "\ufeff" + one,
		"fail/too-many":      accounts(document.MaxListEntries + 1),
		"fail/too-large":     strings.Repeat("a", document.MaxListFile) + "\n",
		"fail/null-byte":     strings.Replace(one, "0x", "0\x00", 1),
		"fail/of-no-account": "bip122:000000000019d6689c085ae165831e93\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := document.ReadList([]byte(text)); !errors.Is(err, document.ErrListFile) {
				t.Fatalf("got %v", err)
			}
		})
	}
	if _, err := document.ReadList([]byte("bip122:000000000019d6689c085ae165831e93:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa\n")); err != nil {
		t.Fatal(err)
	}
}

// TestTwiceInAListFile names both lines.
func TestTwiceInAListFile(t *testing.T) {
	_, err := document.ReadList([]byte(accounts(50) + "eip155:1:0x0000000000000000000000000000000000000007\n"))
	if err == nil || !strings.HasSuffix(err.Error(), "line 51: eip155:1:0x0000000000000000000000000000000000000007 stands in line 8 too") {
		t.Errorf("got %v", err)
	}
}

// TestListFileMemory: a hundred thousand accounts within 8 MiB.
func TestListFileMemory(t *testing.T) {
	raw := []byte(accounts(100_000))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f, err := document.ReadList(raw)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 8<<20 {
		t.Errorf("%d bytes for %d accounts", used, f.Len())
	}
	runtime.KeepAlive(raw)
}

// TestAttackListFileChanged: a file that is swapped, cut or extended is not the
// one that the quorum has signed.
func TestAttackListFileChanged(t *testing.T) {
	d := deploymenttest.New(t)
	read := func(text string) *document.ListFile {
		f, err := document.ReadList([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	good := read(accounts(10))
	active := func(entries int) *document.Active {
		return d.Active(func(x *document.Document) {
			names(x)
			x.Lists[2].File = &document.File{SHA256: good.SHA256(), Entries: entries}
		})
	}
	a := active(10)
	if err := a.Attach(map[string]*document.ListFile{good.SHA256(): good, "more": good}); err != nil {
		t.Fatal(err)
	}
	listed := fmt.Sprintf("eip155:1:0x%040x", 5)
	if !a.Listed("sanctions", listed) || a.Listed("sanctions", payee) || !a.Files().Has(good.SHA256(), listed) || len(a.Files()) != 1 {
		t.Fatal("the list is not the file's")
	}
	for name, tt := range map[string]struct {
		entries int
		file    *document.ListFile
	}{
		"swapped": {10, read(strings.Replace(accounts(10), "0005", "0055", 1))}, "cut": {10, read(accounts(9))},
		"extended": {10, read(accounts(11))}, "reordered": {10, read(accounts(10)[53:] + accounts(1))},
		"missing": {10, nil}, "another-number": {9, good},
	} {
		t.Run(name, func(t *testing.T) {
			a := active(tt.entries)
			if err := a.Attach(map[string]*document.ListFile{good.SHA256(): tt.file}); !errors.Is(err, document.ErrListFile) {
				t.Fatalf("got %v", err)
			}
			if len(a.Files()) != 0 || a.Listed("sanctions", listed) {
				t.Fatal("it was attached")
			}
		})
	}
}

func FuzzReadList(f *testing.F) {
	f.Add([]byte(accounts(3)))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := document.ReadList(raw)
		if err != nil {
			return
		}
		lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
		if l.Len() != len(lines) {
			t.Fatalf("%d accounts of %d lines", l.Len(), len(lines))
		}
		for _, line := range lines {
			if !l.Has(line) {
				t.Fatalf("%q is not there", line)
			}
		}
	})
}

func BenchmarkListFileHas(b *testing.B) {
	f, err := document.ReadList([]byte(accounts(100_000)))
	if err != nil {
		b.Fatal(err)
	}
	account := fmt.Sprintf("eip155:1:0x%040x", 77)
	b.ReportAllocs()
	for b.Loop() {
		if !f.Has(account) {
			b.Fatal("not there")
		}
	}
}
