package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

const (
	binDir   = "/system/bin"
	killTime = 2 * time.Second // between the signals that ask and that end
)

// replaced are builtins of the interpreter that it has only the names of.
var replaced = []string{"kill", "umask", "jobs", "bg", "fg"}

// call sends those to exec, which a builtin's name never reaches.
func (s *session) call(ctx context.Context, args []string) ([]string, error) {
	if slices.Contains(replaced, args[0]) {
		args = append([]string{binDir + "/" + args[0]}, args[1:]...)
	}
	return args, nil
}

// jobs knows which commands a script starts in the background, for its end:
// programs started by "PROGRAM &" are left alone then, and all else in the
// background, which lives in this process, is waited for.
type jobs struct {
	mu     sync.Mutex
	alone  map[syntax.Pos]bool // the commands of "COMMAND &"
	ending chan struct{}       // closed at the end
}

// note finds the commands that are alone in the background.
func (j *jobs) note(node syntax.Node) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.alone == nil {
		j.alone, j.ending = map[syntax.Pos]bool{}, make(chan struct{})
	}
	syntax.Walk(node, func(n syntax.Node) bool {
		if stmt, ok := n.(*syntax.Stmt); ok && stmt.Background {
			if call, ok := stmt.Cmd.(*syntax.CallExpr); ok {
				j.alone[call.Pos()] = true
			}
		}
		return true
	})
}

// released is closed when a program that was started at pos need not be waited
// for any more; nil means never.
func (j *jobs) released(pos syntax.Pos) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.alone[pos] {
		return nil
	}
	return j.ending
}

// finish waits for what is left in the background, at the shell's end.
func (s *session) finish(ctx context.Context) {
	s.jobs.mu.Lock()
	if s.jobs.ending != nil {
		close(s.jobs.ending)
	}
	s.jobs.mu.Unlock()
	wait, err := syntax.NewParser().Parse(strings.NewReader("wait"), "")
	if err == nil {
		s.runner.Run(ctx, wait.Stmts[0])
	}
}

// exec runs a command: one of this package inside this process, any other as a
// process.
func (s *session) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if args[0] == binDir+"/umask" {
		return handlerError(umask(hc, args[1:]))
	}
	c, ok := lookup(args[0])
	switch {
	case ok && (c.Name == "setsid" || c.Name == "nohup") && len(args) > 1:
		return handlerError(s.process(ctx, hc, args[1:], &syscall.SysProcAttr{Setsid: true}))
	case ok && c.Name != "sh": // another shell has another $$
		return handlerError(s.inside(ctx, hc, c, args[1:]))
	}
	return handlerError(s.process(ctx, hc, args, nil))
}

func handlerError(status int) error {
	if status == 0 {
		return nil
	}
	return interp.ExitStatus(status)
}

// inside runs one of our commands.
func (s *session) inside(ctx context.Context, hc interp.HandlerContext, c Command, args []string) int {
	e := &Env{Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr, Dir: hc.Dir, Vars: environ(hc.Env)}
	if f, ok := hc.Stdin.(*os.File); !ok || f == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			fmt.Fprintf(hc.Stderr, "%s: %v\n", c.Name, err)
			return 1
		}
		defer null.Close()
		e.Stdin = null
	}
	return runInside(ctx, e, c, args)
}

// runInside runs a command. A read that waits is broken off with ctx, where the
// input is a pipe or the terminal.
func runInside(ctx context.Context, e *Env, c Command, args []string) int {
	f, ok := e.Stdin.(*os.File)
	if !ok {
		return c.Run(ctx, e, args)
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		f.SetReadDeadline(time.Unix(1, 0))
		close(late)
	})
	defer func() {
		if !stop() {
			<-late
			f.SetReadDeadline(time.Time{})
		}
	}()
	return c.Run(ctx, e, args)
}

