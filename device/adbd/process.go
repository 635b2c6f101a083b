package adbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"mios/format/adb"
)

const outputSize = 64 << 10 // bytes of output in one message

// shell returns what serves "shell[,ARG]...:COMMAND": the arguments are v2 (the
// shell protocol), pty or raw, and TERM=NAME. Without a command it is a shell
// to talk to, in a terminal if not raw.
//
// AOSP: packages/modules/adb/daemon/shell_service.cpp.
func (c *conn) shell(name, command string) serveFunc {
	terminal, packets, term := command == "", false, "dumb"
	for arg := range strings.SplitSeq(name, ",") {
		switch {
		case arg == "v2":
			packets = true
		case arg == "pty":
			terminal = true
		case arg == "raw":
			terminal = false
		case strings.HasPrefix(arg, "TERM="):
			term = arg[len("TERM="):]
		}
	}
	return func(ctx context.Context, st *stream) error {
		p := process{cmd: c.command(command)}
		p.cmd.Env = append(p.cmd.Env, "TERM="+term)
		start := p.startPipes
		if terminal {
			start = p.startTerminal
		}
		if err := start(packets); err != nil {
			return err
		}
		return p.serve(st, packets)
	}
}

// execute serves "exec:COMMAND": its input and output are the stream's bytes,
// unchanged. When the host closes the stream the command sees the end of its
// input, and may go on.
func (c *conn) execute(st *stream, command string) error {
	p := process{cmd: c.command(command), detach: true}
	if err := p.startPipes(false); err != nil {
		return err
	}
	return p.serve(st, false)
}

func (c *conn) command(command string) *exec.Cmd {
	argv := append([]string(nil), c.s.Shell...)
	if command != "" {
		argv = append(argv, "-c", command)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = c.s.path("/")
	cmd.Env = append([]string{}, c.s.Env...)
	// A session of its own: it has no terminal but its own, and its processes
	// can be told at once that the host is gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// A process is a command that runs for a stream.
type process struct {
	cmd      *exec.Cmd
	detach   bool     // it may outlive the stream
	terminal *os.File // or nil
	gone     atomic.Bool
	in       *os.File
	out      []*os.File // standard output, and standard error where it is apart
}

// startPipes starts the command on pipes; its standard error goes to a pipe of
// its own where apart is set.
func (p *process) startPipes(apart bool) (err error) {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			p.closeAll()
		}
	}()
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	p.in, theirs = inW, append(theirs, inR)
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		p.out, theirs = append(p.out, r), append(theirs, w)
		if !apart {
			break
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inR, theirs[1], theirs[len(theirs)-1]
	return p.cmd.Start()
}

// startTerminal starts the command in a pseudo-terminal.
func (p *process) startTerminal(bool) error {
	ptm, pts, err := openTerminal()
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer pts.Close()
	p.terminal, p.in, p.out = ptm, ptm, []*os.File{ptm}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = pts, pts, pts
	p.cmd.SysProcAttr.Setctty = true
	if err := p.cmd.Start(); err != nil {
		p.closeAll()
		return err
	}
	return nil
}

func (p *process) closeAll() {
	p.in.Close()
	for _, f := range p.out {
		f.Close()
	}
}

// serve carries input and output until the output ends and the command with
// it, then tells the exit status where there are packets. When the connection
// ends it does not wait for a command that stays.
func (p *process) serve(st *stream, packets bool) error {
	defer p.closeAll()
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	if err := st.accept(); err != nil {
		p.hangUp()
		return err
	}
	defer context.AfterFunc(st.c.ctx, func() {
		p.hangUp()
		p.closeAll()
	})()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer st.Close()
	wg.Go(func() { p.input(st, packets) })
	wg.Go(func() { p.watch(st) })
	var outputs sync.WaitGroup
	for i, f := range p.out {
		outputs.Go(func() { copyOutput(st, f, adb.ShellStdout+adb.ShellID(i), packets) })
	}
	outputs.Wait()
	select {
	case <-st.c.ctx.Done():
		return nil
	case err := <-ended:
		p.gone.Store(true)
		if packets {
			st.Write(adb.AppendShell(nil, adb.ShellExit, []byte{exitStatus(err)}))
		}
		return nil
	}
}

// watch waits for the end of the stream. A command that may outlive it has its
// output closed, so that it ends when it writes; another one is told to go.
func (p *process) watch(st *stream) {
	<-st.done
	if p.detach {
		for _, f := range p.out {
			f.Close()
		}
		return
	}
	p.hangUp()
	p.closeAll()
}

// input gives the command what the host sends, until the stream ends.
func (p *process) input(st *stream, packets bool) {
	if packets {
		p.readPackets(st)
		return
	}
	st.WriteTo(p.in)
	if p.terminal == nil {
		p.in.Close()
	}
}

// copyOutput sends what f yields, as packets where those are wanted.
func copyOutput(st *stream, f *os.File, id adb.ShellID, packets bool) {
	buf := make([]byte, adb.ShellHeaderSize+outputSize)
	for {
		n, err := f.Read(buf[adb.ShellHeaderSize:])
		if n > 0 {
			b := buf[adb.ShellHeaderSize : adb.ShellHeaderSize+n]
			if packets {
				adb.AppendShellHeader(buf[:0], id, n)
				b = buf[:adb.ShellHeaderSize+n]
			}
			if _, err := st.Write(b); err != nil {
				f.Close() // a command that goes on writing gets SIGPIPE
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// readPackets acts on the host's packets until the stream ends.
func (p *process) readPackets(st *stream) {
	r := adb.ShellReader{R: st}
	buf := make([]byte, 4<<10)
	for {
		id, n, err := r.Next(buf)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				st.Close()
			}
			return
		}
		switch id {
		case adb.ShellStdin:
			p.in.Write(buf[:n]) // a command that takes no more input is no error
		case adb.ShellCloseStdin:
			p.closeStdin()
		case adb.ShellWindowSize:
			if w, err := adb.ParseWindowSize(buf[:n]); err == nil && p.terminal != nil {
				resize(p.terminal, w)
			}
		}
	}
}

// closeStdin ends the command's input. In a terminal that is the character
// that its user would type.
func (p *process) closeStdin() {
	if p.terminal != nil {
		p.terminal.Write([]byte{4})
		return
	}
	p.in.Close()
}

// hangUp tells the command and what it started that nobody listens any more.
func (p *process) hangUp() {
	if !p.gone.Load() { // or the id may be another's by now
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGHUP)
	}
}

// exitStatus is the shell's: 128 and the signal for a command that one ended.
func exitStatus(err error) byte {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + byte(ws.Signal())
		}
		return byte(exit.ExitCode())
	}
	return 255
}
