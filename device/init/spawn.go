package initd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios/device/logd"
	"mios/format/initrc"
)

// cgroupDir is where cgroup2 is mounted; services are below system.
const cgroupDir = "/sys/fs/cgroup"

// A spawner starts the processes of services.
type spawner struct {
	reaper *reaper
	ring   *logd.Ring
	root   string // before every path, for tests
	// cgroups tells that there is a cgroup2 hierarchy to use.
	cgroups bool
	// unprivileged leaves the user alone, for tests that are not root.
	unprivileged bool
}

// A launch collects what one start needs.
type launch struct {
	def   *initrc.Service
	env   []string
	attr  syscall.SysProcAttr
	files []*os.File // 0, 1, 2 and those with a name in env
	close []io.Closer
	out   *os.File // the end to read standard output and errors from, or nil
}

func (l *launch) closeAll() {
	for _, c := range l.close {
		c.Close()
	}
}

// start starts the service's process with the given arguments and environment.
func (s *spawner) start(def *initrc.Service, args, env []string) (process, error) {
	l := &launch{def: def, env: slices.Clone(env)}
	defer l.closeAll()
	for _, prepare := range []func(*launch) error{s.user, s.stdio, s.sockets, s.openFiles, s.cgroup, s.namespaces} {
		if err := prepare(l); err != nil {
			if l.out != nil {
				l.out.Close()
			}
			return process{}, err
		}
	}
	for _, v := range def.Env {
		l.env = append(l.env, v.Name+"="+v.Value)
	}
	p, err := s.reaper.start(func() (int, error) { return s.fork(l, args) })
	if err != nil {
		if l.out != nil {
			l.out.Close()
		}
		return p, fmt.Errorf("start %s: %w", args[0], err)
	}
	if l.out != nil {
		go s.pump(l.out, def.Name, p.pid, l.uid())
	}
	return p, s.tune(def, p.pid)
}

func (l *launch) uid() uint32 {
	if l.attr.Credential == nil {
		return uint32(os.Getuid())
	}
	return l.attr.Credential.Uid
}

// fork starts the process. What a child gets from the thread that makes it
// (bounding set, priority) is set in a thread that ends with it.
func (s *spawner) fork(l *launch, args []string) (int, error) {
	fds := make([]uintptr, len(l.files))
	for i, f := range l.files {
		fds[i] = f.Fd()
	}
	attr := &syscall.ProcAttr{Dir: "/", Env: l.env, Files: fds, Sys: &l.attr}
	if !l.def.HasCapabilities && l.def.Priority == 0 {
		return syscall.ForkExec(s.path(args[0]), args, attr)
	}
	type result struct {
		pid int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		err := s.limitThread(l.def)
		pid := 0
		if err == nil {
			pid, err = syscall.ForkExec(s.path(args[0]), args, attr)
		}
		done <- result{pid, err}
	}()
	r := <-done
	return r.pid, r.err
}

// path returns where a path of the device is.
func (s *spawner) path(p string) string {
	if s.root == "" {
		return p
	}
	if joined := filepath.Join(s.root, p); fileExists(joined) {
		return joined
	}
	return p
}

func fileExists(p string) bool {
	_, err := os.Lstat(p)
	return err == nil
}

