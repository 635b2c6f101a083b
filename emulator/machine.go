package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"mios/emulator/nbd"
)

// Machine is a running device. Its methods are safe for concurrent use.
type Machine struct {
	cmd     *exec.Cmd
	wires   [3]net.Conn // our ends of fdConsole, fdQMP, fdDisk
	qmp     *qmp
	console *console
	disk    *Disk
	dir     string
	ports   map[int]int
	resets  atomic.Int32

	mu    sync.Mutex
	asked bool    // we end it
	cut   *uint64 // seed, if the end is a power cut

	done   chan struct{} // closed at the end; what follows is set before
	err    error
	damage Damage
}

// launch starts QEMU.
func launch(program string, a arch, c Config) (m *Machine, err error) {
	m = &Machine{console: newConsole(), disk: c.Disk, dir: c.Dir, done: make(chan struct{})}
	m.cmd = exec.Command(program, c.arguments(a)...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // QEMU does not outlive us
		Setpgid:   true,            // a terminal's Ctrl-C is for us to act on
	}
	var files []*os.File
	defer func() {
		for _, f := range m.cmd.ExtraFiles {
			f.Close() // QEMU has them, so that its end is theirs
		}
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			m.closeWires()
		}
	}()
	for _, open := range []func() (*os.File, error){
		func() (*os.File, error) { return openConsole(m.ConsoleFile()) },
		func() (*os.File, error) { return os.Create(filepath.Join(m.dir, "qemu.log")) },
	} {
		f, err := open()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	m.cmd.Stdout, m.cmd.Stderr = files[1], files[1]
	for i := range m.wires {
		var theirs *os.File
		if m.wires[i], theirs, err = socketpair(); err != nil {
			return nil, err
		}
		m.cmd.ExtraFiles = append(m.cmd.ExtraFiles, theirs)
	}
	started := make(chan error)
	go m.live(started, files, c.Console)
	return m, <-started
}

// maxConsole is the size from which console.log is begun anew at a start, in
// bytes.
const maxConsole = 4 << 20

// openConsole opens a console's file to go on with it: a device that is started
// again after a power cut keeps what it said before.
func openConsole(name string) (*os.File, error) {
	mode := os.O_APPEND
	if fi, err := os.Stat(name); err == nil && fi.Size() > maxConsole {
		mode = os.O_TRUNC
	}
	return os.OpenFile(name, os.O_CREATE|os.O_WRONLY|mode, 0o644)
}

// live is the goroutine that a machine's life is.
func (m *Machine) live(started chan<- error, files []*os.File, listener io.Writer) {
	runtime.LockOSThread() // Pdeathsig is of the thread
	err := m.cmd.Start()
	if err == nil && m.disk != nil {
		m.disk.powerOn()
	}
	started <- err
	if err != nil {
		runtime.UnlockOSThread()
		return
	}
	var wires sync.WaitGroup
	wires.Go(func() {
		var w io.Writer = files[0]
		if listener != nil {
			w = io.MultiWriter(w, listener)
		}
		m.console.run(m.wires[0], w)
	})
	var diskErr error
	if m.disk != nil {
		wires.Go(func() { diskErr = nbd.Conn(m.wires[2], m.disk) })
	}
	err = m.cmd.Wait()
	runtime.UnlockOSThread()
	wires.Wait() // all that QEMU has sent before its end is there
	m.closeWires()
	for _, f := range files {
		f.Close()
	}
	if m.disk != nil {
		m.disk.idle()
	}
	m.mu.Lock()
	asked, cut := m.asked, m.cut
	m.mu.Unlock()
	if err != nil && !asked {
		m.err = fmt.Errorf("QEMU ended by itself: %v: %s", err, m.complaint())
	}
	if diskErr != nil && !asked {
		m.err = errors.Join(m.err, diskErr)
	}
	if m.disk != nil {
		if cut != nil {
			m.damage, err = m.disk.PowerCut(*cut)
		} else {
			err = m.disk.settle()
		}
		if err != nil {
			m.err = errors.Join(m.err, err)
		}
	}
	close(m.done)
}

