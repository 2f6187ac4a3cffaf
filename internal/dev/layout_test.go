package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// write puts files into a folder, by name.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// contents are the files and folders below a folder, itself included, with their
// modes and what they hold.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			out[path] = fmt.Sprint(info.Mode())
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = fmt.Sprint(info.Mode(), string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A folder in which somebody keeps something is refused as it is: no key and no
// document in it is replaced, nothing is added, its mode stays.
func TestFolderOfOthersIsLeftAlone(t *testing.T) {
	bin := t.TempDir()
	for _, s := range services() {
		write(t, bin, map[string]string{s: "#!/bin/sh\nexit 1\n"})
	}
	const genesis = `{"mine":true}`
	for name, files := range map[string]map[string]string{
		"keys and documents": {"policy.yaml": "mine", "config/proposer.yaml": "mine", "keys/alice.pem": "mine"},
		"one hidden file":    {".git": "mine"},
		"a lock":             {"lock": ""},
		"a genesis document": {"genesis.json": genesis, "anna.pem": "mine"},
		"another complete":   {"genesis.json": genesis, "complete": "mine"},
		"complete alone":     {"complete": message.Sum([]byte(genesis)).String() + "\n"},
		"a marker's folder":  {"countersign-dev/keys/alice.pem": "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, files)
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			err := Run(t.Context(), Options{Dir: dir, Bin: bin, Log: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, ErrForeign) {
				t.Errorf("got %v, want ErrForeign", err)
			}
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Errorf("the folder went from %v to %v", before, after)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "file")
		write(t, filepath.Dir(dir), map[string]string{"file": "mine"})
		if err := Run(t.Context(), Options{Dir: dir, Bin: bin, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, ErrForeign) {
			t.Errorf("got %v, want ErrForeign", err)
		}
	})
}

// A launcher that is killed leaves what it has made so far: the next one starts
// in the same folder, or says that the deployment was not finished.
func TestFolderOfAKilledLauncher(t *testing.T) {
	const genesis = "{}"
	id := message.Sum([]byte(genesis)).String() + "\n"
	for name, tt := range map[string]struct {
		left map[string]string // nil: the folder itself is not there
		made bool
		err  error
	}{
		"before anything":       {},
		"the folder alone":      {left: map[string]string{}},
		"behind the marker":     {left: map[string]string{"countersign-dev": ""}},
		"behind the lock":       {left: map[string]string{"countersign-dev": "", "lock": ""}},
		"among the keys":        {left: map[string]string{"countersign-dev": "", "keys/alice.pem.new": "half"}},
		"behind the genesis":    {left: map[string]string{"countersign-dev": "", "genesis.json": genesis}, err: ErrUnfinished},
		"complete":              {left: map[string]string{"countersign-dev": "", "genesis.json": genesis, "complete": id}, made: true},
		"complete, no marker":   {left: map[string]string{"genesis.json": genesis, "complete": id}, made: true},
		"complete, and a guest": {left: map[string]string{"countersign-dev": "", "complete": id, "notes": "mine"}, made: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := layout{filepath.Join(t.TempDir(), "deployment")}
			if tt.left != nil {
				if err := os.Mkdir(l.dir, 0o711); err != nil {
					t.Fatal(err)
				}
			}
			write(t, l.dir, tt.left)
			for range 2 {
				if err := l.prepare(); err != nil {
					t.Fatal(err)
				}
				if made, err := l.state(); made != tt.made || !errors.Is(err, tt.err) {
					t.Errorf("made %v, %v; want %v, %v", made, err, tt.made, tt.err)
				}
			}
		})
	}
}

// The marker is there before anything else is: whoever is killed later leaves a
// folder that is known again.
func TestMarkerComesFirst(t *testing.T) {
	l := layout{filepath.Join(t.TempDir(), "deployment")}
	if err := l.claim(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil || len(entries) != 1 || l.path(entries[0].Name()) != l.marker() {
		t.Errorf("got %v, %v, want the marker alone", entries, err)
	}
}
