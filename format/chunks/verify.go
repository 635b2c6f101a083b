package chunks

import (
	"context"
	"fmt"
	"io"

	"mios/internal/readat"
)

// Verify compares an index with its root, and the pack with the index: that each
// part is the one that the root names, and that each chunk of the pack is what
// its name says. A nil pack is left out. Errors of the index are of type [FormatError]; those of
// a pack say at which offset of it, and wrap [mios.ErrInvalid].
func (r *Root) Verify(ctx context.Context, index, pack io.ReaderAt, progress func(done, total int64)) error {
	type place struct {
		ID
		pack int64
	}
	w, seen := &assembly{ctx: ctx}, map[place]bool{}
	var packed, b []byte
	at, done := r.size, int64(0)
	for i := range r.Partitions {
		for j := range r.Partitions[i].Regions {
			if err := ctx.Err(); err != nil {
				return err
			}
			g := &r.Partitions[i].Regions[j]
			part := make([]byte, g.PartSize) // MaxPart at most: see check
			if err := readat.Full(index, part, at); err != nil {
				return fmt.Errorf("index: offset %#x: part %d of partition %s: %w", at, j, r.Partitions[i].Name, err)
			}
			at += g.PartSize
			list, err := r.ParsePart(g, part)
			if err != nil {
				return fmt.Errorf("index: offset %#x: part %d of partition %s: %w", at-g.PartSize, j, r.Partitions[i].Name, err)
			}
			for k := range list {
				c := &list[k]
				if pack == nil || c.Zero() || seen[place{c.ID, c.Pack}] {
					continue
				}
				seen[place{c.ID, c.Pack}] = true
				packed, b = resize(packed, c.Packed), resize(b, c.Size)
				if err := readat.Full(pack, packed, c.Pack); err != nil {
					return fmt.Errorf("pack: offset %d: %w", c.Pack, err)
				}
				if err := w.unpack(b, packed, c); err != nil {
					return err
				}
				if done = max(done, c.Pack+int64(c.Packed)); progress != nil {
					progress(done, r.PackSize)
				}
			}
		}
	}
	return nil
}

// resize returns n bytes, those of b if it has as many.
func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
