// Package cow computes how large the snapshot of a partition gets while a device
// with compressed Virtual A/B applies a payload: what the manifest's
// estimate_cow_size and estimate_op_count_max say. A device sets aside so much
// before it begins, and the update fails if it was too little.
//
// It goes through the operations as update_engine's cow_size_estimator.cc does,
// and counts what libsnapshot's writers of versions 2 and 3 (writer_v2.cpp,
// writer_v3.cpp, cow_format.h) would write. It knows no COW_XOR: no payload that
// is made here has it.
package cow

import (
	"context"
	"fmt"
	"io"
	"slices"

	"mios"
	"mios/format/payload"
)

// Sizes of cow_format.h and cow_writer.h, in bytes.
const (
	block       = payload.DefaultBlockSize
	scratch     = 2 << 20
	header2     = 38
	header3     = 78
	op2         = 20
	op3         = 16
	clusterOps  = 1024 // of version 2, the last of which says where the next cluster is; and what version 3 compresses at once, in blocks
	footer      = 84
	resume      = 4 * 16
	sequence    = 2 * block / 4 // entries of one operation of version 2
	minOps      = 25
	maxFactor   = 1 << 20
	mergeIsCopy = 0 // CowMergeOperation's COW_COPY
)

// A Size is what a partition's COW takes.
type Size struct {
	Bytes uint64 // with one percent more than was counted, as AOSP's generator has it
	Ops   uint64 // of version 3; 0 in version 2
}

// Wanted tells whether the manifest is to say how large a partition's COW gets.
func Wanted(d *payload.DynamicPartitions, partition string) bool {
	return d != nil && d.SnapshotEnabled && d.VABCEnabled && slices.ContainsFunc(d.Groups, func(g payload.Group) bool {
		return slices.Contains(g.Partitions, partition)
	})
}

// Estimate returns the size of the COW of a partition: p has its operations, its
// merge operations and the size of the new image, which img holds.
func Estimate(ctx context.Context, d *payload.DynamicPartitions, p *payload.Partition, img io.ReaderAt) (Size, error) {
	e := &estimate{version: max(2, d.CowVersion), factor: max(block, int64(d.CompressionFactor))}
	if e.factor > maxFactor || e.factor&(e.factor-1) != 0 {
		return Size{}, fmt.Errorf("virtual A/B: compression factor %d, want a power of two up to %d: %w", e.factor, maxFactor, mios.ErrInvalid)
	}
	if e.version > 3 {
		return Size{}, fmt.Errorf("virtual A/B: COW version %d, want 2 or 3: %w", e.version, mios.ErrInvalid)
	}
	e.operations(p)
	sizes, err := e.pack(ctx, d.VABCCompressionParam, img)
	if err != nil {
		return Size{}, err
	}
	var s Size
	if e.version == 3 {
		s = e.size3(sizes)
	} else {
		s.Bytes = e.size2(sizes)
	}
	s.Bytes = uint64(float64(s.Bytes) * 1.01)
	return s, nil
}

// An estimate is what is written to a COW, in order.
type estimate struct {
	version uint32
	factor  int64 // bytes that version 3 compresses at once
	merged  uint64
	events  []event
	chunks  []chunk
}

// A kind of event is what becomes of blocks.
type kind uint8

const (
	bare  kind = iota // operations without data: copies, zeros, labels
	label             // one, of version 2
	raw               // compressed chunks
)

type event struct {
	kind kind
	n    uint64 // operations, or chunks
}

// A chunk is bytes of the new image that are compressed by themselves.
type chunk struct{ off, n int64 }

// operations goes through what a device does.
func (e *estimate) operations(p *payload.Partition) {
	copied := map[uint64]bool{}
	for _, m := range p.MergeOperations {
		if m.Type != mergeIsCopy || m.DstExtent == nil {
			continue
		}
		for i := range m.DstExtent.NumBlocks {
			copied[m.DstExtent.StartBlock+i] = true
		}
		if m.SrcExtent == nil || *m.SrcExtent != *m.DstExtent {
			e.merged += m.DstExtent.NumBlocks
		}
	}
	visited := make([]bool, p.NewInfo.Size/block)
	for i := range p.Operations {
		op := &p.Operations[i]
		for _, x := range op.DstExtents {
			for b := x.StartBlock; b < min(x.StartBlock+x.NumBlocks, uint64(len(visited))); b++ {
				visited[b] = true
			}
		}
		switch op.Type {
		case payload.SourceCopy:
			e.sourceCopy(op, copied)
			continue // the generator writes no label behind it
		case payload.Zero, payload.Discard:
			e.add(bare, blocks(op.DstExtents))
		default:
			for _, x := range op.DstExtents {
				e.raw(x.StartBlock, x.NumBlocks)
			}
		}
		e.add(label, 1)
	}
	e.rest(visited)
}

