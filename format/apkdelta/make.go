package apkdelta

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"mios"
	"mios/format/bsdiff"
	"mios/internal/readat"
)

// Options say how [Make] works. The zero value makes a delta as small as it
// gets.
type Options struct {
	// Memory bounds what comparing takes, in bytes, beside both files expanded;
	// 0 does not bound it: four and a half bytes for each byte of old.
	Memory int64
}

// Make writes to w the delta that makes the newSize bytes of new of the oldSize
// bytes of old. The same files and options give the same bytes. It is for the
// server: it holds both files, and both expanded.
func Make(ctx context.Context, old io.ReaderAt, oldSize int64, new io.ReaderAt, newSize int64, w io.Writer, o Options) (*Header, error) {
	files := [2][]byte{}
	for i, f := range []struct {
		name string
		r    io.ReaderAt
		size int64
	}{{"old", old, oldSize}, {"new", new, newSize}} {
		if f.size < 0 || f.size > MaxSize {
			return nil, fmt.Errorf("apkdelta: %s file of %d bytes, at most %d: %w", f.name, f.size, int64(MaxSize), mios.ErrInvalid)
		}
		files[i] = make([]byte, f.size)
		if err := readat.Full(f.r, files[i], 0); err != nil {
			return nil, fmt.Errorf("apkdelta: %s file: %w", f.name, err)
		}
	}
	from, to := newArchive(files[0]), newArchive(files[1])
	if err := choose(ctx, from, to); err != nil {
		return nil, err
	}
	m := maker{w: &packer{w: w}}
	var err error
	if m.old, err = from.expand(ctx); err != nil {
		return nil, err
	}
	if m.new, err = to.expand(ctx); err != nil {
		return nil, err
	}
	if m.matches, err = bsdiff.Matches(ctx, m.old, m.new, o.Memory); err != nil {
		return nil, err
	}
	m.prune(from.entries)
	h := &Header{Old: mios.Sum(files[0]), New: mios.Sum(files[1]), OldSize: oldSize, NewSize: newSize, Scratch: from.entries.scratch()}
	if _, err := w.Write(h.appendTo(nil)); err != nil {
		return nil, err
	}
	if err := m.w.write(to.entries.appendTo(from.entries.appendTo(nil))); err != nil {
		return nil, err
	}
	return h, m.run(ctx)
}

// A maker makes a delta of what is expanded.
type maker struct {
	w        *packer
	old, new []byte
	matches  []bsdiff.Match

	control, add, insert []byte
	at                   int // in old
}

// prune marks the entries of old of which no match has anything.
func (m *maker) prune(entries plan) {
	used := make([]bool, len(entries))
	for _, x := range m.matches {
		if x.Len == 0 {
			continue
		}
		from, to := int64(x.Old), int64(x.Old+x.Len)
		for i := entries.find(from); i < len(entries) && entries[i].at < to; i++ {
			used[i] = true
		}
	}
	for i := range entries {
		if !used[i] {
			entries[i].how = unused
		}
	}
}

// run writes steps: so many bytes of new that are added to bytes of old, from a
// place on, and then so many that are inserted.
func (m *maker) run(ctx context.Context) error {
	done := 0
	for _, x := range append(m.matches, bsdiff.Match{New: len(m.new)}) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for done < x.New {
			n := min(x.New-done, m.room())
			m.step(0, 0, n)
			m.insert = append(m.insert, m.new[done:][:n]...)
			done += n
			if err := m.full(); err != nil {
				return err
			}
		}
		for end := x.New + x.Len; done < end; {
			n := min(end-done, m.room())
			at := x.Old + done - x.New
			m.step(at, n, 0)
			for i, c := range m.old[at:][:n] {
				m.add = append(m.add, m.new[done+i]-c)
			}
			done += n
			if err := m.full(); err != nil {
				return err
			}
		}
	}
	return m.flush()
}

// maxStep is how many bytes a step takes at most.
const maxStep = 3 * binary.MaxVarintLen32

// room returns how many bytes a next step may have.
func (m *maker) room() int { return maxPart - maxStep - m.size() }

func (m *maker) size() int { return len(m.control) + len(m.add) + len(m.insert) }

// step appends a step.
func (m *maker) step(at, add, insert int) {
	seek := 0
	if add > 0 {
		seek = at - m.at
		m.at = at + add
	}
	m.control = binary.AppendVarint(m.control, int64(seek))
	m.control = binary.AppendUvarint(m.control, uint64(add))
	m.control = binary.AppendUvarint(m.control, uint64(insert))
}

// full writes the parts if hardly a step more fits.
func (m *maker) full() error {
	if m.room() > maxStep {
		return nil
	}
	return m.flush()
}

func (m *maker) flush() error {
	if m.size() == 0 {
		return nil
	}
	err := m.w.write(m.control, m.add, m.insert)
	m.control, m.add, m.insert = m.control[:0], m.add[:0], m.insert[:0]
	return err
}
