package release_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/release"
)

func TestThis(t *testing.T) {
	if got := release.This(); got.Go != runtime.Version() || got.Version == "" || got.Revision == "" || !strings.Contains(got.String(), got.Go) {
		t.Errorf("%+v: %s", got, got)
	}
	changed := release.Release{Version: "v1", Revision: "abc", Modified: true, Go: "go1"}
	if got := changed.String(); got != "v1 (revision abc with changes, go1)" {
		t.Error(got)
	}
}
