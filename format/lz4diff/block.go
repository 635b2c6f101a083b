package lz4diff

import (
	"context"
	"fmt"

	"mios"
	"mios/internal/lz4"
	"mios/internal/pieces"
)

// expand returns what the stored file holds. name is the side's, for errors.
func (l *Layout) expand(ctx context.Context, stored []byte, name string) ([]byte, error) {
	packed, expanded, err := l.sizes()
	if err == nil && packed != uint64(len(stored)) {
		err = fmt.Errorf("%d bytes in blocks, the file has %d: %w", packed, len(stored), mios.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("lz4diff: %s: %w", name, err)
	}
	out := make([]byte, expanded)
	at := l.storedAt()
	err = pieces.Items(ctx, len(l.Blocks), func() func(int) error {
		return func(i int) error {
			b := &l.Blocks[i]
			src, dst := stored[at[i]:at[i+1]], out[b.Offset:][:b.Length]
			if !b.compressed() {
				copy(dst, src)
				return nil
			}
			if l.ZeroPadding {
				src = src[zeros(src[:min(len(src), padding)]):]
			}
			if err := lz4.Unpack(dst, src); err != nil {
				return fmt.Errorf("lz4diff: %s: block %d: %w: %w", name, i, err, mios.ErrInvalid)
			}
			return nil
		}
	})
	return out, err
}

// zeros returns how many zeros b begins with.
func zeros(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return len(b)
}

// A packer compresses blocks of a file.
type packer struct {
	l        *Layout
	expanded []byte
	c        *lz4.Compressor
}

func newPacker(l *Layout, expanded []byte) (*packer, error) {
	p := &packer{l: l, expanded: expanded}
	for i := range l.Blocks {
		if l.Blocks[i].compressed() {
			var err error
			p.c, err = l.Algorithm.compressor()
			return p, err
		}
	}
	return p, nil
}

// pack returns block i as stored: as much of all that comes there as fits,
// since the last bytes of a block of liblz4's would be literals if it ended
// where it does; and padding.
func (p *packer) pack(i int) []byte {
	b := &p.l.Blocks[i]
	if !b.compressed() {
		return p.expanded[b.Offset:][:b.Length]
	}
	out := make([]byte, b.Compressed)
	n, _ := p.c.Fill(out, p.expanded[b.Offset:])
	if p.l.ZeroPadding && n < len(out) {
		copy(out[len(out)-n:], out[:n])
		clear(out[:len(out)-n])
	} else {
		clear(out[n:])
	}
	return out
}