func (m *Machine) closeWires() {
	for _, c := range m.wires {
		if c != nil {
			c.Close()
		}
	}
}

// complaint returns the end of what QEMU printed.
func (m *Machine) complaint() string {
	b, err := os.ReadFile(filepath.Join(m.dir, "qemu.log"))
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b)
	return string(b[max(0, len(b)-1000):])
}

// connect waits until QEMU answers, and asks for the forwarded ports.
func (m *Machine) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("QEMU does not answer"))
	defer cancel()
	q, err := dialQMP(ctx, m.wires[1], m.event)
	if err != nil {
		return err
	}
	m.qmp = q
	text, err := q.human(ctx, "info usernet")
	if err != nil {
		return err
	}
	m.ports = forwardedPorts(text)
	return nil
}

// event takes QEMU's events.
func (m *Machine) event(name string, _ json.RawMessage) {
	if name == "RESET" {
		m.resets.Add(1)
	}
}

// Port returns the port of 127.0.0.1 that leads to the guest's TCP port, 0 if
// none does.
func (m *Machine) Port(guest int) int { return m.ports[guest] }

// ConsoleFile returns the file that the console's output is appended to.
func (m *Machine) ConsoleFile() string { return filepath.Join(m.dir, "console.log") }

// PID returns QEMU's process number.
func (m *Machine) PID() int { return m.cmd.Process.Pid }

// Resets returns how often the machine was reset since Start, by the guest or
// by Reset.
func (m *Machine) Resets() int { return int(m.resets.Load()) }

// WaitFor waits until a console line matches and returns that line. It looks
// at what came after the last line that a WaitFor returned, so that calls in
// sequence find lines in sequence; a last line without its newline counts. It
// ends with an error, which holds the console's last lines, when the machine
// ends ([ErrEnded]) or ctx does.
func (m *Machine) WaitFor(ctx context.Context, line *regexp.Regexp) (string, error) {
	return m.console.waitFor(ctx, line)
}

// Type writes to the guest's console.
func (m *Machine) Type(s string) error {
	_, err := io.WriteString(m.wires[0], s)
	return err
}

// Reset pulls the reset line: memory is lost, the disk's cache is not.
func (m *Machine) Reset(ctx context.Context) error {
	_, err := m.qmp.command(ctx, "system_reset", nil)
	return err
}

// PowerButton presses the power button.
func (m *Machine) PowerButton(ctx context.Context) error {
	_, err := m.qmp.command(ctx, "system_powerdown", nil)
	return err
}

// PowerCut stops the machine as a cut of its power does: what was not flushed
// is kept, dropped or torn as the seed says, see [Disk.PowerCut]. The disk can
// be used again when it returns. It is [ErrEnded] if the machine had ended
// before.
func (m *Machine) PowerCut(seed uint64) (Damage, error) {
	if !m.kill(&seed) {
		return Damage{}, ErrEnded
	}
	<-m.done
	return m.damage, m.err
}

// Stop ends the machine at once, if it has not ended; what it wrote is kept,
// flushed or not.
func (m *Machine) Stop() error {
	m.kill(nil)
	<-m.done
	return m.err
}

// kill ends QEMU; the first call decides what becomes of the disk. It is false
// if the machine had ended, or was being ended, before.
func (m *Machine) kill(cut *uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.done:
		return false
	default:
	}
	if m.asked {
		return false
	}
	m.asked, m.cut = true, cut
	if m.disk != nil {
		m.disk.powerOff()
	}
	m.cmd.Process.Kill()
	return true
}

// Wait waits for the machine's end, or for ctx's. A guest that powered off, and
// a Stop, are no error.
func (m *Machine) Wait(ctx context.Context) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done is closed when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return m.done }
