package delta

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"mios"
	"mios/format/payload"
)

// Limits on operations that carry no data, in blocks that one writes and in
// extents of one: enough to say little, and little enough to go on from.
const (
	maxCopy  = 16 << 20 / block
	maxZeros = 64 << 20 / block
	maxRuns  = 4096
)

// partition makes what the manifest says of a partition, and writes its data.
func (r *run) partition(ctx context.Context, p *Partition) (*payload.Partition, error) {
	old, new := p.Old, p.New
	if old.ReaderAt == nil {
		old.Size = 0
	}
	oldScan, newScan, err := scanBoth(ctx, old, new)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(old.is(oldScan.sum, "old"), new.is(newScan.sum, "new")); err != nil {
		return nil, err
	}
	out := p.Header
	out.Operations = nil
	out.NewInfo = &payload.PartitionInfo{Size: uint64(new.Size), Hash: newScan.sum[:]}
	if old.Size > 0 {
		out.OldInfo = &payload.PartitionInfo{Size: uint64(old.Size), Hash: oldScan.sum[:]}
	}
	computed, err := r.verity(new, &out)
	if err != nil {
		return nil, err
	}
	for _, x := range computed {
		r.stats.Computed += int64(x.NumBlocks) * block
	}
	w := &encoder{run: r, old: old, new: new, prints: oldScan.prints, streams: newStreams()}
	plan, err := w.plan(ctx, oldScan, newScan, computed)
	if err != nil {
		return nil, err
	}
	free, err := w.free(plan)
	if err != nil {
		return nil, err
	}
	for _, e := range free {
		if err := r.emit(&out, e); err != nil {
			return nil, err
		}
	}
	r.progress(new.Size - int64(planned(plan.units))*block)
	if err := r.units(ctx, *w, plan.units, func(e encoded) error { return r.emit(&out, e) }); err != nil {
		return nil, err
	}
	return &out, r.snapshot(ctx, new, plan.class, plan.taken, &out)
}

// plan says what becomes of each block that the device does not compute.
func (e *encoder) plan(ctx context.Context, old, new *scan, computed []payload.Extent) (*planner, error) {
	class := classify(newIndex(old.blocks), new.blocks, func(b uint32) bool { return inside(computed, b) })
	p := &planner{class: class, taken: make([]bool, len(class))}
	var err error
	if p.old, err = readTree(ctx, e.old); err != nil {
		return nil, err
	}
	if p.new, err = readTree(ctx, e.new); err != nil {
		return nil, err
	}
	p.match = newMatcher(p.old)
	if e.allowed(payload.LZ4DiffBSDiff) {
		if p.algorithm, err = p.new.algorithm(e.new); err != nil {
			return nil, err
		}
		e.algorithm = p.algorithm
	}
	p.streams = func(f *file) ([]span, error) {
		if !e.allowed(payload.Puffdiff) {
			return nil, nil
		}
		return e.streams.spans(f)
	}
	return p, p.plan()
}

// is refuses an image that is not what was built.
func (img Image) is(sum [sha256.Size]byte, which string) error {
	if img.SHA256 != (mios.Digest{}) && img.SHA256 != mios.Digest(sum) {
		return fmt.Errorf("%s image has SHA-256 %x, %x was built: %w: build it again", which, sum, img.SHA256, mios.ErrInvalid)
	}
	return nil
}

// scanBoth reads both images.
func scanBoth(ctx context.Context, old, new Image) (a, b *scan, err error) {
	var wg sync.WaitGroup
	var oldErr error
	wg.Go(func() { a, oldErr = scanImage(ctx, old, true) })
	b, err = scanImage(ctx, new, false)
	wg.Wait()
	if oldErr != nil {
		return nil, nil, oldErr
	}
	return a, b, err
}

func inside(extents []payload.Extent, b uint32) bool {
	for _, x := range extents {
		if uint64(b) >= x.StartBlock && uint64(b) < x.StartBlock+x.NumBlocks {
			return true
		}
	}
	return false
}

func planned(units []*unit) (n uint64) {
	for _, u := range units {
		n += u.dst.n
	}
	return n
}

// emit puts an operation into a partition and its data into the payload.
func (r *run) emit(p *payload.Partition, e encoded) error {
	op := e.op
	if len(e.data) > 0 {
		sum := sha256.Sum256(e.data)
		op.DataOffset, op.DataLength, op.DataHash = r.out.n, uint64(len(e.data)), sum[:]
		if _, err := r.out.Write(e.data); err != nil {
			return err
		}
	}
	p.Operations = append(p.Operations, op)
	s := r.stats.Operations[op.Type]
	s.Count++
	s.Bytes += int64(blocks(op.DstExtents)) * block
	s.Data += int64(len(e.data))
	r.stats.Operations[op.Type] = s
	return nil
}

// free makes the operations that cost next to nothing: zeros and copies.
func (e *encoder) free(p *planner) ([]encoded, error) {
	var out []encoded
	var zeros, src, dst []payload.Extent
	flush := func() error {
		if len(dst) == 0 {
			return nil
		}
		op := payload.Operation{Type: payload.SourceCopy, SrcExtents: src, DstExtents: dst}
		if e.Header.MinorVersion >= MinorSrcHash {
			h := sha256.New()
			if err := copyExtents(h, e.old, src); err != nil {
				return err
			}
			op.SrcHash = h.Sum(nil)
		}
		out = append(out, encoded{op: op})
		src, dst = nil, nil
		return nil
	}
	n := 0
	for b, from := range p.class {
		switch {
		case p.taken[b] || from == isComputed:
		case from == isZeros:
			zeros = add(zeros, uint64(b), 1)
		default:
			src, dst = add(src, uint64(from), 1), add(dst, uint64(b), 1)
			if n++; n >= maxCopy || max(len(src), len(dst)) >= maxRuns {
				if err := flush(); err != nil {
					return nil, err
				}
				n = 0
			}
		}
	}
	err := flush()
	list, zeroErr := e.zeros(zeros)
	if err == nil {
		err = zeroErr
	}
	return append(out, list...), err
}

// zeros makes operations that write zeros.
func (e *encoder) zeros(extents []payload.Extent) (out []encoded, err error) {
	limit := uint64(maxZeros)
	if !e.allowed(payload.Zero) {
		limit = replaceBlocks
	}
	for i, n := uint64(0), blocks(extents); i < n; i += limit {
		one := &encoded{op: payload.Operation{Type: payload.Zero}}
		if limit == replaceBlocks {
			if one, err = e.replaceOne(make([]byte, min(limit, n-i)*block)); err != nil {
				return nil, err
			}
		}
		one.op.DstExtents = sublist(extents, i, min(n, i+limit))
		out = append(out, *one)
	}
	return out, nil
}
