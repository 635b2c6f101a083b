package initd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"mios/device/logd"
)

// A handler puts init's own lines into the ring and, so that they are on the
// console, into the kernel's log.
type handler struct {
	ring *logd.Ring
	kmsg io.Writer // nil: none
	text slog.Handler
	buf  *buffer
}

// A buffer is what a text handler writes a record into.
type buffer struct {
	sync.Mutex
	bytes.Buffer
}

func newHandler(ring *logd.Ring, kmsg io.Writer) *handler {
	b := new(buffer)
	text := slog.NewTextHandler(&b.Buffer, &slog.HandlerOptions{Level: slog.LevelInfo,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
	return &handler{ring, kmsg, text, b}
}

// Enabled implements [slog.Handler].
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.text.Enabled(ctx, l) }

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(a []slog.Attr) slog.Handler {
	return &handler{h.ring, h.kmsg, h.text.WithAttrs(a), h.buf}
}

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.ring, h.kmsg, h.text.WithGroup(name), h.buf}
}

// Handle implements [slog.Handler].
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.buf.Lock()
	h.buf.Reset()
	err := h.text.Handle(ctx, r)
	line := string(bytes.TrimSpace(h.buf.Bytes()))
	h.buf.Unlock()
	if err != nil {
		return err
	}
	p, msg := logd.ParseLine(line)
	h.ring.Append(logd.Entry{Time: time.Now(), PID: os.Getpid(), TID: os.Getpid(), ID: logd.System, Priority: p, Tag: "init", Message: msg})
	if h.kmsg == nil {
		return nil
	}
	level := map[logd.Priority]int{logd.Fatal: 2, logd.Error: 3, logd.Warn: 4, logd.Info: 6}[p]
	if len(msg) > 900 { // the kernel refuses longer ones
		msg = msg[:900]
	}
	_, err = fmt.Fprintf(h.kmsg, "<%d>init: %s\n", level, msg)
	return err
}
