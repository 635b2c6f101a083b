package delta

import (
	"bytes"
	"context"
	"fmt"

	"github.com/dsnet/compress/bzip2"

	"mios/format/payload"
)

// replaceBlocks is how much an operation without a source writes at most.
const replaceBlocks = payload.ChunkSize / block

// replace returns operations that need no source.
func (e *encoder) replace(ctx context.Context, u *unit, plain []byte) ([]encoded, error) {
	var out []encoded
	for i := uint64(0); i < u.dst.n; i += replaceBlocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one, err := e.replaceOne(plain[i*block : min(i+replaceBlocks, u.dst.n)*block])
		if err != nil {
			return nil, err
		}
		one.op.DstExtents = sublist(u.dst.extents, i, i+replaceBlocks)
		out = append(out, *one)
	}
	return out, nil
}

// replaceOne returns the operation that brings plain, without its extents.
func (e *encoder) replaceOne(plain []byte) (*encoded, error) {
	if e.allowed(payload.ReplaceXZ) {
		typ, data, err := e.full.Encode(plain)
		return &encoded{payload.Operation{Type: typ}, bytes.Clone(data)}, err
	}
	var out bytes.Buffer
	w, err := bzip2.NewWriter(&out, &bzip2.WriterConfig{Level: bzip2.BestCompression})
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("bzip2: %w", err)
	}
	if out.Len() >= len(plain) {
		return &encoded{payload.Operation{Type: payload.Replace}, plain}, nil
	}
	return &encoded{payload.Operation{Type: payload.ReplaceBZ}, out.Bytes()}, nil
}
