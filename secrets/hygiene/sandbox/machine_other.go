//go:build !amd64 && !arm64 && !s390x

package sandbox

// There is no filter for this processor: see filter.
const (
	auditArch      = 0
	foreignFrom    = 0
	lowWord        = 0
	cloneFlags     = 0
	filtersSockets = false
)

var (
	machineConditional []rule
	machineRefusals    []refusal
)
