package progress

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Task is a step that runs. Its methods are safe for concurrent use; a nil
// Task may be used and shows nothing.
type Task struct {
	story       *Story
	what        string
	start       time.Time
	plain       time.Time // of the last plain line
	note, done  string
	now, total  int64
	bytes, some bool // now counts bytes; now was set
}

func (t *Task) set(f func()) {
	if t == nil {
		return
	}
	t.story.mu.Lock()
	defer t.story.mu.Unlock()
	f()
}

// Bytes shows that done of total bytes are through; a total of 0 is unknown.
func (t *Task) Bytes(done, total int64) {
	t.set(func() { t.now, t.total, t.bytes, t.some = done, total, true, true })
}

// Count shows that done of total things are through, such as files; a total of
// 0 is unknown.
func (t *Task) Count(done, total int64) {
	t.set(func() { t.now, t.total, t.bytes, t.some = done, total, false, true })
}

// Note shows what the step is doing at this moment.
func (t *Task) Note(format string, args ...any) {
	t.set(func() { t.note = fmt.Sprintf(format, args...) })
}

// Done changes what the finished line says, such as "built product iot (34 MB)".
func (t *Task) Done(format string, args ...any) {
	t.set(func() { t.done = fmt.Sprintf(format, args...) })
}

// Reader returns r with the bytes that pass counted by Bytes.
func (t *Task) Reader(r io.Reader, total int64) io.Reader {
	if t == nil {
		return r
	}
	return &reader{t: t, r: r, total: total}
}

type reader struct {
	t        *Task
	r        io.Reader
	n, total int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.t.Bytes(r.n, r.total)
	return n, err
}

// line says where the task is: "fetch kernel  [#####-----]  52 %  14 of 27 MB  9.1 MB/s  2 s left".
func (t *Task) line(now time.Time, bar bool) string {
	parts := []string{t.what}
	if t.some {
		parts = append(parts, t.measure(now, bar)...)
	}
	if t.note != "" {
		parts = append(parts, t.note)
	}
	return strings.Join(append(parts, duration(now.Sub(t.start))), "  ")
}

func (t *Task) measure(now time.Time, bar bool) []string {
	amount := func(n int64) string { return fmt.Sprint(n) }
	if t.bytes {
		amount = Size
	}
	elapsed := now.Sub(t.start).Seconds()
	var parts []string
	if t.total > 0 {
		share := min(1, max(0, float64(t.now)/float64(t.total)))
		if bar {
			const n = 20
			full := int(share * n)
			parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat("-", n-full)+"]")
		}
		parts = append(parts, fmt.Sprintf("%.0f %%", share*100), amount(t.now)+" of "+amount(t.total))
	} else {
		parts = append(parts, amount(t.now))
	}
	if elapsed <= 0 || t.now <= 0 {
		return parts
	}
	rate := float64(t.now) / elapsed
	if t.bytes {
		parts = append(parts, Size(int64(rate))+"/s")
	}
	if t.total > t.now {
		left := time.Duration(float64(t.total-t.now) / rate * float64(time.Second))
		parts = append(parts, duration(left)+" left")
	}
	return parts
}

// Size returns a number of bytes for people, in powers of 1000 as disks and
// networks are sold: 34.1 MB.
func Size(n int64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	i := -1
	for f >= 999.95 && i < len(units)-1 {
		f /= 1000
		i++
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// duration returns a time for people: 0.3 s, 12.4 s, 2 min 5 s.
func duration(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}
