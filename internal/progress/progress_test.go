package progress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tell runs a story in a bubble of synthetic time; width 0 is no terminal.
func tell(t *testing.T, width int, f func(s *Story)) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		s := New(&out)
		s.width = width
		f(s)
		synctest.Wait()
	})
	return out.String()
}

func TestStory(t *testing.T) {
	broken := errors.New("no disk: free some room")
	got := tell(t, 0, func(s *Story) {
		s.Step(t.Context(), "make keys", func(ctx context.Context, task *Task) error {
			task.Done("made development keys")
			time.Sleep(300 * time.Millisecond)
			return nil
		})
		s.Say("adb: %s", "127.0.0.1:5555")
		err := s.Step(t.Context(), "build", func(ctx context.Context, task *Task) error {
			time.Sleep(500 * time.Millisecond) // the clock ticks between two changes
			for i := range int64(25) {
				task.Bytes(i*1000*1000, 100*1000*1000)
				time.Sleep(time.Second)
			}
			return broken
		})
		if err != broken {
			t.Errorf("Step = %v, want the step's error", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.Step(ctx, "boot", func(ctx context.Context, _ *Task) error {
			cancel()
			return ctx.Err()
		})
	})
	want := `✓ made development keys  0.3 s
  adb: 127.0.0.1:5555
… build  0 %  0 B of 100.0 MB  1.0 s
… build  10 %  10.0 MB of 100.0 MB  909.1 kB/s  1 min 39 s left  11.0 s
… build  20 %  20.0 MB of 100.0 MB  952.4 kB/s  1 min 24 s left  21.0 s
✗ build  25.5 s
✗ boot: interrupted  0.0 s
`
	if got != want {
		t.Errorf("story:\n%s\nwant:\n%s", got, want)
	}
}

func TestTerminal(t *testing.T) {
	got := tell(t, 60, func(s *Story) {
		s.Step(t.Context(), "fetch", func(ctx context.Context, task *Task) error {
			task.Count(1, 4)
			task.Note("a note that is far too long for the line of the terminal")
			time.Sleep(1050 * time.Millisecond)
			return nil
		})
	})
	want := "\r\x1b[K… fetch  [#####---------------]  25 %  1 of 4  3.0 s left …" +
		"\r\x1b[K✓ fetch  1.1 s\n"
	if got != want {
		t.Errorf("terminal: %q\nwant      %q", got, want)
	}
}

func TestReader(t *testing.T) {
	s := New(io.Discard)
	s.Step(t.Context(), "copy", func(ctx context.Context, task *Task) error {
		io.Copy(io.Discard, task.Reader(strings.NewReader("hello"), 5))
		if task.now != 5 || task.total != 5 {
			t.Errorf("counted %d of %d, want 5 of 5", task.now, task.total)
		}
		return nil
	})
	var none *Task
	none.Bytes(1, 2)
	none.Note("nothing")
	if r := strings.NewReader("x"); none.Reader(r, 1) != io.Reader(r) {
		t.Error("a nil Task changes the reader")
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 34_120_000: "34.1 MB", 999_960: "1.0 MB", 5e15: "5000.0 TB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}
