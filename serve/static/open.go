package static

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"mios/internal/recent"
	"mios/storage/tree"
)

// Limits of the files that are kept open.
const (
	maxOpen = 256
	maxIdle = time.Minute
	maxSpan = 64 << 10 // bytes of an answer from one of them
)

// An openFile is a large file that never changes, kept open for the parts that
// are asked of it.
type openFile struct {
	tree.File
	name string
	head head
	refs int // the cache's, and one for each answer that reads it
	used time.Time
}

// opened are the files that were asked for last.
type opened struct {
	mu    sync.Mutex
	files recent.List[string, *openFile]
}

// get returns a file, for the caller to release; nil if it is not open.
func (o *opened) get(name string) *openFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, ok := o.files.Get(name)
	if !ok {
		return nil
	}
	f.refs++
	f.used = time.Now()
	return f
}

// put keeps a file, which the caller still has to release, unless one of that
// name is there.
func (o *opened) put(f *openFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.refs, f.used = 1, time.Now()
	if _, ok := o.files.Peek(f.name); ok {
		return
	}
	f.refs++
	o.files.Put(f.name, f)
	for name, old, ok := o.files.Oldest(); ok; name, old, ok = o.files.Oldest() {
		if o.files.Len() <= maxOpen && f.used.Sub(old.used) < maxIdle {
			break
		}
		o.files.Delete(name)
		o.drop(old)
	}
}

func (o *opened) release(f *openFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(f)
}

func (o *opened) drop(f *openFile) {
	if f.refs--; f.refs == 0 {
		f.Close()
	}
}

// spans holds the bytes of an answer on their way.
var spans = sync.Pool{New: func() any { return new([maxSpan]byte) }}

// smallSpan reads what a request asks for, if it is one short range without
// conditions.
func smallSpan(r *http.Request, size int64) (start, n int64, ok bool) {
	ranges := r.Header["Range"]
	if len(ranges) != 1 || conditional(r.Header) {
		return 0, 0, false
	}
	start, n, ok = simpleRange(ranges[0], size)
	return start, n, ok && n <= maxSpan
}

// serveSpan answers a request for a short part of a file that is open, and
// tells whether it did.
func (s *Service) serveSpan(w http.ResponseWriter, r *http.Request, f *openFile) bool {
	start, n, ok := smallSpan(r, f.Size())
	if !ok {
		return false
	}
	buf := spans.Get().(*[maxSpan]byte)
	defer spans.Put(buf)
	if m, _ := f.ReadAt(buf[:n], start); int64(m) < n {
		return false // another try may tell more
	}
	h := w.Header()
	f.head.set(h)
	h["Content-Range"] = []string{contentRange(start, n, f.Size())}
	h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	w.WriteHeader(http.StatusPartialContent)
	s.write(w, r, buf[:n])
	return true
}
