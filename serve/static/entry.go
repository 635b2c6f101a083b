package static

import (
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"mios"
	"mios/internal/recent"
	"mios/storage/tree"
)

// An entry is a file in memory, with the head of its answer.
type entry struct {
	name      string
	tag       string
	immutable bool
	encodes   bool        // it gains by encodings
	digest    mios.Digest // set if it encodes, or its tag is its digest
	stamp     stamp
	body      []byte
	head      head
	variants  atomic.Pointer[variants] // nil: not made yet
}

// size is what the entry takes in memory, nearly.
func (e *entry) size() int64 {
	const overhead = 2048
	n := int64(len(e.body) + overhead)
	if e.encodes {
		n *= 2 // encodings to come
	}
	return n
}

// A head is a list of header fields, made once. The values are shared by all
// answers: nobody may change them.
type head []field

type field struct {
	key    string // in canonical form
	values []string
}

func (l head) set(h http.Header) {
	for i := range l {
		h[l[i].key] = l[i].values
	}
}

// headOf makes the head of an answer with an encoding, "" for none.
func (e *entry) headOf(tag, encoding string, size int) head {
	cache := asked
	if e.immutable {
		cache = forever
	}
	l := head{
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"Content-Type", []string{contentType(e.name)}},
		{"Cache-Control", []string{cache}},
		{"Etag", []string{`"` + tag + `"`}},
		{"Content-Length", []string{strconv.Itoa(size)}},
	}
	if encoding == "" {
		l = append(l, field{"Accept-Ranges", []string{"bytes"}})
	} else {
		l = append(l, field{"Content-Encoding", []string{encoding}})
	}
	if e.encodes {
		l = append(l, field{"Vary", []string{"Accept-Encoding"}})
	}
	return l
}

// A stamp tells whether a file that may change is still the one that was read.
type stamp struct {
	size     int64
	modified time.Time
	info     fs.FileInfo // of a file in a folder
	read     time.Time
}

func stampOf(f tree.File) stamp {
	s := stamp{size: f.Size(), modified: f.Modified(), read: time.Now()}
	if f, ok := f.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if fi, err := f.Stat(); err == nil {
			s.info = fi
		}
	}
	return s
}

// settled is for how long a file must have lain there for its time of change to
// tell it from the next one: S3 tells whole seconds.
const settled = 2 * time.Second

func (s stamp) same(now stamp) bool {
	if s.size != now.size || !s.modified.Equal(now.modified) || s.read.Sub(s.modified) < settled {
		return false
	}
	return s.info == nil || now.info == nil || os.SameFile(s.info, now.info)
}

// hot are the entries that were asked for last, up to hotBudget bytes.
type hot struct {
	mu      sync.Mutex
	entries recent.List[string, *entry]
	size    int64
}

// get returns nil if there is no such entry.
func (h *hot) get(name string) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, _ := h.entries.Get(name)
	return e
}

func (h *hot) put(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.entries.Peek(e.name); ok {
		h.size -= old.size()
	}
	h.entries.Put(e.name, e)
	h.size += e.size()
	for h.size > hotBudget {
		name, old, _ := h.entries.Oldest()
		h.entries.Delete(name)
		h.size -= old.size()
	}
}
