package boot

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/message"
)

// ErrDebug says that a strict service's environment would have it print what it
// works with, or weaken what it relies on.
var ErrDebug = errors.New("a strict service does not start with this in its environment: take it out")

// harmless are the settings of GODEBUG that a strict service may have: they
// report or tune the memory and the scheduling of Go's runtime. Others print
// tokens and messages (http2debug), go back to ciphers and checks of the past
// (tls10server, x509sha1, ...), or will come with a later Go.
var harmless = []string{"asyncpreemptoff", "disablethp", "gctrace", "madvdontneed", "schedtrace"}

// checkEnvironment reports every variable that a strict service does not start
// with; never a value, for PGPASSWORD is one of them. In a development deployment
// there is nothing to protect, and somebody may want to look.
func checkEnvironment(mode message.Mode, environ []string) error {
	if mode == message.ModeDevelopment {
		return nil
	}
	var faults []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "GODEBUG":
			faults = append(faults, checkGoDebug(value)...)
		case name == "PQGO_DEBUG":
			faults = append(faults, errors.New("PQGO_DEBUG: the database driver would print every value"))
		case strings.HasPrefix(name, "PG"), strings.HasPrefix(name, "SSLPG"):
			faults = append(faults, fmt.Errorf("%s: the database driver reads it, and the configuration alone says how to reach the database", name))
		}
	}
	if faults == nil {
		return nil
	}
	return errors.Join(append([]error{ErrDebug}, faults...)...)
}

func checkGoDebug(value string) (faults []error) {
	for _, setting := range strings.Split(value, ",") {
		name, _, _ := strings.Cut(setting, "=")
		if name != "" && !slices.Contains(harmless, name) {
			faults = append(faults, fmt.Errorf("GODEBUG: setting %.40q is none of %s", name, strings.Join(harmless, ", ")))
		}
	}
	return faults
}
