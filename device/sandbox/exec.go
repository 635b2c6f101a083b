package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"mios"
)

// limits are what one app may use. RLIMIT_NPROC counts the threads of its uid.
var limits = []struct {
	what int
	max  uint64
}{
	{unix.RLIMIT_CORE, 0},
	{unix.RLIMIT_NOFILE, 4096},
	{unix.RLIMIT_NPROC, 512},
	{unix.RLIMIT_MEMLOCK, 64 << 10},
}

// Exec is the helper's side: it becomes the program that the only argument
// describes, and returns only if it cannot. It must run as root in the new
// namespaces that [Command] asks for, and gives up all of that on the way.
func Exec(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("sandbox: want one argument, the spec: %w", mios.ErrInvalid)
	}
	s, err := parseSpec(args[0])
	if err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("sandbox: not in a process namespace of its own: start it through installd")
	}
	// Credentials are a thread's own until exec makes this thread the only one.
	runtime.LockOSThread()
	for _, step := range []struct {
		name string
		run  func(*Spec) error
	}{
		{"memory", expendable},
		{"mounts", mounts},
		{"limits", setLimits},
		{"files", closeFiles},
		{"privileges", drop},
	} {
		if err := step.run(s); err != nil {
			return fmt.Errorf("sandbox %s: %s: %w", s.Package, step.name, err)
		}
	}
	err = syscall.Exec(s.Path, append([]string{s.Path}, s.Args...), s.environ())
	return fmt.Errorf("sandbox %s: exec %s: %w", s.Package, s.Path, err)
}

// expendable lets the kernel kill an app before any service when memory runs
// out, whatever the one that started it is set to.
func expendable(*Spec) error { return os.WriteFile("/proc/self/oom_score_adj", []byte("200"), 0) }

func setLimits(*Spec) error {
	for _, l := range limits {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(l.what, &old); err != nil {
			return err
		}
		n := min(l.max, old.Max)
		if err := syscall.Setrlimit(l.what, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("limit %d: %w", l.what, err)
		}
	}
	return nil
}

// closeFiles lets no descriptor but the standard ones survive exec.
func closeFiles(*Spec) error {
	return unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
}

// drop gives up root for good, on this thread.
func drop(s *Spec) error {
	unix.Umask(0o077)
	groups := []uint32{}
	if s.Network {
		groups = append(groups, InetGID)
	}
	if err := call(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	for c := 0; ; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err == unix.EINVAL && c > 0 {
			break // the kernel knows no more
		} else if err != nil {
			return fmt.Errorf("bounding set: capability %d: %w", c, err)
		}
	}
	id := uintptr(s.UID)
	if err := call(unix.SYS_SETRESGID, id, id, id); err != nil {
		return fmt.Errorf("setresgid: %w", err)
	}
	if err := call(unix.SYS_SETRESUID, id, id, id); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	// The change of uid has cleared it.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// call is a system call on this thread alone: package syscall's would change
// every thread, which a thread with no_new_privs of its own must not.
func call(nr, a, b, c uintptr) error {
	if _, _, e := unix.RawSyscall(nr, a, b, c); e != 0 {
		return e
	}
	return nil
}
