package lockdown

import "golang.org/x/sys/unix"

const archToken = unix.AUDIT_ARCH_AARCH64

var archCalls []uint32
