// Package progress tells a person how far a program has come: a story of one
// line a step with its time, and while a step takes over a second, how far it
// is. On a terminal that is a line drawn again and again; elsewhere it is a
// plain line now and then.
package progress

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	quiet      = time.Second            // a step shows nothing before
	redraw     = 100 * time.Millisecond // on a terminal
	plainEvery = 10 * time.Second       // lines elsewhere, after the first
)

// A Story prints one line a step. It is safe for concurrent use; steps may run
// at the same time and within each other.
type Story struct {
	mu    sync.Mutex
	w     io.Writer
	width int     // of the terminal; 0: not one
	live  []*Task // running steps, oldest first
	drawn bool    // a progress line stands on the terminal's last line
	tick  chan struct{}
}

// New returns a story that is told on w; if w is a terminal the current step is
// redrawn in place.
func New(w io.Writer) *Story {
	s := &Story{w: w}
	if f, ok := w.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
		s.width = 80
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			s.width = width
		}
	}
	return s
}

// Step runs fn as one step, named what, such as "build product iot for amd64".
// When fn is done a line says so with the time it took; when it fails the line
// says what failed, or that it was interrupted. The error is returned as it is,
// for the caller to print.
func (s *Story) Step(ctx context.Context, what string, fn func(ctx context.Context, t *Task) error) error {
	t := &Task{story: s, what: what, start: time.Now()}
	s.begin(t)
	err := fn(ctx, t)
	switch {
	case err == nil:
		s.end(t, "✓ ")
	case ctx.Err() != nil:
		t.Done("%s: interrupted", what)
		s.end(t, "✗ ")
	default:
		t.Done("%s", what)
		s.end(t, "✗ ")
	}
	return err
}

// Say prints a line of its own, such as an address or a notice.
func (s *Story) Say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print("  " + fmt.Sprintf(format, args...))
}

// begin takes a step into the list; the first one starts the clock.
func (s *Story) begin(t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = append(s.live, t)
	if s.tick == nil {
		s.tick = make(chan struct{})
		go s.run(s.tick)
	}
}

// end prints a step's line, after a mark.
func (s *Story) end(t *Task, mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.live {
		if l == t {
			s.live = append(s.live[:i], s.live[i+1:]...)
			break
		}
	}
	if len(s.live) == 0 {
		close(s.tick)
		s.tick = nil
	}
	s.print(mark + cmp.Or(t.done, t.what) + "  " + duration(time.Since(t.start)))
}

// print writes a line where the progress line stood.
func (s *Story) print(line string) {
	if s.drawn {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.drawn = false
	}
	fmt.Fprintln(s.w, line)
}

// run draws until stop is closed.
func (s *Story) run(stop <-chan struct{}) {
	every := redraw
	if s.width == 0 {
		every = quiet
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			s.draw(now)
		}
	}
}

// draw shows the newest step that has run for a while.
func (s *Story) draw(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) == 0 {
		return
	}
	t := s.live[len(s.live)-1]
	if now.Sub(t.start) < quiet {
		return
	}
	if s.width > 0 {
		fmt.Fprint(s.w, "\r\x1b[K", cut("… "+t.line(now, true), s.width-1))
		s.drawn = true
		return
	}
	if t.plain.IsZero() || now.Sub(t.plain) >= plainEvery {
		t.plain = now
		s.print("… " + t.line(now, false))
	}
}

// cut shortens a line to n characters.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
