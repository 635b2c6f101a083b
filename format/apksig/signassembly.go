package apksig

import (
	"fmt"
	"io"
	"sort"

	"mios/internal/readat"
)

// An assembly is a file on its way: runs of bytes out of another file, and new
// ones between them. It can be read at any place before it is written.
type assembly struct {
	r      io.ReaderAt
	pieces []piece
	size   int64
}

// A piece lies from off on: the bytes b or, without them, size bytes of the
// other file from place from on.
type piece struct {
	off, size, from int64
	b               []byte
}

// copy appends size bytes of the other file.
func (a *assembly) copy(from, size int64) {
	if size <= 0 {
		return
	}
	if n := len(a.pieces); n > 0 {
		if p := &a.pieces[n-1]; p.b == nil && p.from+p.size == from {
			p.size += size
			a.size += size
			return
		}
	}
	a.pieces = append(a.pieces, piece{off: a.size, size: size, from: from})
	a.size += size
}

// append appends new bytes, which it keeps.
func (a *assembly) append(b []byte) {
	if len(b) == 0 {
		return
	}
	a.pieces = append(a.pieces, piece{off: a.size, size: int64(len(b)), b: b})
	a.size += int64(len(b))
}

// with returns an assembly of a's bytes and those of more after them.
func (a *assembly) with(more ...[]byte) *assembly {
	c := &assembly{r: a.r, pieces: a.pieces[:len(a.pieces):len(a.pieces)], size: a.size}
	for _, b := range more {
		c.append(b)
	}
	return c
}

// ReadAt implements [io.ReaderAt].
func (a *assembly) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	i := sort.Search(len(a.pieces), func(i int) bool { return off < a.pieces[i].off+a.pieces[i].size })
	n := 0
	for ; n < len(b) && i < len(a.pieces); i++ {
		p := &a.pieces[i]
		skip := off + int64(n) - p.off
		part := b[n:min(int64(len(b)), int64(n)+p.size-skip)]
		if p.b != nil {
			copy(part, p.b[skip:])
		} else if err := readat.Full(a.r, part, p.from+skip); err != nil {
			return n, err
		}
		n += len(part)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
