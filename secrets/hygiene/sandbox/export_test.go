package sandbox

import "golang.org/x/net/bpf"

// What the tests see of the inside.
var (
	Program = program
	Install = install
)

// LowWord is where the low half of an argument stands.
const LowWord = lowWord

// ErrNotKept is returned where the kernel does not enforce what it accepted.
var ErrNotKept = errNotKept

// Refused are the calls that are refused whatever their arguments, with the
// answer.
func Refused() map[uint32]uint32 {
	out := map[uint32]uint32{}
	for _, list := range [][]refusal{refusals, machineRefusals} {
		for _, r := range list {
			for _, call := range r.calls {
				out[call] = r.answer.(bpf.RetConstant).Val
			}
		}
	}
	return out
}
