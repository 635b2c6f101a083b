package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

var errInterrupted = errors.New("interrupted")

// interactive talks to a person on a terminal.
func (s *session) interactive(ctx context.Context, set []string) error {
	// A description of our own can be read with a deadline without making the
	// one that programs inherit non-blocking.
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	s.tty = tty
	// An interrupt between two commands is for neither, and Go's way with a
	// quit would be to print its stacks.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGQUIT)
	signal.Ignore(syscall.SIGTSTP, syscall.SIGTTOU, syscall.SIGTTIN)
	if err := s.start(tty, append(set, "--")); err != nil {
		return err
	}
	ed := newEditor(s)
	err = s.lines(ctx, ed, func() bool { return !ed.ended })
	if ed.ended {
		io.WriteString(s.env.Stdout, "exit\n")
	}
	return err
}

// withInterrupt returns a context that an interrupt from the terminal ends.
func withInterrupt(ctx context.Context) (context.Context, func()) {
	return signal.NotifyContext(ctx, syscall.SIGINT)
}

// An editor reads lines from the terminal: cursor keys, history, completion.
// While a command runs, the terminal is as it was.
type editor struct {
	s           *session
	terminal    *term.Terminal
	fd          int
	incomplete  func() bool
	left        []byte
	interrupted bool
	ended       bool
}

func newEditor(s *session) *editor {
	ed := &editor{s: s, fd: int(os.Stdin.Fd())}
	ed.terminal = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys{ed}, s.env.Stdout}, "")
	ed.terminal.AutoCompleteCallback = ed.complete
	return ed
}

// keys reads one byte at a time, so that nothing of what is typed ahead is
// taken from the next command.
type keys struct{ ed *editor }

func (k keys) Read(p []byte) (int, error) {
	const ctrlC, ctrlU, enter = 3, 21, '\n'
	var b [1]byte
	n, err := k.ed.s.tty.Read(b[:])
	switch {
	case n == 0 || len(p) < 3:
		return copy(p, b[:n]), err
	case b[0] == ctrlC: // give the line up
		k.ed.interrupted = true
		return copy(p, []byte{ctrlU, enter}), err
	}
	return copy(p, b[:n]), err
}

// Read gives the parser a line.
func (ed *editor) Read(p []byte) (int, error) {
	if len(ed.left) == 0 {
		line, err := ed.readLine()
		if err != nil {
			return 0, err
		}
		ed.left = append([]byte(line), '\n')
	}
	n := copy(p, ed.left)
	ed.left = ed.left[n:]
	return n, nil
}

func (ed *editor) readLine() (string, error) {
	restore, err := raw(ed.fd)
	if err != nil {
		return "", err
	}
	defer restore()
	if w, h, err := term.GetSize(ed.fd); err == nil && w > 0 && h > 0 {
		ed.terminal.SetSize(w, h)
	}
	ed.terminal.SetPrompt(ed.prompt())
	ed.interrupted = false
	line, err := ed.terminal.ReadLine()
	switch {
	case ed.interrupted:
		return "", errInterrupted
	case errors.Is(err, term.ErrPasteIndicator):
		return line, nil
	case err != nil:
		ed.ended = true
	}
	return line, err
}

// raw lets every key through, as a Return that ends a line too: what is typed
// ahead is then right for the command that reads it.
func raw(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t := *old
	t.Iflag &^= unix.BRKINT | unix.INPCK | unix.ISTRIP | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &t); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}

// prompt is "HOST:DIR # ", as Android's; "> " inside of a statement.
func (ed *editor) prompt() string {
	if ed.incomplete != nil && ed.incomplete() {
		return "> "
	}
	if v := ed.s.runner.Vars["PS1"]; v.IsSet() {
		return v.String()
	}
	if v, ok := ed.s.env.Lookup("PS1"); ok {
		return v
	}
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	sign := "$"
	if unix.Geteuid() == 0 {
		sign = "#"
	}
	return host + ":" + ed.s.runner.Dir + " " + sign + " "
}

// complete completes the word before the cursor on Tab: a command where it is
// the first, else a file; as far as all that match agree.
func (ed *editor) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	start := strings.LastIndexAny(line[:pos], " \t|;&<>") + 1
	word := line[start:pos]
	var found []string
	if strings.TrimSpace(line[:start]) == "" && !strings.Contains(word, "/") {
		for _, c := range Commands() {
			if strings.HasPrefix(c.Name, word) {
				found = append(found, c.Name+" ")
			}
		}
	} else {
		found = ed.files(word)
	}
	if len(found) == 0 {
		return line, pos, true
	}
	common := found[0]
	for _, f := range found {
		for !strings.HasPrefix(f, common) {
			common = common[:len(common)-1]
		}
	}
	return line[:start] + common + line[pos:], start + len(common), true
}

func (ed *editor) files(word string) []string {
	dir, base := filepath.Split(word)
	from := dir
	if !filepath.IsAbs(from) {
		from = filepath.Join(ed.s.runner.Dir, from)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base) || (base == "" && e.Name()[0] == '.') {
			continue
		}
		end := " "
		if fi, err := os.Stat(filepath.Join(from, e.Name())); err == nil && fi.IsDir() {
			end = "/"
		}
		found = append(found, dir+e.Name()+end)
	}
	return found
}
