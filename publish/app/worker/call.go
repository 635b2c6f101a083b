package worker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"mios"
	"mios/internal/progress"
)

// command is the word that makes the program a worker. The number of files
// follows it.
const command = "worker"

// firstFile is the descriptor of the first file in a child.
const firstFile = 3

// A request is what a child is told on its standard input.
type request struct {
	Task   string     `json:"task"`
	Memory int64      `json:"memory"` // bytes
	CPU    int64      `json:"cpu"`    // seconds
	Files  []fileInfo `json:"files"`
	Kind   string     `json:"kind,omitempty"` // of a picture
}

// noun is what the files are, for messages.
func (r *request) noun() string {
	if r.Task == taskConvert {
		return "picture"
	}
	return "package"
}

// unreadable is the error of files over which a child came to grief.
func (r *request) unreadable(format string, args ...any) error {
	return &fileError{fmt.Sprintf("the %s could not be read: %s", r.noun(), fmt.Sprintf(format, args...))}
}

// A fileError says what is wrong with the files. It is mios.ErrInvalid.
type fileError struct{ msg string }

func (e *fileError) Error() string { return e.msg }

func (e *fileError) Unwrap() error { return mios.ErrInvalid }

type fileInfo struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// An answer is what it says on its standard output: one JSON value.
type answer struct {
	Error  string          `json:"error,omitempty"` // why there is no result
	Here   bool            `json:"here,omitempty"`  // which is not the files' fault
	Result json.RawMessage `json:"result,omitempty"`
}

// run gives the task to a child and decodes its answer into out. What the files
// are to blame for wraps mios.ErrInvalid; what is the matter with this machine
// does not.
func (w *Worker) run(ctx context.Context, task, kind string, files []File, out any) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	defer func() { <-w.slots }()
	timeout := cmp.Or(w.Timeout, DefaultTimeout)
	req := request{Task: task, Kind: kind, Memory: cmp.Or(w.Memory, DefaultMemory), CPU: int64(timeout/time.Second) + 1}
	var fds []*os.File
	defer func() {
		for _, f := range fds {
			f.Close()
		}
	}()
	for _, f := range files {
		fd, err := w.descriptor(ctx, f)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		req.Files = append(req.Files, fileInfo{f.Name, f.Size})
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := start(limited, &req, fds)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("start a worker: %w", err)
	case limited.Err() != nil:
		return req.unreadable("it took longer than %v", timeout)
	}
	return c.decode(&req, out)
}

// enter waits for a slot.
func (w *Worker) enter(ctx context.Context) error {
	w.once.Do(func() { w.slots = make(chan struct{}, cmp.Or(w.Parallel, DefaultParallel)) })
	select {
	case w.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A child is a process that has ended.
type child struct {
	stdout, stderr bounded
	state          *os.ProcessState
}

// start starts a child and waits for its end. The error is that it could not be
// started.
func start(ctx context.Context, req *request, files []*os.File) (*child, error) {
	in, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	c := &child{stdout: bounded{max: maxAnswer}, stderr: bounded{max: 16 << 10, drop: true}}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{os.Args[0], command, strconv.Itoa(len(files))}
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &c.stdout, &c.stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go func() {
		// The signal comes when the thread ends that has started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		_ = cmd.Wait() // the state tells
		started <- nil
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	c.state = cmd.ProcessState
	return c, nil
}

// decode reads the answer, of a child that has ended by itself and said nothing
// but that.
func (c *child) decode(req *request, out any) error {
	status, _ := c.state.Sys().(syscall.WaitStatus)
	said := c.said()
	switch used := c.state.UserTime() + c.state.SystemTime(); {
	case c.stdout.over:
		return req.unreadable("there is more to say of it than %s", progress.Size(maxAnswer))
	case slices.ContainsFunc(outOfMemory, func(words string) bool { return strings.Contains(said, words) }):
		return req.unreadable("it takes more than %s of memory", progress.Size(req.Memory))
	case status.Signaled() && used >= time.Duration(req.CPU)*time.Second:
		return req.unreadable("it takes more than %d s of processor time", req.CPU)
	case status.Signaled():
		return req.unreadable("the process that read it was killed (%v) %s", status.Signal(), said)
	case status.ExitStatus() == exitConfine:
		return fmt.Errorf("worker: it cannot be confined: %s", said)
	case !c.state.Success():
		return req.unreadable("the process that read it died: %s", cmp.Or(said, c.state.String()))
	}
	var a answer
	if err := strictly(c.stdout.buf.Bytes(), &a); err != nil {
		return req.unreadable("the process that read it gave no answer: %v", err)
	}
	switch msg := clean(a.Error, 2048); {
	case msg != "" && a.Here:
		return fmt.Errorf("worker: %s", msg)
	case msg != "":
		return &fileError{strings.TrimSuffix(msg, ": "+mios.ErrInvalid.Error())}
	}
	if err := strictly(a.Result, out); err != nil {
		return req.unreadable("the process that read it gave no answer: %v", err)
	}
	return nil
}

// outOfMemory are the last words of the Go runtime, of the race detector's and
// of a failed system call.
var outOfMemory = []string{"out of memory", "address space collisions", "failed to allocate", "cannot allocate memory"}

// said is the first line that the child wrote on its standard error: a panic's,
// or the runtime's last words.
func (c *child) said() string {
	line, _, _ := strings.Cut(strings.TrimSpace(c.stderr.buf.String()), "\n")
	return clean(line, 200)
}

// clean makes one short line of what a child said.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// strictly decodes one JSON value and nothing else, without unknown fields.
func strictly(b []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// A bounded buffer takes so many bytes. What is more ends the writer, or is
// dropped.
type bounded struct {
	buf  bytes.Buffer
	max  int
	drop bool
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.max-b.buf.Len())
	b.buf.Write(p[:keep])
	if keep == len(p) || b.drop {
		return len(p), nil
	}
	b.over = true
	return keep, errors.New("too much")
}
