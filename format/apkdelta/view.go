package apkdelta

import (
	"bufio"
	"context"
	"fmt"
	"hash"
	"io"

	"mios/format/puffin"
	"mios/internal/deflate"
	"mios/internal/readat"
)

// A badError says what is wrong with a delta, for who knows where.
type badError string

func (e badError) Error() string { return string(e) }

// A view reads a file as if it were expanded.
type view struct {
	r       io.ReaderAt
	scratch Scratch
	entries plan
	kept    []int64 // where each entry is in scratch
}

// newView expands the entries that are used.
func newView(ctx context.Context, r io.ReaderAt, size int64, entries plan, scratch Scratch) (*view, error) {
	v := &view{r: r, scratch: scratch, entries: entries, kept: make([]int64, len(entries))}
	end := int64(0)
	var x expander
	to, from := bufio.NewWriterSize(nil, copySize), bufio.NewReaderSize(nil, copySize)
	for i, e := range entries {
		v.kept[i] = end
		if e.how == unused {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to.Reset(io.NewOffsetWriter(scratch, end))
		from.Reset(io.NewSectionReader(r, e.off, e.packed))
		err := x.expand(to, from, e)
		if err == nil {
			err = to.Flush()
		}
		if err != nil {
			return nil, fmt.Errorf("apkdelta: old file at %#x: expand: %w", e.off, err)
		}
		end += e.size
	}
	return v, nil
}

// read fills b from a place of the expanded file.
func (v *view) read(b []byte, at int64) error {
	for i := v.entries.find(at); len(b) > 0; i++ {
		n := len(b)
		if i == len(v.entries) || at < v.entries[i].at {
			off := at // of what lies before entry i, in the file
			if i > 0 {
				e := v.entries[i-1]
				off += e.off + e.packed - e.at - e.size
			}
			if i < len(v.entries) {
				n = int(min(int64(n), v.entries[i].at-at))
			}
			if err := readat.Full(v.r, b[:n], off); err != nil {
				return fmt.Errorf("apkdelta: old file at %#x: %w", off, err)
			}
			b, at = b[n:], at+int64(n)
		}
		if len(b) == 0 {
			break
		}
		e := v.entries[i]
		if e.how == unused {
			return badError(fmt.Sprintf("a byte of entry %d of the old file, which the plan leaves out", i))
		}
		n = int(min(int64(len(b)), e.at+e.size-at))
		if err := readat.Full(v.scratch, b[:n], v.kept[i]+at-e.at); err != nil {
			return fmt.Errorf("apkdelta: scratch: %w", err)
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// memory is a Scratch that is written from front to back.
type memory struct{ b []byte }

func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	m.b = append(m.b[:off], b...)
	return len(b), nil
}

func (m *memory) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, m.b[min(off, int64(len(m.b))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// A summer counts and sums what is written.
type summer struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (s *summer) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.h.Write(b[:n])
	s.n += int64(n)
	if err != nil {
		err = fmt.Errorf("apkdelta: write the new file: %w", err)
	}
	return n, err
}

// A builder takes the bytes of an expanded file, and writes the file.
type builder struct {
	w       *summer
	entries plan
	i       int   // the next entry, or the one that is being made
	at      int64 // in the expanded file
	start   int64 // of the entry, in the file
	d       *deflate.Writer
	puff    []byte
}

func newBuilder(w *summer, entries plan) *builder { return &builder{w: w, entries: entries} }

// Write takes expanded bytes.
func (n *builder) Write(b []byte) (int, error) {
	all := len(b)
	for len(b) > 0 {
		if err := n.step(&b); err != nil {
			return 0, err
		}
	}
	return all, nil
}

// step takes some of b: up to where an entry begins or ends.
func (n *builder) step(b *[]byte) error {
	if err := n.finish(); err != nil {
		return err
	}
	p := *b
	if n.i == len(n.entries) || n.at < n.entries[n.i].at {
		if n.i < len(n.entries) {
			p = p[:min(int64(len(p)), n.entries[n.i].at-n.at)]
		}
		if _, err := n.w.Write(p); err != nil {
			return err
		}
	} else {
		e := n.entries[n.i]
		p = p[:min(int64(len(p)), e.at+e.size-n.at)]
		if err := n.begin(e); err != nil {
			return err
		}
		if e.how == puffed {
			n.puff = append(n.puff, p...)
		} else if _, err := n.d.Write(p); err != nil {
			return err
		}
	}
	*b = (*b)[len(p):]
	n.at += int64(len(p))
	return nil
}

// begin begins an entry, unless that was done.
func (n *builder) begin(e entry) error {
	if n.at != e.at {
		return nil
	}
	n.start = n.w.n
	n.puff = n.puff[:0]
	if e.how == puffed {
		return nil
	}
	if n.d == nil {
		n.d = new(deflate.Writer)
	}
	return n.d.Reset(n.w, int(e.how))
}

// finish ends the entries all of which is there; there are empty ones.
func (n *builder) finish() error {
	for n.i < len(n.entries) && n.at == n.entries[n.i].at+n.entries[n.i].size {
		e := n.entries[n.i]
		if err := n.begin(e); err != nil {
			return err
		}
		if e.how == puffed {
			b, err := puffin.Huff(nil, n.puff)
			if err != nil {
				return badError(fmt.Sprintf("entry %d of the new file: %v", n.i, err))
			}
			if _, err := n.w.Write(b); err != nil {
				return err
			}
		} else if err := n.d.Close(); err != nil {
			return err
		}
		if got := n.w.n - n.start; got != e.packed {
			return badError(fmt.Sprintf("entry %d of the new file comes to %d bytes, want %d", n.i, got, e.packed))
		}
		n.i++
	}
	return nil
}

// close ends the last entry.
func (n *builder) close() error {
	if err := n.finish(); err != nil {
		return err
	}
	if n.i < len(n.entries) {
		return badError(fmt.Sprintf("entry %d of the new file is not whole", n.i))
	}
	return nil
}
