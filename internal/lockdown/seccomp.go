//go:build linux

package lockdown

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls that computing needs: memory, threads, time, and
// reading and writing what is open. Those of single architectures are in
// archCalls.
var calls = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_LSEEK, unix.SYS_CLOSE,
	unix.SYS_FSTAT, unix.SYS_FCNTL,
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_RESTART_SYSCALL,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_TGKILL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_GETRANDOM, unix.SYS_SETITIMER,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
}

// The offsets of struct seccomp_data that are looked at (Linux,
// include/uapi/linux/seccomp.h), and the low half of an argument.
const (
	dataNr   = 0
	dataArch = 4
	dataArg0 = 16
	dataArg2 = 32
)

// seccomp lets all threads call nothing but calls. Whatever else is tried fails
// with EPERM.
func seccomp(Limits) (bool, error) {
	if archToken == 0 {
		return false, nil
	}
	runtime.LockOSThread() // no_new_privs must hold for the thread that installs the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return false, fmt.Errorf("no_new_privs: %w", err)
	}
	filter := program()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	switch {
	case errors.Is(e, unix.ENOSYS), errors.Is(e, unix.EINVAL):
		return false, nil // built without it
	case e != 0:
		return false, e
	case thread != 0:
		return false, fmt.Errorf("thread %d has another filter", thread)
	}
	return true, nil
}

// program is the filter in classic BPF. Memory never becomes executable and no
// process is started: only a thread.
func program() []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		above = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		set   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
		deny  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	f := []unix.SockFilter{
		{Code: load, K: dataArch}, {Code: equal, Jt: 1, K: archToken}, {Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: dataNr}, {Code: above, Jf: 1, K: 0x40000000}, {Code: ret, K: deny}, // x32
	}
	allow := func(nr uint32) {
		f = append(f, unix.SockFilter{Code: equal, Jf: 1, K: nr}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	}
	// bits allows a call whose argument has none of bits, or all if want.
	bits := func(nr uint32, arg uint32, bits uint32, want bool) {
		yes, no := deny, uint32(unix.SECCOMP_RET_ALLOW)
		if want {
			yes, no = no, yes
		}
		f = append(f, unix.SockFilter{Code: equal, Jf: 4, K: nr}, unix.SockFilter{Code: load, K: arg},
			unix.SockFilter{Code: set, Jf: 1, K: bits}, unix.SockFilter{Code: ret, K: yes}, unix.SockFilter{Code: ret, K: no})
	}
	for _, nr := range append(calls, archCalls...) {
		allow(nr)
	}
	bits(unix.SYS_MMAP, dataArg2, unix.PROT_EXEC, false)
	bits(unix.SYS_MPROTECT, dataArg2, unix.PROT_EXEC, false)
	bits(unix.SYS_CLONE, dataArg0, unix.CLONE_THREAD, true)
	// glibc takes clone3, whose flags are in memory, and then, as on old kernels, clone.
	f = append(f, unix.SockFilter{Code: equal, Jf: 1, K: unix.SYS_CLONE3}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	return append(f, unix.SockFilter{Code: ret, K: deny})
}