// runCommand runs what a command like env or timeout is given.
func runCommand(ctx context.Context, e *Env, args []string, attr *syscall.SysProcAttr) int {
	if c, ok := lookup(args[0]); ok && attr == nil {
		return runInside(ctx, e, c, args[1:])
	}
	name, err := interp.LookPathDir(e.Dir, expand.ListEnviron(e.Vars...), args[0])
	if err != nil {
		fmt.Fprintf(e.Stderr, "%s: not found\n", args[0])
		return 127
	}
	cmd := &exec.Cmd{Path: name, Args: args, Env: e.Vars, Dir: e.Dir, Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, SysProcAttr: attr}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(e.Stderr, "%s: %v\n", args[0], err)
		return 126
	}
	defer endWith(ctx, cmd.Process)()
	return waitStatus(cmd)
}

// lookup returns the command of a name, which may be given with the folder that
// the links to it are in.
func lookup(name string) (Command, bool) {
	if dir, file := path.Split(name); dir == "" || dir == binDir+"/" || dir == "/bin/" {
		for _, c := range commands() {
			if c.Name == file {
				return c, true
			}
		}
	}
	return Command{}, false
}

func environ(env expand.Environ) []string {
	var list []string
	for name, v := range env.Each {
		if v.Exported && v.Kind == expand.String {
			list = append(list, name+"="+v.String())
		}
	}
	return list
}

// process runs a program. On the terminal an interrupt reaches it directly, and
// it is up to the program what it does; elsewhere it is asked to end with ctx,
// and then made to.
func (s *session) process(ctx context.Context, hc interp.HandlerContext, args []string, attr *syscall.SysProcAttr) int {
	name, err := interp.LookPathDir(hc.Dir, hc.Env, args[0])
	if err != nil {
		fmt.Fprintf(hc.Stderr, "sh: %s: not found\n", args[0])
		return 127
	}
	cmd := &exec.Cmd{Path: name, Args: args, Env: environ(hc.Env), Dir: hc.Dir, Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr, SysProcAttr: attr}
	if f, ok := hc.Stdin.(*os.File); ok && f == nil {
		cmd.Stdin = nil
	} else if ok && f == s.tty {
		cmd.Stdin = os.Stdin // passing s.tty on would end its deadlines
	}
	switch err := cmd.Start(); {
	case errors.Is(err, syscall.ENOEXEC): // a script without #!
		c := Command{Name: "sh", run: sh}
		return s.inside(ctx, hc, c, append([]string{name}, args[1:]...))
	case err != nil:
		fmt.Fprintf(hc.Stderr, "sh: %s: %v\n", args[0], err)
		return 126
	}
	if s.tty == nil {
		defer endWith(ctx, cmd.Process)()
	}
	status := make(chan int, 1)
	go func() { status <- waitStatus(cmd) }()
	select {
	case n := <-status:
		return n
	case <-s.jobs.released(hc.Pos):
		return 0
	}
}

// endWith ends a process when ctx is done, until it is told to stop doing so.
func endWith(ctx context.Context, p *os.Process) (stop func()) {
	gone := make(chan struct{})
	go func() {
		for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			select {
			case <-gone:
				return
			case <-ctx.Done():
			}
			p.Signal(sig)
			select {
			case <-gone:
				return
			case <-time.After(killTime):
			}
		}
	}()
	return func() { close(gone) }
}

// waitStatus waits for a process and returns the shell's status of it.
func waitStatus(cmd *exec.Cmd) int {
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0 // it ended, and what failed is the copying of its output
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

// umask is the process's own: of the shell and what it starts.
func umask(hc interp.HandlerContext, args []string) int {
	if len(args) == 0 {
		old := syscall.Umask(0)
		syscall.Umask(old)
		fmt.Fprintf(hc.Stdout, "%04o\n", old)
		return 0
	}
	var mask int
	if _, err := fmt.Sscanf(args[0], "%o", &mask); err != nil || mask > 0o777 {
		fmt.Fprintf(hc.Stderr, "umask: %q is not an octal mask\n", args[0])
		return 1
	}
	syscall.Umask(mask)
	return 0
}
