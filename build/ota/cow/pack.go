package cow

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"mios"
	"mios/internal/lz4"
	"mios/internal/pieces"
)

// A packer returns how many bytes a compressor makes of some.
type packer func([]byte) int

// batch is how many chunks are compressed one after the other.
const batch = 64

// pack compresses the chunks on several cores.
func (e *estimate) pack(ctx context.Context, param string, img io.ReaderAt) ([]uint32, error) {
	if _, err := newPacker(param); err != nil {
		return nil, err
	}
	sizes := make([]uint32, len(e.chunks))
	err := pieces.Items(ctx, (len(sizes)+batch-1)/batch, func() func(int) error {
		pack, err := newPacker(param)
		buf := make([]byte, e.factor)
		return func(i int) error {
			if err != nil {
				return err
			}
			for k := i * batch; k < min(len(sizes), (i+1)*batch); k++ {
				c := e.chunks[k]
				b := buf[:c.n]
				if n, err := img.ReadAt(b, c.off); n < len(b) {
					return fmt.Errorf("read at %d: %w", c.off+int64(n), err)
				}
				sizes[k] = uint32(pack(b))
				if e.version == 3 { // version 2 keeps what grows
					sizes[k] = min(sizes[k], uint32(c.n))
				}
			}
			return nil
		}
	})
	return sizes, err
}

// newPacker returns libsnapshot's compressor of virtual_ab_compression_method, a
// name with or without a level: "gz", "lz4", "zstd,3".
func newPacker(param string) (packer, error) {
	name, text, given := strings.Cut(param, ",")
	level := map[string]int{"gz": zlib.BestCompression, "brotli": brotli.BestCompression, "zstd": 3}[name]
	if given {
		var err error
		if level, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("virtual A/B: compression %q: level %q is no number: %w", param, text, mios.ErrInvalid)
		}
	}
	switch name {
	case "none", "":
		return func(b []byte) int { return len(b) }, nil
	case "gz":
		return gzPacker(param, level)
	case "brotli":
		return brotliPacker(level), nil
	case "lz4":
		return lz4Packer(), nil
	case "zstd":
		return zstdPacker(level)
	}
	return nil, fmt.Errorf("virtual A/B: compression %q, want gz, lz4, zstd, brotli or none: %w", param, mios.ErrInvalid)
}

func gzPacker(param string, level int) (packer, error) {
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		return nil, fmt.Errorf("virtual A/B: compression %q: %v: %w", param, err, mios.ErrInvalid)
	}
	return func(b []byte) int {
		out.Reset()
		w.Reset(&out)
		w.Write(b) // a bytes.Buffer takes all
		w.Close()
		return out.Len()
	}, nil
}

func brotliPacker(level int) packer {
	var out bytes.Buffer
	w := brotli.NewWriterLevel(&out, level)
	return func(b []byte) int {
		out.Reset()
		w.Reset(&out)
		w.Write(b)
		w.Close()
		return out.Len()
	}
}

// lz4Packer makes what liblz4 does, to the byte.
func lz4Packer() packer {
	c := lz4.NewFast()
	var out []byte
	return func(b []byte) int {
		out = slices.Grow(out[:0], lz4.Bound(len(b)))
		n, _ := c.Fill(out[:lz4.Bound(len(b))], b)
		return min(n, len(b))
	}
}

func zstdPacker(level int) (packer, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(maxFactor), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, err
	}
	var out []byte
	return func(b []byte) int {
		out = e.EncodeAll(b, out[:0])
		return min(len(out), len(b))
	}, nil
}
