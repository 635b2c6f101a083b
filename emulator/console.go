package emulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"mios/internal/lazyregexp"
)

// maxUnread bounds the console output that waits for a WaitFor, in bytes.
const maxUnread = 16 << 20

// console keeps what the guest says until it is waited for.
type console struct {
	mu     sync.Mutex
	unread []byte        // after the last line that a wait returned
	tail   []byte        // the last of all, for errors
	more   chan struct{} // closed and replaced when something comes
	ended  bool
}

func newConsole() *console { return &console{more: make(chan struct{})} }

// run copies r to the console and to w until r ends.
func (c *console) run(r io.Reader, w io.Writer) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			c.add(buf[:n])
			w.Write(buf[:n]) // the console goes on without a listener
		}
		if err != nil {
			c.end()
			return
		}
	}
}

func (c *console) add(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = append(c.unread, b...)
	if over := len(c.unread) - maxUnread; over > 0 {
		c.unread = c.unread[over:]
	}
	c.tail = append(c.tail, b...)
	if over := len(c.tail) - 4<<10; over > 0 {
		c.tail = append([]byte(nil), c.tail[over:]...)
	}
	close(c.more)
	c.more = make(chan struct{})
}

func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		close(c.more)
	}
}

// ErrEnded is what waits return when the machine ended before.
var ErrEnded = errors.New("the machine has ended")

// waitFor waits for a line. The last line counts before its newline has come:
// a prompt has none.
func (c *console) waitFor(ctx context.Context, line *regexp.Regexp) (string, error) {
	for {
		c.mu.Lock()
		found, ok := c.take(line)
		more, ended := c.more, c.ended
		c.mu.Unlock()
		switch {
		case ok:
			return found, nil
		case ended:
			return "", fmt.Errorf("console: waiting for %q: %w; it said last:\n%s", line, ErrEnded, c.last())
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", fmt.Errorf("console: waiting for %q: %w; it said last:\n%s", line, context.Cause(ctx), c.last())
		}
	}
}

// take finds the first unread line that matches and drops all up to its end.
func (c *console) take(line *regexp.Regexp) (string, bool) {
	for at := 0; at < len(c.unread); {
		end := len(c.unread)
		if i := bytes.IndexByte(c.unread[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		text := clean(c.unread[at:end])
		if line.MatchString(text) {
			c.unread = c.unread[end:]
			return text, true
		}
		at = end
	}
	return "", false
}

// escapes are terminal control sequences.
var escapes = lazyregexp.New("\x1b(\\[[0-9;?]*[a-zA-Z]|[c78=>])")

// clean returns a line without its end and without terminal controls.
func clean(b []byte) string {
	return strings.Trim(escapes.ReplaceAllString(string(b), ""), "\r\n")
}

// last returns the console's last lines.
func (c *console) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(strings.TrimRight(string(c.tail), "\r\n"), "\n")
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	for i, l := range lines {
		lines[i] = "    " + clean([]byte(l))
	}
	return strings.Join(lines, "\n")
}
