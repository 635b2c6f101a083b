package chunks

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/therootcompany/xz"

	"mios"
	"mios/format/avb"
	"mios/internal/readat"
)

// A Target is a partition that is written. It may hold anything before.
type Target interface {
	io.ReaderAt
	io.WriterAt
}

// An Assembler makes partitions by a plan. What it needs of memory does not
// grow with them, the plan aside.
type Assembler struct {
	Plan   *Plan
	Target func(partition string) (Target, error)
	Pack   Opener
	// Parallel is how many requests for the pack are under way at once, each for
	// at most 1 MiB; 0 means 4.
	Parallel int
	// Progress, if set, is told how many bytes of the partitions are done.
	Progress func(done, total int64)
}

// Run writes the partitions. Each chunk is compared with its name before it is
// written, wherever it comes; a chunk of a seed that has changed since is
// fetched. It may be called again after an error, or with a new plan after a
// power cut. Whether a whole partition has the SHA-256 that the root says is for
// the caller to see.
func (a *Assembler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	n := a.Parallel
	if n <= 0 {
		n = 4
	}
	w := &assembly{Assembler: a, ctx: ctx, pack: newPrefetch(ctx, a.Plan.runs, a.Pack, n)}
	defer w.pack.busy.Wait()
	defer cancel()
	for i := range a.Plan.root.Partitions {
		w.total += a.Plan.root.Partitions[i].Size
	}
	for i := range a.Plan.root.Partitions {
		p := &a.Plan.root.Partitions[i]
		if err := w.partition(i, p); err != nil {
			return fmt.Errorf("partition %s: %w", p.Name, err)
		}
	}
	return nil
}

// assembly is one call of Run.
type assembly struct {
	*Assembler
	ctx         context.Context
	pack        *prefetch
	unpacker    *xz.Reader
	buf         []byte
	done, total int64
}

// partition makes one partition.
func (w *assembly) partition(i int, p *Partition) error {
	t, err := w.Target(p.Name)
	if err != nil {
		return err
	}
	out := &joiner{w: t}
	for j := range w.Plan.steps[i] {
		s := &w.Plan.steps[i][j]
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if s.from != fromHere {
			b, err := w.chunk(s, out, i)
			if err != nil {
				return err
			}
			if err := out.write(b, s.off); err != nil {
				return err
			}
		}
		w.done += int64(s.chunk.Size)
		if w.Progress != nil {
			w.Progress(w.done, w.total)
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	for j := range p.Areas {
		if err := WriteArea(t, &p.Areas[j]); err != nil {
			return err
		}
		w.done += p.Areas[j].Size
	}
	if w.Progress != nil {
		w.Progress(w.done, w.total)
	}
	return nil
}

// chunk returns the bytes of a step, valid until the next call.
func (w *assembly) chunk(s *step, out *joiner, partition int) ([]byte, error) {
	c := &s.chunk
	if cap(w.buf) < c.Size {
		w.buf = make([]byte, max(c.Size, w.Plan.root.Cutter.Max))
	}
	b := w.buf[:c.Size]
	switch s.from {
	case fromZeros:
		clear(b)
		return b, nil
	case fromPack:
		packed, err := w.pack.read(c)
		if err != nil {
			return nil, err
		}
		return b, w.unpack(b, packed, c)
	}
	seen, off, err := w.place(s, out, partition)
	if err != nil {
		return nil, err
	}
	if readat.Full(seen, b, off) == nil && Sum(b) == c.ID {
		return b, nil
	}
	return b, w.instead(b, c)
}

// place returns where a step's chunk was seen.
func (w *assembly) place(s *step, out *joiner, partition int) (io.ReaderAt, int64, error) {
	if s.from == fromSeed {
		r, off, _ := w.Plan.seeds.find(s.chunk.ID, s.chunk.Size)
		return r, off, nil
	}
	if int(s.part) == partition {
		if err := out.flush(); err != nil {
			return nil, 0, err
		}
	}
	t, err := w.Target(w.Plan.root.Partitions[s.part].Name)
	return t, s.srcOff, err
}

// instead fetches a chunk that is not where it was seen.
func (w *assembly) instead(b []byte, c *Chunk) error {
	if c.Packed == 0 {
		return fmt.Errorf("chunk %v has changed since it was looked at: %w: try again", c.ID, mios.ErrConflict)
	}
	packed, err := fetch(w.ctx, Span{c.Pack, int64(c.Packed)}, w.Pack)
	if err != nil {
		return err
	}
	return w.unpack(b, packed, c)
}

// unpack fills b from what the pack has of the chunk.
func (w *assembly) unpack(b, packed []byte, c *Chunk) error {
	if c.Packed == c.Size {
		copy(b, packed)
	} else {
		if err := w.decompress(b, packed); err != nil {
			return fmt.Errorf("pack: offset %d: chunk %v: %v: %w", c.Pack, c.ID, err, mios.ErrInvalid)
		}
	}
	if got := Sum(b); got != c.ID {
		return fmt.Errorf("pack: offset %d: chunk is %v, want %v: %w", c.Pack, got, c.ID, mios.ErrInvalid)
	}
	return nil
}

// decompress fills b from an xz stream.
func (w *assembly) decompress(b, packed []byte) (err error) {
	r := bytes.NewReader(packed)
	if w.unpacker == nil {
		w.unpacker, err = xz.NewReader(r, 2*maxChunk)
	} else {
		err = w.unpacker.Reset(r)
	}
	if err != nil {
		return err
	}
	_, err = io.ReadFull(w.unpacker, b)
	return err
}

// WriteArea computes an area of the partition and writes it.
func WriteArea(t Target, a *Area) error {
	w := io.NewOffsetWriter(t, a.Offset)
	var err error
	switch a.Kind {
	case HashTree:
		_, err = avb.WriteHashtree(w, t, a.Covers, a.Hash, a.Salt)
	case FEC:
		err = avb.WriteFEC(w, t, a.Covers, a.Roots)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", a.Kind, err)
	}
	return nil
}

// joinSize is how many bytes a joiner writes at once: a block device has to read
// what is overwritten in part.
const joinSize = 1 << 20

// A joiner writes chunks that lie side by side at once.
type joiner struct {
	w   io.WriterAt
	buf []byte
	at  int64 // of buf
}

func (j *joiner) write(b []byte, off int64) error {
	if len(j.buf) > 0 && off != j.at+int64(len(j.buf)) {
		if err := j.flush(); err != nil {
			return err
		}
	}
	if len(j.buf) == 0 {
		j.at = off
	}
	j.buf = append(j.buf, b...)
	if len(j.buf) >= joinSize {
		return j.flush()
	}
	return nil
}

func (j *joiner) flush() error {
	if len(j.buf) == 0 {
		return nil
	}
	_, err := j.w.WriteAt(j.buf, j.at)
	j.buf = j.buf[:0]
	return err
}
