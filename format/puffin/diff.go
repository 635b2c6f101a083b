package puffin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"mios/format/bsdiff"
	"mios/internal/pieces"
)

// Diff returns a patch that makes new of old, both puffed where the blocks lie
// (in order, none over another; Locate functions return such). A block that
// cannot be made again bit for bit, or that some client of AOSP would read
// wrongly, is compared as it is. Options bound the comparison of the puffed
// files; they themselves take memory besides: a block takes two or three times
// its size.
func Diff(ctx context.Context, old, new []byte, oldBlocks, newBlocks []BitExtent, o bsdiff.Options) ([]byte, error) {
	oldPuffed, oldStream, err := puffFile(ctx, old, oldBlocks)
	if err != nil {
		return nil, fmt.Errorf("old file: %w", err)
	}
	newPuffed, newStream, err := puffFile(ctx, new, newBlocks)
	if err != nil {
		return nil, fmt.Errorf("new file: %w", err)
	}
	o.Legacy = false
	patch, err := bsdiff.Diff(ctx, oldPuffed, newPuffed, o)
	if err != nil {
		return nil, err
	}
	return append(appendHeader(nil, &oldStream, &newStream), patch...), nil
}

// largest is how many puffed bytes a block may have to be puffed: clients keep
// it in memory.
const largest = 16 << 20

// puffFile puffs the blocks of a file that can be, on all processors: first to
// know their sizes, then in place.
func puffFile(ctx context.Context, data []byte, blocks []BitExtent) ([]byte, Stream, error) {
	last := uint64(0)
	for i, x := range blocks {
		if x.Offset < last || x.end() < x.Offset || x.end() > 8*uint64(len(data)) {
			return nil, Stream{}, fmt.Errorf("puffin: block %d: bits %d to %d: blocks are to be in order, within the file", i, x.Offset, x.end())
		}
		last = x.end()
	}
	sizes := make([]int, len(blocks))
	err := pieces.Items(ctx, len(blocks), func() func(int) error {
		p, h := newPuffer(), newHuffer()
		var buf, back []byte
		return func(i int) error {
			buf, back = tryPuff(p, h, data, blocks[i], buf, back, &sizes[i])
			return nil
		}
	})
	if err != nil {
		return nil, Stream{}, err
	}
	var deflates []BitExtent
	var puffs []int
	for i, n := range sizes {
		if n > 0 {
			deflates, puffs = append(deflates, blocks[i]), append(puffs, n)
		}
	}
	s := newStream(deflates, puffs, int64(len(data)))
	out := make([]byte, s.Size)
	if err := s.fillRaw(out, data); err != nil {
		return nil, Stream{}, err
	}
	err = pieces.Items(ctx, len(deflates), func() func(int) error {
		p := newPuffer()
		return func(i int) error {
			at := s.Puffs[i].Offset / 8
			_, err := p.puff(out[at:at:at+uint64(puffs[i])], data, int64(deflates[i].Offset), int64(deflates[i].end()))
			return err
		}
	})
	return out, s, err
}

// tryPuff sets size to how many bytes a block has when it is puffed, or to 0 if
// it is better not, and returns the buffers it was given, which may have grown.
func tryPuff(p *puffer, h *huffer, data []byte, x BitExtent, buf, back []byte, size *int) ([]byte, []byte) {
	start, end := int64(x.Offset), int64(x.end())
	buf, err := p.puff(buf[:0], data, start, end)
	if err != nil || p.fragile || p.in.pos != end || len(buf) > largest {
		return buf, back
	}
	// The bits before the block are made as they are, to compare bytes.
	h.out = bitWriter{out: back[:0]}
	h.out.write(uint64(data[start/8])&(1<<(start&7)-1), uint(start&7))
	if h.huff(buf) != nil {
		return buf, h.out.out
	}
	back = h.out.out
	whole := len(back)
	if int64(8*whole)+int64(h.out.n) != end-start/8*8 || !bytes.Equal(back, data[start/8:][:whole]) ||
		h.out.n > 0 && byte(h.out.acc) != data[end/8]&(1<<h.out.n-1) {
		return buf, back
	}
	*size = len(buf)
	return buf, back
}

// fillRaw sets what is between the puffs.
func (s *Stream) fillRaw(out, data []byte) error {
	r := newReader(bytes.NewReader(data), s)
	at := uint64(0)
	for i := range len(s.Puffs) + 1 {
		to, next := s.Size, s.Size
		if i < len(s.Puffs) {
			to, next = s.Puffs[i].Offset/8, s.Puffs[i].end()/8
		}
		if at < to {
			if _, err := r.between(i, out[at:to], at); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// A bitKey stands for a block's bits.
type bitKey struct {
	length uint64
	sum    [sha256.Size]byte
}

func key(data []byte, x BitExtent) bitKey {
	r := bitReader{data, int64(x.Offset), int64(x.end())}
	w := bitWriter{out: make([]byte, 0, x.Length/8+1)}
	for r.left() > 0 {
		n := uint(min(r.left(), 32))
		w.write(r.peek()&(1<<n-1), n)
		r.pos += int64(n)
	}
	w.write(0, -w.n&7)
	return bitKey{x.Length, sha256.Sum256(w.out)}
}
