package static

import (
	"container/list"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"mios"
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

// An lru keeps the entries that were asked for last, up to hotBudget bytes.
type lru struct {
	mu    sync.Mutex
	names map[string]*list.Element // of *entry
	order list.List                // the last one asked for comes first
	size  int64
}

func (l *lru) get(name string) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	el, ok := l.names[name]
	if !ok {
		return nil
	}
	l.order.MoveToFront(el)
	return el.Value.(*entry)
}

func (l *lru) put(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if el, ok := l.names[e.name]; ok {
		l.drop(el)
	}
	if l.names == nil {
		l.names = map[string]*list.Element{}
	}
	l.names[e.name] = l.order.PushFront(e)
	l.size += e.size()
	for l.size > hotBudget {
		l.drop(l.order.Back())
	}
}

func (l *lru) drop(el *list.Element) {
	e := l.order.Remove(el).(*entry)
	delete(l.names, e.name)
	l.size -= e.size()
}
