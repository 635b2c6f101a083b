package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// A session is a running shell.
type session struct {
	env    *Env
	runner *interp.Runner
	tty    *os.File // the terminal, opened anew, where the shell is interactive
	jobs   jobs
}

// sh runs the shell: sh [-ceilux] [COMMAND | FILE] [ARGUMENT]...
func sh(ctx context.Context, e *Env, args []string) error {
	line, set, args, err := shellOptions(args)
	if err != nil {
		return err
	}
	s := &session{env: e}
	name := "sh"
	var script io.Reader
	switch {
	case line && len(args) == 0:
		return usageError("-c: needs a command")
	case line:
		script, args = strings.NewReader(args[0]), args[1:]
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
	case len(args) > 0:
		f, err := os.Open(e.Path(args[0]))
		if err != nil {
			fmt.Fprintf(e.Stderr, "sh: %v\n", err)
			return exitStatus(127)
		}
		defer f.Close()
		script, name, args = f, args[0], args[1:]
	}
	if script == nil && isTerminal(e.Stdin) {
		return s.interactive(ctx, set)
	}
	if err := s.start(e.Stdin, append(append(set, "--"), args...)); err != nil {
		return err
	}
	if script == nil {
		return s.lines(ctx, &lineReader{r: e.Stdin}, nil)
	}
	return s.script(ctx, script, name)
}

// shellOptions splits the shell's own flags from what follows. -c is told
// apart; -i and -l change nothing; the others are those of "set". A lone "-"
// is what adbd's peer gives a login shell.
func shellOptions(args []string) (line bool, set, rest []string, err error) {
	for len(args) > 0 && len(args[0]) > 0 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "-" || arg == "--" {
			break
		}
		for _, c := range arg[1:] {
			switch c {
			case 'c':
				line = true
			case 'i', 'l', 's':
			case 'e', 'u', 'x', 'n', 'f', 'a':
				set = append(set, arg[:1]+string(c))
			default:
				return false, nil, nil, usageError("unknown option " + arg)
			}
		}
	}
	return line, set, args, nil
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// start makes the interpreter.
func (s *session) start(stdin io.Reader, params []string) error {
	runner, err := interp.New(
		interp.Env(expand.ListEnviron(s.env.Vars...)),
		interp.Dir(s.env.Dir),
		interp.Params(params...),
		interp.StdIO(stdin, s.env.Stdout, s.env.Stderr),
		interp.Interactive(s.tty != nil),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
	)
	s.runner = runner
	return err
}

// script runs a whole script.
func (s *session) script(ctx context.Context, r io.Reader, name string) error {
	prog, err := syntax.NewParser().Parse(r, name)
	if err != nil {
		fmt.Fprintf(s.env.Stderr, "%v\n", err)
		return exitStatus(2)
	}
	s.jobs.note(prog)
	err = s.status(s.runner.Run(ctx, prog))
	s.finish(ctx)
	return err
}

// lines runs each line as it comes. again is called after a line that failed
// to parse, and says whether to go on; nil means no.
func (s *session) lines(ctx context.Context, r io.Reader, again func() bool) error {
	defer s.finish(ctx)
	var last error
	for {
		bad := false
		parser := syntax.NewParser()
		if l, ok := r.(*editor); ok {
			l.incomplete = parser.Incomplete
		}
		for stmts, err := range parser.InteractiveSeq(r) {
			if err != nil {
				bad = true
				if !errors.Is(err, errInterrupted) {
					fmt.Fprintf(s.env.Stderr, "sh: %v\n", err)
					last = exitStatus(2)
				}
				break
			}
			if parser.Incomplete() {
				continue
			}
			exited := false
			if last, exited = s.line(ctx, stmts, last); exited {
				return last
			}
		}
		if !bad || again == nil || !again() {
			return last
		}
	}
}

// line runs the statements of one line, and says whether the shell is to end;
// in an interactive shell an interrupt ends the line. last is the status before
// it.
func (s *session) line(ctx context.Context, stmts []*syntax.Stmt, last error) (status error, exited bool) {
	run := ctx
	if s.tty != nil {
		var stop func()
		run, stop = withInterrupt(ctx)
		defer stop()
	}
	for _, stmt := range stmts {
		s.jobs.note(stmt)
		last = s.status(s.runner.Run(run, stmt))
		// A program may end of the interrupt before the shell hears of it.
		interrupted := s.tty != nil && last == error(exitStatus(130))
		if interrupted || run.Err() != nil && ctx.Err() == nil {
			fmt.Fprintln(s.env.Stderr)
			return exitStatus(130), false
		}
		if s.runner.Exited() || ctx.Err() != nil {
			return last, true
		}
	}
	return last, false
}

// status makes a command's error of the interpreter's.
func (s *session) status(err error) error {
	var status interp.ExitStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return exitStatus(status)
	}
	return err
}

// A lineReader gives one line a call, and reads no further: what follows is
// the input of the command on that line.
type lineReader struct {
	r    io.Reader
	left []byte
}

func (l *lineReader) Read(p []byte) (int, error) {
	var one [1]byte
	for len(l.left) == 0 || l.left[len(l.left)-1] != '\n' {
		n, err := l.r.Read(one[:])
		l.left = append(l.left, one[:n]...)
		if err != nil && len(l.left) == 0 {
			return 0, err
		}
		if err != nil { // a last line without an end is a line too
			l.left = append(l.left, '\n')
			break
		}
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}
