package delta

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"mios"
	"mios/format/payload"
)

// Sizes of libsnapshot's cow_format.h, in bytes.
const (
	cowScratch  = 2 << 20
	cowHeader2  = 38
	cowHeader3  = 78
	cowOp2      = 20
	cowOp3      = 16
	cowCluster  = 200 // operations, one of which says where the next cluster is
	cowFooter   = 84
	cowResume   = 4 * 16
	cowSequence = 2 * block / 4 // entries of one operation of version 2
	cowMinOps   = 25
)

// snapshot fills in what a partition's manifest says for Virtual A/B with
// compression: in which order copies are merged, and how large the COW gets.
// The estimate is that of delta_diff_generator.cc and libsnapshot's writers:
// an operation a block (20 bytes in version 2, in clusters of 200 with a label
// for each operation of the payload; 16 bytes in version 3), compressed data of each
// block that is neither copied nor zeros, 4 bytes in the merge sequence for
// each that is copied, 2 MiB of scratch space, and one percent. Blocks that stay
// where they are take nothing. It knows no COW_XOR: none is written.
func (r *run) snapshot(ctx context.Context, img Image, class []uint32, taken []bool, out *payload.Partition) error {
	d := r.Header.Dynamic
	if d == nil || !d.SnapshotEnabled || !d.VABCEnabled || !slices.ContainsFunc(d.Groups, func(g payload.Group) bool {
		return slices.Contains(g.Partitions, out.Name)
	}) {
		return nil
	}
	order := mergeOrder(moves(class, taken))
	if out.OldInfo != nil {
		out.MergeOperations = mergeOperations(order)
	}
	c := &cow{version: max(2, d.CowVersion), factor: max(block, int64(d.CompressionFactor)), labels: uint64(len(out.Operations))}
	var err error
	if c.pack, err = packer(d.VABCCompressionParam); err != nil {
		return err
	}
	copied := make([]bool, len(class))
	for _, m := range order {
		for i := range m.n {
			copied[m.dst+i] = true
		}
		c.copies += m.n
	}
	var raw []payload.Extent
	for b, from := range class {
		switch {
		case copied[b] || int(from) == b && !taken[b]:
		case from == isZeros && !taken[b]:
			c.zeros++
		default:
			raw = add(raw, uint64(b), 1)
		}
	}
	if err := c.raw(ctx, img, raw); err != nil {
		return err
	}
	out.EstimateCowSize = c.size() + c.size()/100
	if c.version >= 3 {
		out.EstimateOpCountMax = max(cowMinOps, c.copies+c.zeros+c.ops)
	}
	return nil
}

// A cow counts what a partition's COW holds.
type cow struct {
	version                            uint32
	factor                             int64 // bytes that are compressed at once, in version 3
	pack                               func([]byte) int
	copies, zeros, labels, ops, packed uint64 // packed in bytes
}

// raw counts the blocks that the COW holds.
func (c *cow) raw(ctx context.Context, img Image, extents []payload.Extent) error {
	buf := make([]byte, max(1<<20, c.factor))
	for _, x := range extents {
		for off, end := int64(x.StartBlock)*block, int64(x.StartBlock+x.NumBlocks)*block; off < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(int64(len(buf)), end-off)]
			if err := readFull(img, b, off); err != nil {
				return err
			}
			off += int64(len(b))
			for len(b) > 0 {
				n := int64(block)
				for c.version >= 3 && 2*n <= min(c.factor, int64(len(b))) {
					n *= 2
				}
				c.ops++
				c.packed += uint64(min(n, int64(c.pack(b[:n]))))
				b = b[n:]
			}
		}
	}
	return nil
}

// size is the COW's, in bytes.
func (c *cow) size() uint64 {
	ops := c.copies + c.zeros + c.ops
	if c.version >= 3 {
		return cowHeader3 + cowScratch + 4*c.copies + cowResume + cowOp3*max(ops, cowMinOps) + c.packed
	}
	ops += c.labels + (c.copies+cowSequence-1)/cowSequence
	ops += (ops+cowCluster-2)/(cowCluster-1) + 1
	return cowHeader2 + cowScratch + 4*c.copies + cowOp2*ops + c.packed + cowFooter
}

// packer returns how many bytes a compressor makes of some.
func packer(param string) (func([]byte) int, error) {
	name, _, _ := strings.Cut(param, ",")
	switch name {
	case "none", "":
		return func(b []byte) int { return len(b) }, nil
	case "gz", "brotli":
		var out bytes.Buffer
		w, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
		if err != nil {
			return nil, err
		}
		return func(b []byte) int {
			out.Reset()
			w.Reset(&out)
			w.Write(b) // a bytes.Buffer takes all
			w.Close()
			return out.Len()
		}, nil
	case "lz4":
		var c lz4.Compressor
		var out []byte
		return func(b []byte) int {
			out = slices.Grow(out[:0], lz4.CompressBlockBound(len(b)))
			n, err := c.CompressBlock(b, out[:cap(out)])
			if err != nil || n == 0 {
				return len(b)
			}
			return n
		}, nil
	case "zstd":
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10))
		if err != nil {
			return nil, err
		}
		var out []byte
		return func(b []byte) int {
			out = e.EncodeAll(b, out[:0])
			return len(out)
		}, nil
	}
	return nil, fmt.Errorf("virtual A/B: compression %q, want gz, lz4, zstd, brotli or none: %w", param, mios.ErrInvalid)
}
