package logd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mios"
)

// ReadKernel adds the kernel's messages to the ring, under the tag kernel,
// from the oldest that the kernel still has, until ctx ends. What processes
// wrote into the kernel's log comes under the tag that they put before it,
// except what skip, if it is not nil, takes for known already.
func (r *Ring) ReadKernel(ctx context.Context, path string, skip func(tag string, since time.Duration) bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	boot := time.Now().Add(-sinceBoot())
	buf := make([]byte, 8192) // the kernel refuses to give a record in parts
	for {
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.EPIPE): // some were overwritten: go on with the oldest
			continue
		case err != nil:
			return fmt.Errorf("read %s: %w", path, err)
		}
		rec, err := parseKernel(string(buf[:n]))
		if err != nil || rec.user && skip != nil && skip(rec.tag, rec.since) {
			continue
		}
		r.Append(Entry{Time: boot.Add(rec.since), ID: Kernel, Priority: rec.priority, Tag: rec.tag, Message: rec.message})
	}
}

// sinceBoot returns the time that the kernel's clock shows.
func sinceBoot() time.Duration {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	word, _, _ := strings.Cut(string(b), " ")
	s, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// A kernelRecord is a record of /dev/kmsg.
type kernelRecord struct {
	priority Priority
	since    time.Duration // since the kernel started
	user     bool          // a process wrote it
	tag      string
	message  string
}

// parseKernel reads a record: PRIORITY,NUMBER,MICROSECONDS,FLAGS;MESSAGE and
// lines that begin with a blank (Linux, Documentation/ABI/testing/dev-kmsg).
func parseKernel(s string) (kernelRecord, error) {
	head, text, ok := strings.Cut(s, ";")
	f := strings.Split(head, ",")
	if !ok || len(f) < 3 {
		return kernelRecord{}, fmt.Errorf("kernel record: %w: %.40q", mios.ErrInvalid, s)
	}
	prio, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil {
		return kernelRecord{}, fmt.Errorf("kernel record: %w: priority %.40q", mios.ErrInvalid, f[0])
	}
	micros, err := strconv.ParseUint(f[2], 10, 50)
	if err != nil {
		return kernelRecord{}, fmt.Errorf("kernel record: %w: time %.40q", mios.ErrInvalid, f[2])
	}
	text, _, _ = strings.Cut(text, "\n")
	rec := kernelRecord{
		since: time.Duration(micros) * time.Microsecond, user: prio>>3 != 0, tag: "kernel", message: text,
		priority: [8]Priority{Fatal, Fatal, Error, Error, Warn, Info, Info, Debug}[prio&7],
	}
	if tag, msg, ok := strings.Cut(text, ": "); ok && rec.user && tag != "" && len(tag) <= maxTag && !strings.ContainsAny(tag, " =") {
		rec.tag, rec.message = tag, msg
	}
	return rec, nil
}
