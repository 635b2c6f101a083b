package app

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"mios/device/sandbox"
)

// How long to wait before a program runs again.
const (
	minBackoff = time.Second
	maxBackoff = time.Minute
	healthy    = time.Minute // a run this long begins the waiting anew
)

// A runner keeps one program running.
type runner struct {
	cancel  context.CancelFunc
	done    chan struct{}
	changed func(state string)

	mu       sync.Mutex
	state    string
	pid      int
	restarts int
	lastExit string
}

// keep runs the program, and again whenever it ends, waiting twice as long
// after each short run, until ctx ends.
func (r *runner) keep(ctx context.Context, run func(context.Context) error, log *slog.Logger) {
	defer close(r.done)
	defer r.set(Stopped, 0)
	wait := minBackoff
	for ctx.Err() == nil {
		begin := time.Now()
		err := run(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) >= healthy {
			wait = minBackoff
		}
		why := "exit status 0"
		if err != nil {
			why = err.Error()
		}
		r.mu.Lock()
		r.lastExit = why
		r.restarts++
		r.mu.Unlock()
		r.set(Restarting, 0)
		log.Warn("program ended", "why", why, "restart_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxBackoff)
	}
}

func (r *runner) set(state string, pid int) {
	r.mu.Lock()
	r.state, r.pid = state, pid
	r.mu.Unlock()
	r.changed(state)
}

func (r *runner) fill(st *Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.State, st.PID, st.Restarts, st.LastExit = r.state, r.pid, r.restarts, r.lastExit
}

// runOnce runs the program in its sandbox until it ends.
func (m *Manager) runOnce(ctx context.Context, r *runner, s sandbox.Spec) error {
	cmd, err := sandbox.Command(ctx, s, m.cfg.Helper...)
	if err != nil {
		return err
	}
	if m.cfg.Output != nil {
		out := &lateWriter{open: func() io.Writer { return m.cfg.Output(s.Package, cmd.Process.Pid, s.UID) }}
		cmd.Stdout, cmd.Stderr = out, out // one writer: exec makes one pipe for both
		defer out.flush()
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.set(Running, cmd.Process.Pid)
	return cmd.Wait()
}

// lateWriter opens the writer behind it when there is something to write: by
// then the process has an id.
type lateWriter struct {
	open func() io.Writer
	w    io.Writer
}

func (l *lateWriter) Write(b []byte) (int, error) {
	if l.w == nil {
		l.w = l.open()
	}
	return l.w.Write(b)
}

func (l *lateWriter) flush() {
	if f, ok := l.w.(interface{ Flush() }); ok {
		f.Flush()
	}
}
