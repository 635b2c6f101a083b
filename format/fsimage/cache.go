package fsimage

import (
	"io"
	"sync"

	"mios/internal/readat"
)

const (
	pageSize  = 16 << 10
	pageCount = 256 // 4 MiB
)

// A Cache reads metadata of an image: small pieces, near each other, again and
// again. It keeps at most 4 MiB.
type Cache struct {
	r     io.ReaderAt
	size  int64
	slots [pageCount]slot
}

type slot struct {
	mu   sync.Mutex
	no   int64 // plus 1; 0: none
	data []byte
}

// NewCache returns a cache of the first size bytes of r.
func NewCache(r io.ReaderAt, size int64) *Cache { return &Cache{r: r, size: size} }

// ReadAt implements [io.ReaderAt].
func (c *Cache) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at < 0 || at >= c.size {
			return done, io.EOF
		}
		no := at / pageSize
		n, err := c.slots[no%pageCount].read(c, no, p[done:], int(at%pageSize))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Forget forgets n bytes from off on: they were written to.
func (c *Cache) Forget(off, n int64) {
	for no := off / pageSize; no <= (off+n-1)/pageSize; no++ {
		s := &c.slots[no%pageCount]
		s.mu.Lock()
		if s.no == no+1 {
			s.no = 0
		}
		s.mu.Unlock()
	}
}

// Resize tells the size of the image, if that has become another.
func (c *Cache) Resize(size int64) {
	c.Forget(min(c.size, size), 1)
	c.size = size
}

func (s *slot) read(c *Cache, no int64, p []byte, from int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.no != no+1 {
		if s.data == nil {
			s.data = make([]byte, pageSize)
		}
		s.no = 0
		s.data = s.data[:min(pageSize, c.size-no*pageSize)]
		if err := readat.Full(c.r, s.data, no*pageSize); err != nil {
			return 0, err
		}
		s.no = no + 1
	}
	return copy(p, s.data[from:]), nil
}
