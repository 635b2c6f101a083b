package fsimage

import (
	"fmt"
	"io"
	"sync"

	"mios/internal/readat"
)

// MaxUnpacked is what an extent may unpack to at most, in bytes. It is the
// kernel's Z_EROFS_PCLUSTER_MAX_DSIZE.
const MaxUnpacked = 12 << 20

// keepUnpacked is how many unpacked bytes are kept for whoever reads next to
// them.
const keepUnpacked = 2 * MaxUnpacked

// An unpacked is what extents that share a beginning in the image unpack to.
type unpacked struct {
	at   int64
	data []byte
}

// store keeps what was unpacked last.
type store struct {
	mu   sync.Mutex
	list []unpacked // oldest first
	size int
}

func (s *store) get(at, n int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.list) - 1; i >= 0; i-- {
		if u := s.list[i]; u.at == at && int64(len(u.data)) >= n {
			return u.data
		}
	}
	return nil
}

func (s *store) put(at int64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list, s.size = append(s.list, unpacked{at, data}), s.size+len(data)
	for s.size > keepUnpacked {
		s.size -= len(s.list[0].data)
		s.list = append(s.list[:0], s.list[1:]...)
	}
}

// raws are buffers for packed bytes.
var raws = sync.Pool{New: func() any { return new([]byte) }}

// ReadExtent reads len(p) bytes of an extent of this file system into p, from
// its byte from on. It panics if the extent does not have as many.
func (f *FS) ReadExtent(e Extent, p []byte, from int64) error {
	n := int64(len(p))
	if from < 0 || n > e.Len-from {
		panic(fmt.Sprintf("fsimage: read of %d bytes at %d of an extent of %d", n, from, e.Len))
	}
	switch {
	case e.Codec == Plain && e.At == Hole:
		clear(p)
		return nil
	case e.Codec == Plain:
		return readat.Full(f.image, p, e.At+from)
	case e.Full > MaxUnpacked || e.Skip+e.Len > e.Full:
		return &FormatError{f.format, e.At, fmt.Sprintf("%d bytes that unpack to %d, of which %d are used", e.Size, e.Full, e.Skip+e.Len)}
	case e.Skip+from == 0 && n == e.Full:
		return f.unpack(e, p)
	}
	data := f.kept.get(e.At, e.Full)
	if data == nil {
		data = make([]byte, e.Full)
		if err := f.unpack(e, data); err != nil {
			return err
		}
		f.kept.put(e.At, data)
	}
	copy(p, data[e.Skip+from:])
	return nil
}

func (f *FS) unpack(e Extent, dst []byte) error {
	buf := raws.Get().(*[]byte)
	defer raws.Put(buf)
	if int64(cap(*buf)) < e.Size {
		*buf = make([]byte, e.Size)
	}
	raw := (*buf)[:e.Size]
	if err := readat.Full(f.image, raw, e.At); err != nil {
		return err
	}
	return f.src.Decode(e, raw, dst)
}

// Data returns the bytes of a file, from which as many can be read as Info says.
func (f *FS) Data(n Node) *io.SectionReader {
	return io.NewSectionReader(&data{f, n}, 0, n.Info().Size)
}

type data struct {
	f *FS
	n Node
}

func (d *data) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("fsimage: read at a negative offset")
	}
	size := d.n.Info().Size
	if off >= size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), size-off)]
	done := 0
	if len(p) == 0 {
		return 0, nil
	}
	for e, err := range d.n.Extents(off) {
		if err != nil {
			return done, err
		}
		from := off + int64(done) - e.Off
		n := int(min(int64(len(p)-done), e.Len-from))
		if err := d.f.ReadExtent(e, p[done:done+n], from); err != nil {
			return done, err
		}
		if done += n; done == len(p) {
			break
		}
	}
	switch {
	case done < len(p):
		return done, io.ErrUnexpectedEOF
	case done < want:
		return done, io.EOF
	}
	return done, nil
}

// copySize is how much of an extent is read at once, in bytes.
const copySize = 1 << 20

// Copy writes the bytes of a file to w, holes as zeros.
func (f *FS) Copy(w io.Writer, n Node) (int64, error) {
	var buf []byte
	total := int64(0)
	for e, err := range n.Extents(0) {
		if err != nil {
			return total, err
		}
		step := min(e.Len, copySize)
		if e.Codec != Plain {
			step = e.Len
		}
		if int64(len(buf)) < step {
			buf = make([]byte, step)
		}
		for from := int64(0); from < e.Len; from += step {
			p := buf[:min(step, e.Len-from)]
			if err := f.ReadExtent(e, p, from); err != nil {
				return total, err
			}
			m, err := w.Write(p)
			total += int64(m)
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}
