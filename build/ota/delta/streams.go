package delta

import (
	"archive/zip"
	"errors"
	"io"
	"sync"

	"mios/format/puffin"
)

// streams finds the deflate streams in files.
type streams struct {
	mu    sync.Mutex
	found map[*file]*located
}

// located are the deflate streams of a file.
type located struct {
	once   sync.Once
	err    error
	spans  []span
	blocks []puffin.BitExtent
}

// maxDeflate is the largest deflate stream that is looked into, and the largest
// gzip file, in bytes.
const maxDeflate = maxStream * block

func newStreams() *streams {
	return &streams{found: map[*file]*located{}}
}

// of returns the streams of a file.
func (s *streams) of(f *file) (*located, error) {
	s.mu.Lock()
	l := s.found[f]
	if l == nil {
		l = new(located)
		s.found[f] = l
	}
	s.mu.Unlock()
	l.once.Do(func() { l.err = l.locate(f) })
	return l, l.err
}

// spans returns where the streams of a file are.
func (s *streams) spans(f *file) ([]span, error) {
	l, err := s.of(f)
	if err != nil {
		return nil, err
	}
	return l.spans, nil
}

// both returns the blocks of streams that a unit reads and writes whole, in bits
// of its data.
func (s *streams) both(u *unit) (from, to []puffin.BitExtent, err error) {
	if to, err = s.side(&u.dst); err != nil || len(to) == 0 {
		return nil, nil, err
	}
	from, err = s.side(&u.src)
	return from, to, err
}

func (s *streams) side(d *side) (out []puffin.BitExtent, err error) {
	for _, p := range d.pieces {
		l, err := s.of(p.f)
		if err != nil {
			return nil, err
		}
		for _, b := range l.blocks {
			if from := int64(b.Offset); from >= p.off*8 && from+int64(b.Length) <= (p.off+p.len)*8 {
				out = append(out, puffin.BitExtent{Offset: uint64(from + (p.at-p.off)*8), Length: b.Length})
			}
		}
	}
	return out, nil
}

// locate looks for streams in an archive or a gzip file.
func (l *located) locate(f *file) error {
	if !f.plain || f.size < 16 {
		return nil
	}
	r := f.data
	var magic [4]byte
	if err := readFull(r, magic[:], 0); err != nil {
		return err
	}
	switch {
	case string(magic[:]) == "PK\x03\x04":
		return l.zip(r)
	case magic[0] == 0x1f && magic[1] == 0x8b && r.Size() <= maxDeflate:
		b := make([]byte, r.Size())
		if err := readFull(r, b, 0); err != nil {
			return err
		}
		if list, err := puffin.LocateGzip(b); err == nil && len(list) > 0 {
			l.blocks = list
			l.spans = []span{{0, r.Size()}}
		}
	}
	return nil
}

// zip looks into each file of an archive. What is not right is left out: it is
// compared as it is.
func (l *located) zip(r *io.SectionReader) error {
	a, err := zip.NewReader(r, r.Size())
	if err != nil {
		return notFormat(err)
	}
	end := int64(0)
	for _, e := range a.File {
		if e.Method != zip.Deflate || e.CompressedSize64 == 0 || e.CompressedSize64 > maxDeflate {
			continue
		}
		at, err := e.DataOffset()
		if err != nil {
			if err := notFormat(err); err != nil {
				return err
			}
			continue
		}
		size := int64(e.CompressedSize64)
		if at < end || at+size > r.Size() {
			continue // not in the order of the file
		}
		b := make([]byte, size)
		if err := readFull(r, b, at); err != nil {
			return err
		}
		list, n, err := puffin.LocateDeflate(b)
		if err != nil || n != size {
			continue
		}
		for _, x := range list {
			l.blocks = append(l.blocks, puffin.BitExtent{Offset: x.Offset + uint64(at)*8, Length: x.Length})
		}
		l.spans = append(l.spans, span{at, at + size})
		end = at + size
	}
	return nil
}

// notFormat returns nil for an error that says that a file is no archive.
func notFormat(err error) error {
	if errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) || errors.Is(err, zip.ErrChecksum) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