// sourceCopy copies blocks where the merge operations allow that, and keeps the
// others.
func (e *estimate) sourceCopy(op *payload.Operation, copied map[uint64]bool) {
	src := each(op.SrcExtents)
	var run payload.Extent
	last := uint64(0)
	end := func() {
		e.raw(run.StartBlock, run.NumBlocks)
		run = payload.Extent{}
	}
	for _, x := range op.DstExtents {
		for dst := x.StartBlock; dst < x.StartBlock+x.NumBlocks; dst++ {
			from, ok := src()
			switch {
			case !ok || from == dst:
			case copied[dst]:
				end()
				e.add(bare, 1)
			case run.NumBlocks > 0 && dst == run.StartBlock+run.NumBlocks && from == last+1:
				run.NumBlocks++
			default:
				end()
				run = payload.Extent{StartBlock: dst, NumBlocks: 1}
			}
			last = from
		}
	}
	end()
}

// rest keeps what no operation writes, hash trees and FEC: block by block.
func (e *estimate) rest(visited []bool) {
	for b := 0; b < len(visited); b++ {
		if visited[b] {
			continue
		}
		for ; b < len(visited) && !visited[b]; b++ {
			e.raw(uint64(b), 1)
		}
		e.add(label, 1)
	}
}

// raw cuts blocks into what is compressed at once.
func (e *estimate) raw(start, n uint64) {
	before := len(e.chunks)
	off, size := int64(start)*block, int64(n)*block
	for size > 0 {
		part := min(size, clusterOps*block)
		size -= part
		for part > 0 {
			take := int64(block)
			if e.version == 3 {
				for take = e.factor; take > part; {
					take /= 2
				}
			}
			e.chunks = append(e.chunks, chunk{off, take})
			off += take
			part -= take
		}
	}
	e.add(raw, uint64(len(e.chunks)-before))
}

func (e *estimate) add(k kind, n uint64) {
	if n > 0 {
		e.events = append(e.events, event{k, n})
	}
}

// size3 is the COW of version 3: header, scratch space, merge sequence, resume
// points, operations, data.
func (e *estimate) size3(sizes []uint32) Size {
	s := Size{Bytes: header3 + scratch + 4*e.merged + resume}
	for _, n := range sizes {
		s.Bytes += uint64(n)
	}
	for _, v := range e.events {
		if v.kind != label {
			s.Ops += v.n
		}
	}
	s.Bytes += op3 * s.Ops
	s.Ops = max(s.Ops, minOps)
	return s
}

// size2 is the COW of version 2: header, scratch space, clusters of operations
// each followed by their data, footer.
func (e *estimate) size2(sizes []uint32) uint64 {
	w := writer2{ops: header2 + scratch}
	w.data = w.ops + clusterOps*op2
	for left := e.merged; left > 0; left -= min(left, sequence) {
		w.op(4 * min(left, sequence))
	}
	for _, v := range e.events {
		for range v.n {
			if v.kind != raw {
				w.op(0)
				continue
			}
			w.op(uint64(sizes[0]))
			sizes = sizes[1:]
		}
	}
	if w.clusterData > 0 {
		return w.data + footer
	}
	return w.ops + footer
}

// A writer2 knows where a writer of version 2 is.
type writer2 struct {
	ops, data   uint64 // where the next one goes
	inCluster   uint64 // operations
	clusterData uint64 // bytes
}

func (w *writer2) op(data uint64) {
	w.ops += op2
	w.data += data
	w.inCluster++
	w.clusterData += data
	if w.inCluster+2 > clusterOps {
		w.ops += op2 + w.clusterData + (clusterOps-w.inCluster-1)*op2
		w.data += clusterOps * op2
		w.inCluster, w.clusterData = 0, 0
	}
}

// each returns the blocks of extents, one after the other.
func each(extents []payload.Extent) func() (uint64, bool) {
	i, at := 0, uint64(0)
	return func() (uint64, bool) {
		for i < len(extents) && at >= extents[i].NumBlocks {
			i, at = i+1, 0
		}
		if i >= len(extents) {
			return 0, false
		}
		at++
		return extents[i].StartBlock + at - 1, true
	}
}

func blocks(extents []payload.Extent) (n uint64) {
	for _, x := range extents {
		n += x.NumBlocks
	}
	return n
}
