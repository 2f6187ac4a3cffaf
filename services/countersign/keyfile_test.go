package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/internal/scratch/scratchtest"
)

// TestKeyFilesAreWiped: of a key file's bytes nothing is left once it is written
// or read, also where its public half alone was wanted, or it is refused.
func TestKeyFilesAreWiped(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []string{keyEd25519, keyP256} {
		path := filepath.Join(dir, kind)
		scratchtest.WantNone(t, func() {
			key, err := newKey(kind)
			if err == nil {
				err = writeKey(path, key)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := writeKey(path, key); err == nil {
				t.Error("a key file was overwritten")
			}
		}, "countersign.writeKey")
		scratchtest.WantNone(t, func() {
			if _, err := readKey(path); err != nil {
				t.Error(err)
			}
			_, err := readEd25519(path)
			if (err == nil) != (kind == keyEd25519) {
				t.Errorf("read as an Ed25519 key: %v", err)
			}
		}, "countersign.readPEM", "countersign.parsePEM")
		scratchtest.WantNone(t, func() {
			if _, err := readPublic(path); err != nil {
				t.Error(err)
			}
		}, "countersign.readPublic")
	}
	for name, text := range map[string]string{
		"cut":      "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n",
		"another":  "-----BEGIN SECRET-----\nc2VjcmV0\n-----END SECRET-----\n",
		"nonsense": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key.pem")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			scratchtest.WantNone(t, func() {
				_, one := readKey(path)
				_, two := readPublic(path)
				if one == nil || two == nil {
					t.Errorf("it is read: %v, %v", one, two)
				}
			}, "countersign.readPEM", "countersign.readPublic")
		})
	}
}
