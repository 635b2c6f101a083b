package delta

import (
	"compress/flate"
	"context"
	"crypto/sha256"
	"fmt"

	"mios/format/bsdiff"
	"mios/format/lz4diff"
	"mios/format/payload"
	"mios/format/puffin"
)

// An encoded operation, with its data.
type encoded struct {
	op   payload.Operation
	data []byte
}

// An encoder turns units into operations. It is for one goroutine.
type encoder struct {
	*run
	old, new Image
	prints   []print
	streams  *streams
	full     payload.Encoder
	// algorithm is how the new image is compressed.
	algorithm *lz4diff.Algorithm
}

// diffOverhead is what an operation with a source takes more than one without,
// in the manifest, in bytes: the source's hash and where it is.
func diffOverhead(src []payload.Extent) int { return 36 + 6*len(src) }

// encode returns the operations that make a unit's blocks.
func (e *encoder) encode(ctx context.Context, u *unit) ([]encoded, error) {
	plain, err := e.new.read(u.dst.extents)
	if err != nil {
		return nil, err
	}
	if err := e.lookAlikes(u, plain); err != nil {
		return nil, err
	}
	best, err := e.diff(ctx, u, plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u.name, err)
	}
	if best != nil && len(best.data) <= payload.MaxBlob && len(best.data) < hopeless(plain) {
		return []encoded{*best}, nil
	}
	whole, err := e.replace(ctx, u, plain)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, w := range whole {
		size += len(w.data)
	}
	switch {
	case best == nil || len(best.data)+diffOverhead(best.op.SrcExtents) >= size:
		return whole, nil
	case len(best.data) > payload.MaxBlob:
		return e.halves(ctx, u)
	}
	return []encoded{*best}, nil
}

// hopeless returns so few bytes that no form without a source is worth trying,
// which takes longest of all: half of what the fastest deflate makes of b.
func hopeless(b []byte) int {
	var n counter
	w, err := flate.NewWriter(&n, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return 0 // a counter takes all
	}
	return int(n) / 2
}

// A counter counts what is written to it.
type counter int64

// Write implements [io.Writer].
func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// halves encodes the halves of a unit, whose data is too much for one operation.
func (e *encoder) halves(ctx context.Context, u *unit) ([]encoded, error) {
	var out []encoded
	for i, n := uint64(0), (u.dst.n+1)/2; i < u.dst.n; i += n {
		half := &unit{name: u.name, src: u.src}
		half.dst.extents = sublist(u.dst.extents, i, i+n)
		half.dst.n = blocks(half.dst.extents)
		for _, p := range u.dst.pieces {
			from, to := max(p.at, int64(i)*block), min(p.at+p.len, int64(i+n)*block)
			if from < to {
				half.dst.pieces = append(half.dst.pieces, piece{p.f, p.off + from - p.at, to - from, from - int64(i)*block})
			}
		}
		list, err := e.encode(ctx, half)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// diff returns the smallest operation that needs a source, or nil if there is
// none.
func (e *encoder) diff(ctx context.Context, u *unit, plain []byte) (*encoded, error) {
	if u.src.n == 0 {
		return nil, nil
	}
	old, err := e.old.read(u.src.extents)
	if err != nil {
		return nil, err
	}
	op := payload.Operation{Type: payload.BrotliBSDiff, SrcExtents: u.src.extents, DstExtents: u.dst.extents}
	o := bsdiff.Options{}
	if !e.allowed(op.Type) {
		op.Type, o.Legacy = payload.SourceBSDiff, true
	}
	if e.Header.MinorVersion >= MinorSrcHash {
		sum := sha256.Sum256(old)
		op.SrcHash = sum[:]
	}
	if op.Type == payload.SourceBSDiff && e.Header.MinorVersion <= MinorSrcHash {
		op.SrcLength, op.DstLength = uint64(len(old)), uint64(len(plain))
	}
	if u.packed {
		return e.diffPacked(ctx, u, op, old, plain)
	}
	var best *encoded
	packed := 0
	if e.allowed(payload.Puffdiff) {
		from, to, err := e.streams.both(u)
		if err != nil {
			return nil, err
		}
		if len(from) > 0 && len(to) > 0 {
			data, err := puffin.Diff(ctx, old, plain, from, to, o)
			if err != nil {
				return nil, err
			}
			op := op
			op.Type = payload.Puffdiff
			best = &encoded{op, data}
			for _, b := range to {
				packed += int(b.Length / 8)
			}
		}
	}
	if packed >= len(plain)/2 {
		return best, nil
	}
	data, err := bsdiff.Diff(ctx, old, plain, o)
	if err != nil {
		return nil, err
	}
	if best == nil || len(data) < len(best.data) {
		best = &encoded{op, data}
	}
	return best, nil
}
