// Package firststage is the first stage of init: PID 1 of the boot ramdisk. It
// loads the modules that the disk needs, maps the system partition out of
// super, puts dm-verity over it as the vbmeta image says that the loader
// verified, mounts it, makes it the root and executes the second stage there.
//
// It trusts the kernel's command line alone: androidboot.vbmeta.digest is what
// the loader verified. Anything that does not match is refused: the reason
// goes to the console and into the boot record, and the device restarts, so
// that the loader can try again or take the other slot.
package firststage

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios/device/bootrecord"
	"mios/device/dm"
	"mios/device/fstab"
	"mios/device/kmod"
	"mios/device/partition"
)

// Where things are in the ramdisk, and what is executed on the system
// partition.
const (
	moduleDir = "/lib/modules"
	fstabPath = "/fstab"
	newRoot   = "/newroot"
	secondary = "/system/bin/miosd"
)

// deviceWait is how long the partitions of the mounts may take to appear after
// the modules are loaded.
const deviceWait = 20 * time.Second

// recordWait is how long misc may take, if something failed before that.
const recordWait = 3 * time.Second

// A refusal is why the slot cannot run.
type refusal struct {
	partition string // with suffix, or "" if it is about none
	err       error
}

func (e *refusal) Error() string {
	if e.partition == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("partition %s: %v", e.partition, e.err)
}

func (e *refusal) Unwrap() error { return e.err }

// stage is what the phases hand to each other.
type stage struct {
	started time.Duration // since the kernel started
	took    []string      // each phase, for the kernel's log
	boot    bootArgs
	mounts  []fstab.Entry // of the first stage
	disk    partition.Nodes
	control *dm.Control
}

// phases is the first stage, in order.
var phases = []struct {
	name string
	run  func(*stage) error
}{
	{"mount the kernel's file systems", mountKernel},
	{"load modules", func(*stage) error { return kmod.LoadAll(moduleDir) }}, // early: a refusal is recorded on the disk
	{"read the kernel's command line", (*stage).readCmdline},
	{"read the list of file systems", (*stage).readFstab},
	{"find partitions", (*stage).findPartitions},
	{"mount", (*stage).mountSystem},
	{"switch root", (*stage).switchRoot},
	{"execute the second stage", (*stage).execute},
}

// Main runs the first stage. It returns only if it is not PID 1, or if not
// even a restart is possible.
func Main() int {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: the first stage is PID 1 of the boot ramdisk, not a command")
		return 2
	}
	s := &stage{started: sinceBoot()}
	for _, p := range phases {
		begin := sinceBoot()
		if err := p.run(s); err != nil {
			s.fail(fmt.Errorf("%s: %w", p.name, err))
			return 1
		}
		s.took = append(s.took, fmt.Sprintf("%s %v", p.name, (sinceBoot()-begin).Round(time.Millisecond)))
	}
	return 1 // execute does not return without an error
}

// sinceBoot returns the time since the kernel started.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func (s *stage) readCmdline() error {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	s.boot, err = parseBootArgs(string(b))
	return err
}

func (s *stage) readFstab() error {
	b, err := os.ReadFile(fstabPath)
	if err != nil {
		return err
	}
	all, err := fstab.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", fstabPath, err)
	}
	s.mounts, err = firstStageMounts(all)
	return err
}

// findPartitions waits for those that the mounts need.
func (s *stage) findPartitions() error {
	var names []string
	for _, m := range s.mounts {
		names = append(names, m.AVB+s.boot.suffix)
		if m.Logical {
			names = append(names, superName)
		} else {
			names = append(names, m.Partition(s.boot.suffix))
		}
	}
	var err error
	s.disk, err = waitForPartitions(names, deviceWait)
	return err
}

func (s *stage) mountSystem() error {
	var err error
	if s.control, err = dm.Open(); err != nil {
		return err
	}
	defer s.control.Close()
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	for _, m := range s.mounts {
		name := m.Partition(s.boot.suffix)
		if err := s.mountVerified(m, name); err != nil {
			if _, ok := errors.AsType[*refusal](err); ok { // of the partition that it hangs on
				return err
			}
			return &refusal{name, err}
		}
	}
	return nil
}

// timerSlack is how much later than asked for a sleep of init and of what it
// starts may end; a program that needs less sets its own. The kernel's 50 µs
// would let Go's runtime, which looks after its threads that often while they
// work, take several percent of a slow processor.
const timerSlack = time.Millisecond

// execute replaces this program by the second stage's. The environment is what
// AOSP's first stage leaves.
func (s *stage) execute() error {
	runtime.LockOSThread() // the slack is a thread's, and the one that executes is handed on
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0, 0, 0); err != nil {
		logKernel("timer slack: %v", err)
	}
	logKernel("first stage took %v: %s", (sinceBoot() - s.started).Round(time.Millisecond), strings.Join(s.took, ", "))
	return syscall.Exec(secondary, []string{secondary, "init", "second_stage"}, []string{
		"PATH=/system/bin",
		fmt.Sprintf("FIRST_STAGE_STARTED_AT=%d", s.started.Nanoseconds()),
	})
}

// fail says why, leaves it for the system to read, and restarts.
func (s *stage) fail(err error) {
	slot := strings.TrimPrefix(s.boot.suffix, "_")
	if slot == "" {
		slot = "?"
	}
	text := fmt.Sprintf("init: first stage: slot %s: %v", slot, err)
	if rerr := s.record(err); rerr != nil {
		text += fmt.Sprintf(" (not recorded: %v)", rerr)
	}
	fmt.Fprintf(os.Stderr, "%s: restarting, so that the loader tries again or takes the other slot\n", text)
	unix.Sync()
	err = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	fmt.Fprintf(os.Stderr, "init: restart: %v: switch the device off and on\n", err)
	select {} // PID 1 must not end: the kernel would panic
}

// record leaves the reason in misc.
func (s *stage) record(err error) error {
	path := s.disk[miscName]
	if path == "" {
		disk, werr := waitForPartitions([]string{miscName}, recordWait)
		if werr != nil {
			return werr
		}
		path = disk[miscName]
	}
	misc, oerr := os.OpenFile(path, os.O_RDWR, 0)
	if oerr != nil {
		return oerr
	}
	defer misc.Close()
	r := bootrecord.Refusal{Slot: s.boot.suffix, Reason: err.Error(), Time: time.Now()}
	if ref, ok := errors.AsType[*refusal](err); ok {
		r.Partition, r.Reason = ref.partition, ref.err.Error()
	}
	return bootrecord.Add(misc, r)
}

// logKernel puts a line into the kernel's log, if it is there.
func logKernel(format string, args ...any) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "<6>init: "+format+"\n", args...)
}
