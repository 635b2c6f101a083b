//go:build !amd64 && !arm64

package lockdown

// archToken 0: the filter is not written for this architecture.
const archToken = 0

var archCalls []uint32
