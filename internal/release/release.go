// Package release says what a program was built from, as Go's toolchain has
// written it into the binary.
package release

import (
	"fmt"
	"runtime/debug"
)

// Release is what a program was built from; unknown where a build does not say.
type Release struct {
	Version  string // of the module
	Revision string // of its sources
	Modified bool   // whether they were changed since
	Go       string
}

const unknown = "unknown"

// This returns what the running program was built from.
func This() Release {
	r := Release{Version: unknown, Revision: unknown, Go: unknown}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	r.Version, r.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Revision = s.Value
		case "vcs.modified":
			r.Modified = s.Value == "true"
		}
	}
	return r
}

// String is one line for people.
func (r Release) String() string {
	changed := ""
	if r.Modified {
		changed = " with changes"
	}
	return fmt.Sprintf("%s (revision %s%s, %s)", r.Version, r.Revision, changed, r.Go)
}
