//go:build !amd64

package sandbox_test

func foreignCode() func() { return nil }

const x32 = 0

var olderCalls []uint32
