package apkdelta

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mios"
	"mios/format/puffin"
	"mios/internal/deflate"
	"mios/internal/pieces"
)

// An archive is a file that is compared.
type archive struct {
	data    []byte
	entries plan
	names   []string // of the entries
}

// newArchive finds what is deflated in a ZIP archive; any other file has
// nothing of that.
func newArchive(data []byte) *archive {
	a := &archive{data: data}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return a
	}
	type found struct {
		entry
		name string
	}
	var all []found
	for _, f := range z.File {
		off, err := f.DataOffset()
		packed, size := int64(f.CompressedSize64), int64(f.UncompressedSize64)
		if f.Method != zip.Deflate || err != nil || packed <= 0 || packed > int64(len(data))-off || size <= 0 || size > MaxSize {
			continue
		}
		all = append(all, found{entry{off: off, packed: packed, size: size}, f.Name})
	}
	slices.SortStableFunc(all, func(x, y found) int { return int(x.off - y.off) })
	end, total := int64(0), int64(len(data))
	for _, f := range all {
		if f.off >= end && len(a.entries) < maxEntries && total+f.size <= MaxSize {
			total += f.size
			a.entries, a.names = append(a.entries, f.entry), append(a.names, f.name)
			end = f.off + f.packed
		}
	}
	return a
}

func (a *archive) packed(i int) []byte {
	e := a.entries[i]
	return a.data[e.off:][:e.packed]
}

// keep drops the entries that ok does not want.
func (a *archive) keep(ok func(i int) bool) {
	entries, names := a.entries[:0:0], a.names[:0:0]
	for i := range a.entries {
		if ok(i) {
			entries, names = append(entries, a.entries[i]), append(names, a.names[i])
		}
	}
	a.entries, a.names = entries, names
}

// choose leaves in both archives the entries that are to be expanded, and says
// how: not those that are the same in both as they are, nor those of new that
// cannot be made again. An entry that has to be puffed is so in old, too, to be
// comparable.
func choose(ctx context.Context, old, new *archive) error {
	had, same := map[mios.Digest]bool{}, map[mios.Digest]bool{}
	for i := range old.entries {
		had[mios.Sum(old.packed(i))] = true
	}
	new.keep(func(i int) bool {
		d := mios.Sum(new.packed(i))
		if had[d] {
			same[d] = true
		}
		return !had[d]
	})
	old.keep(func(i int) bool { return !same[mios.Sum(old.packed(i))] })
	err := pieces.Items(ctx, len(new.entries), func() func(int) error {
		m := &matcher{last: 6}
		return func(i int) error {
			e := &new.entries[i]
			e.how, e.size = m.how(new.packed(i), e.size)
			return nil
		}
	})
	if err != nil {
		return err
	}
	puffs := map[string]bool{}
	for i, e := range new.entries {
		puffs[new.names[i]] = e.how == puffed
	}
	err = pieces.Items(ctx, len(old.entries), func() func(int) error {
		m := &matcher{}
		return func(i int) error {
			e := &old.entries[i]
			if e.how = inflated; puffs[old.names[i]] {
				e.how, e.size = m.puff(old.packed(i))
			} else if !m.inflates(old.packed(i), e.size) {
				e.how = unused
			}
			return nil
		}
	})
	for _, a := range []*archive{old, new} {
		a.keep(func(i int) bool { return a.entries[i].how != unused })
		a.entries.place()
	}
	return err
}

// expand returns what is compared: entries expanded, and between them the file.
func (a *archive) expand(ctx context.Context) ([]byte, error) {
	size := a.entries.expanded(int64(len(a.data)))
	if size > MaxSize { // puffed entries may be larger than they say
		return nil, fmt.Errorf("apkdelta: a file expands to %d bytes, at most %d are compared: %w", size, int64(MaxSize), mios.ErrInvalid)
	}
	out := make([]byte, size)
	from, at := int64(0), int64(0)
	for _, e := range a.entries {
		n := copy(out[at:], a.data[from:e.off])
		at += int64(n) + e.size
		from = e.off + e.packed
	}
	copy(out[at:], a.data[from:])
	err := pieces.Items(ctx, len(a.entries), func() func(int) error {
		var x expander
		return func(i int) error {
			e := a.entries[i]
			w := &fixed{b: out[e.at:][:0:e.size]}
			return x.expand(w, bytes.NewReader(a.packed(i)), e)
		}
	})
	return out, err
}

// fixed is a writer to so many bytes.
type fixed struct{ b []byte }

func (f *fixed) Write(b []byte) (int, error) {
	if len(b) > cap(f.b)-len(f.b) {
		return 0, io.ErrShortWrite
	}
	f.b = append(f.b, b...)
	return len(b), nil
}

// errSize says that an entry does not expand to what it claims.
var errSize = errors.New("the entry expands to another size")

// An expander expands one entry after the other.
type expander struct{ r io.ReadCloser }

// expand writes to w what the packed bytes in r expand to.
func (x *expander) expand(w io.Writer, r io.Reader, e entry) error {
	if e.how == puffed {
		packed, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		b, err := puffin.Puff(nil, packed)
		if err != nil {
			return err
		}
		if int64(len(b)) != e.size {
			return errSize
		}
		_, err = w.Write(b)
		return err
	}
	if x.r == nil {
		x.r = flate.NewReader(r)
	} else if err := x.r.(flate.Resetter).Reset(r, nil); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(x.r, e.size+1))
	if err == nil && n != e.size {
		err = errSize
	}
	return err
}

// A matcher finds how an entry can be made again. It is for one goroutine.
type matcher struct {
	x    expander
	d    *deflate.Writer
	last int // the level that the last entry had
}

// inflates says whether a stream expands to so many bytes, and is no longer
// than it has to be.
func (m *matcher) inflates(packed []byte, size int64) bool {
	r := bytes.NewReader(packed)
	return m.x.expand(io.Discard, r, entry{size: size}) == nil && r.Len() == 0
}

// how returns how an entry is made again, and how many bytes it is expanded; or
// unused.
func (m *matcher) how(packed []byte, size int64) (uint64, int64) {
	if !m.inflates(packed, size) {
		return unused, size
	}
	for _, level := range []int{m.last, 6, 1, 9, 5, 7, 8, 4, 3, 2} {
		if m.makes(packed, level) {
			m.last = level
			return uint64(level), size
		}
	}
	return m.puff(packed)
}

// makes says whether zlib's deflate makes an entry at that level. It stops at
// the first byte that differs.
func (m *matcher) makes(packed []byte, level int) bool {
	w := &same{packed}
	if m.d == nil {
		m.d = new(deflate.Writer)
	}
	if m.d.Reset(w, level) != nil {
		return false
	}
	if _, err := io.Copy(m.d, flate.NewReader(bytes.NewReader(packed))); err != nil {
		return false
	}
	return m.d.Close() == nil && len(w.want) == 0
}

// puff is how for entries that zlib did not make.
func (m *matcher) puff(packed []byte) (uint64, int64) {
	if len(packed) > maxPuffed {
		return unused, 0
	}
	b, err := puffin.Puff(nil, packed)
	if err != nil || len(b) > maxPuffed {
		return unused, 0
	}
	if back, err := puffin.Huff(nil, b); err != nil || !bytes.Equal(back, packed) {
		return unused, 0
	}
	return puffed, int64(len(b))
}

// same is a writer that takes the bytes that it wants.
type same struct{ want []byte }

var errDiffers = errors.New("other bytes")

func (s *same) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(s.want, b) {
		return 0, errDiffers
	}
	s.want = s.want[len(b):]
	return len(b), nil
}