// limitThread sets priority and bounding set of the calling thread.
func (s *spawner) limitThread(def *initrc.Service) error {
	if def.Priority != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, def.Priority); err != nil {
			return fmt.Errorf("set priority %d: %w", def.Priority, err)
		}
	}
	if !def.HasCapabilities {
		return nil
	}
	for c := range uintptr(64) {
		if slices.ContainsFunc(def.Capabilities, func(n string) bool { return uintptr(initrc.Capability(n)) == c }) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) { // past the last that the kernel knows
			break
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

// user sets user, groups and capabilities.
func (s *spawner) user(l *launch) error {
	l.attr.Setsid = true
	if s.unprivileged {
		return nil
	}
	uid, err := LookupID(l.def.User)
	if err != nil {
		return err
	}
	cred := &syscall.Credential{Uid: uid, Gid: uid}
	if l.def.Group != "" {
		if cred.Gid, err = LookupID(l.def.Group); err != nil {
			return err
		}
	}
	for _, g := range l.def.Supplementary {
		gid, err := LookupID(g)
		if err != nil {
			return err
		}
		cred.Groups = append(cred.Groups, gid)
	}
	l.attr.Credential = cred
	if uid != 0 {
		for _, c := range l.def.Capabilities {
			l.attr.AmbientCaps = append(l.attr.AmbientCaps, uintptr(initrc.Capability(c)))
		}
	}
	return nil
}

// stdio opens standard input, output and errors.
func (s *spawner) stdio(l *launch) error {
	if l.def.HasConsole {
		f, err := os.OpenFile(filepath.Join("/dev", l.def.Console), os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		l.close = append(l.close, f)
		l.files = append(l.files, f, f, f)
		l.attr.Setctty, l.attr.Ctty = true, 0
		return nil
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	l.close = append(l.close, null)
	if l.def.StdioToKmsg {
		f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		l.close = append(l.close, f)
		l.files = append(l.files, null, f, f)
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	l.out = r
	l.close = append(l.close, w)
	l.files = append(l.files, null, w, w)
	return nil
}

// pump puts what a service prints into the log until nobody holds the other
// end any longer.
func (s *spawner) pump(out *os.File, tag string, pid int, uid uint32) {
	defer out.Close()
	lines := logd.Lines{Emit: func(line string) {
		p, msg := logd.ParseLine(line)
		s.ring.Append(logd.Entry{Time: time.Now(), PID: pid, TID: pid, UID: uid, Priority: p, Tag: tag, Message: msg})
	}}
	io.Copy(&lines, out)
	lines.Flush()
}

// hand gives the child a descriptor under the name of a variable.
func (l *launch) hand(f *os.File, variable string) {
	l.env = append(l.env, fmt.Sprintf("%s=%d", variable, len(l.files)))
	l.files = append(l.files, f)
	l.close = append(l.close, f)
}

// variable makes the name of a variable as AOSP does.
func variable(prefix, name string) string {
	return prefix + strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return '_'
	}, name)
}

func (s *spawner) sockets(l *launch) error {
	for _, k := range l.def.Sockets {
		f, err := s.makeSocket(k)
		if err != nil {
			return fmt.Errorf("socket %s: %w", k.Name, err)
		}
		l.hand(f, variable("ANDROID_SOCKET_", k.Name))
	}
	return nil
}

// makeSocket binds a socket under /dev/socket.
func (s *spawner) makeSocket(k initrc.Socket) (*os.File, error) {
	typ := map[string]int{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}[k.Type]
	owner := [2]uint32{}
	for i, name := range []string{k.User, k.Group} {
		if name == "" {
			continue
		}
		var err error
		if owner[i], err = LookupID(name); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.root, "/dev/socket", k.Name)
	f := os.NewFile(uintptr(fd), path)
	os.Remove(path)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil && k.Passcred {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	if err == nil && !s.unprivileged {
		err = os.Lchown(path, int(owner[0]), int(owner[1]))
	}
	if err == nil {
		err = os.Chmod(path, k.Mode)
	}
	if err == nil && k.Listen {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *spawner) openFiles(l *launch) error {
	flags := map[string]int{"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
	for _, f := range l.def.Files {
		open, err := os.OpenFile(filepath.Join(s.root, f.Path), flags[f.Mode], 0)
		if err != nil {
			return err
		}
		l.hand(open, variable("ANDROID_FILE_", f.Path))
	}
	return nil
}

// cgroup makes the service's cgroup, in which it and all its children are.
func (s *spawner) cgroup(l *launch) error {
	if !s.cgroups {
		return nil
	}
	dir := s.cgroupOf(l.def.Name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	l.close = append(l.close, f)
	l.attr.UseCgroupFD, l.attr.CgroupFD = true, int(f.Fd())
	return nil
}

func (s *spawner) cgroupOf(name string) string {
	return filepath.Join(cgroupDir, "system", strings.ReplaceAll(name, "/", "_"))
}

func (s *spawner) namespaces(l *launch) error {
	for _, n := range l.def.Namespaces {
		l.attr.Cloneflags |= map[string]uintptr{"pid": unix.CLONE_NEWPID, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET,
			"uts": unix.CLONE_NEWUTS}[n]
	}
	return nil
}

// tune sets what a parent can set from outside. AOSP sets it before the
// program begins; here the program's first instructions may run before.
func (s *spawner) tune(def *initrc.Service, pid int) error {
	var errs []error
	for _, l := range def.Rlimits {
		err := unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: l.Cur, Max: l.Max}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("rlimit %d: %w", l.Resource, err))
		}
	}
	if def.OOMScoreAdjust != nil {
		err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Append(nil, *def.OOMScoreAdjust), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, p := range def.WritePID {
		if err := os.WriteFile(filepath.Join(s.root, p), fmt.Append(nil, pid), 0o644); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// kill sends a signal to a service's process and all that it started.
func (s *spawner) kill(name string, pid int, sig syscall.Signal) {
	if sig == syscall.SIGKILL && s.cgroups {
		if os.WriteFile(filepath.Join(s.cgroupOf(name), "cgroup.kill"), []byte("1"), 0) == nil {
			return
		}
	}
	if syscall.Kill(-pid, sig) != nil {
		syscall.Kill(pid, sig)
	}
}

// clean kills what a service left behind and removes its cgroup and sockets.
func (s *spawner) clean(def *initrc.Service, pid int) {
	if s.cgroups {
		dir := s.cgroupOf(def.Name)
		os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		os.Remove(dir) // it fails while the last ones still die; the next start reuses it
	} else {
		syscall.Kill(-pid, syscall.SIGKILL)
	}
	for _, k := range def.Sockets {
		os.Remove(filepath.Join(s.root, "/dev/socket", k.Name))
	}
}
