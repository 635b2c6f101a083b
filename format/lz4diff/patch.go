package lz4diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"mios"
	"mios/format/bsdiff"
	"mios/format/puffin"
	"mios/internal/pieces"
	"mios/internal/protowire"
	"mios/internal/readat"
)

// What a patch begins with: magic, version and the size of a message
// Lz4diffHeader, both high byte first, and a byte that is not used.
const (
	magic      = "LZ4DIFF"
	version    = 1
	headerSize = len(magic) + 4 + 4 + 1
)

// A Patch is a parsed patch.
type Patch struct {
	Old, New Layout
	Inner    InnerType

	fixes map[int]fix // of New's blocks
	patch applier
}

// fix is what a compressed block should hash to, if the patch says so, and what
// it needs to become as it was.
type fix struct{ sha256, patch []byte }

// applier is a patch of another format.
type applier interface {
	Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error
}

// Parse reads a patch, which is not to be changed afterwards.
func Parse(patch []byte) (*Patch, error) {
	if len(patch) < headerSize {
		return nil, &FormatError{0, fmt.Sprintf("header: %d bytes left, want %d", len(patch), headerSize)}
	}
	if string(patch[:len(magic)]) != magic {
		return nil, &FormatError{0, fmt.Sprintf("begins with %q, want %q", patch[:len(magic)], magic)}
	}
	if v := binary.BigEndian.Uint32(patch[len(magic):]); v != version {
		return nil, &FormatError{int64(len(magic)), fmt.Sprintf("version %d, want %d", v, version)}
	}
	n := binary.BigEndian.Uint32(patch[len(magic)+4:])
	left := patch[headerSize:]
	if uint64(n) > uint64(len(left)) {
		return nil, &FormatError{int64(len(magic) + 4), fmt.Sprintf("header of %d bytes, %d left", n, len(left))}
	}
	p := &Patch{fixes: map[int]fix{}}
	if err := p.header(left[:n]); err != nil {
		return nil, err
	}
	for _, side := range []struct {
		name string
		l    *Layout
	}{{"old file", &p.Old}, {"new file", &p.New}} {
		if _, _, err := side.l.sizes(); err != nil {
			return nil, &FormatError{int64(headerSize), fmt.Sprintf("%s: %v", side.name, err)}
		}
	}
	return p, p.parseInner(left[n:], int64(headerSize)+int64(n))
}

// parseInner parses the patch of the expanded files.
func (p *Patch) parseInner(b []byte, off int64) (err error) {
	r, size := bytes.NewReader(b), int64(len(b))
	switch p.Inner {
	case BSDiff:
		p.patch, err = bsdiff.Parse(r, size)
	case PuffDiff:
		p.patch, err = puffin.Parse(r, size)
	}
	if err != nil {
		return fmt.Errorf("lz4diff: patch at %#x: %w", off, err)
	}
	return nil
}

// fields calls f with each field of a message, and where its value begins.
func fields(b []byte, off int64, f func(f protowire.Field, off int64) error) error {
	for len(b) > 0 {
		field, err := protowire.Next(b)
		if err != nil {
			return &FormatError{off, fmt.Sprintf("header: %v", err)}
		}
		if err := f(field, off+int64(field.Value)); err != nil {
			return err
		}
		b, off = b[len(field.Raw):], off+int64(len(field.Raw))
	}
	return nil
}

// header reads a Lz4diffHeader.
func (p *Patch) header(b []byte) error {
	return fields(b, int64(headerSize), func(f protowire.Field, off int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Bytes:
			return p.Old.parse(f.B, off, nil)
		case f.Num == 2 && f.Type == protowire.Bytes:
			return p.New.parse(f.B, off, p.fixes)
		case f.Num == 3 && f.Type == protowire.Varint:
			if f.U > uint64(PuffDiff) {
				return &FormatError{off, fmt.Sprintf("inner patch of type %d", f.U)}
			}
			p.Inner = InnerType(f.U)
		}
		return nil
	})
}

// parse reads a CompressionInfo.
func (l *Layout) parse(b []byte, off int64, fixes map[int]fix) error {
	return fields(b, off, func(f protowire.Field, off int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Bytes:
			return l.Algorithm.parse(f.B, off)
		case f.Num == 2 && f.Type == protowire.Bytes:
			var block Block
			var x fix
			if err := block.parse(f.B, off, &x); err != nil {
				return err
			}
			if fixes != nil && (x.sha256 != nil || x.patch != nil) {
				fixes[len(l.Blocks)] = x
			}
			l.Blocks = append(l.Blocks, block)
		case f.Num == 3 && f.Type == protowire.Varint:
			l.ZeroPadding = f.U != 0
		}
		return nil
	})
}

// parse reads a CompressionAlgorithm.
func (a *Algorithm) parse(b []byte, off int64) error {
	return fields(b, off, func(f protowire.Field, off int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Varint:
			if f.U > uint64(LZ4HC) {
				return &FormatError{off, fmt.Sprintf("compression algorithm %d", f.U)}
			}
			a.Type = AlgorithmType(f.U)
		case f.Num == 2 && f.Type == protowire.Varint:
			a.Level = int32(f.U)
		}
		return nil
	})
}

// parse reads a CompressedBlockInfo.
func (b *Block) parse(m []byte, off int64, x *fix) error {
	return fields(m, off, func(f protowire.Field, off int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Varint:
			b.Offset = f.U
		case f.Num == 2 && f.Type == protowire.Varint:
			b.Length = f.U
		case f.Num == 3 && f.Type == protowire.Varint:
			b.Compressed = f.U
		case f.Num == 4 && f.Type == protowire.Bytes && len(f.B) > 0:
			if x.sha256 = f.B; len(f.B) != sha256.Size {
				return &FormatError{off, fmt.Sprintf("SHA-256 of %d bytes", len(f.B))}
			}
		case f.Num == 5 && f.Type == protowire.Bytes && len(f.B) > 0:
			x.patch = f.B
		}
		return nil
	})
}

// appendHeader appends what comes before the inner patch.
func (p *Patch) appendHeader(b []byte) []byte {
	var h []byte
	for i, l := range []*Layout{&p.Old, &p.New} {
		m := protowire.AppendBytes(nil, 1, protowire.AppendUints(nil, uint64(l.Algorithm.Type), uint64(int64(l.Algorithm.Level))))
		for k, block := range l.Blocks {
			f := protowire.AppendUints(nil, block.Offset, block.Length, block.Compressed)
			if i == 1 {
				for n, v := range [][]byte{p.fixes[k].sha256, p.fixes[k].patch} {
					if len(v) > 0 {
						f = protowire.AppendBytes(f, protowire.Number(4+n), v)
					}
				}
			}
			m = protowire.AppendBytes(m, 2, f)
		}
		if l.ZeroPadding {
			m = protowire.AppendUint(m, 3, 1)
		}
		h = protowire.AppendBytes(h, protowire.Number(1+i), m)
	}
	if p.Inner != 0 {
		h = protowire.AppendUint(h, 3, uint64(p.Inner))
	}
	b = binary.BigEndian.AppendUint32(append(b, magic...), version)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(h))), 0)
	return append(b, h...)
}

// limited is bytes that are written, at most so many.
type limited struct {
	b    []byte
	most uint64
}

func (l *limited) Write(b []byte) (int, error) {
	if uint64(len(b)) > l.most-uint64(len(l.b)) {
		return 0, fmt.Errorf("lz4diff: the patch makes more than %d bytes: %w", l.most, mios.ErrInvalid)
	}
	l.b = append(l.b, b...)
	return len(b), nil
}

// Apply writes to w what the patch makes of the oldSize bytes of old. It takes
// memory for both expanded files, for the new one up to twice as much as it has, and
// for the stored old one: each has at most 256 MiB, all together less than 1 GiB.
// Blocks are compressed on all processors. A block that liblz4 of the patch's
// maker compressed otherwise is refused by its number if the patch has its
// hash; a caller that knows what the new bytes hash to must compare.
func (p *Patch) Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error {
	stored, expanded, err := p.New.sizes()
	if err != nil {
		return err
	}
	if have, _, err := p.Old.sizes(); err != nil || have != uint64(oldSize) {
		return &FormatError{int64(headerSize), fmt.Sprintf("patch is for an old file of %d bytes, this one has %d", have, oldSize)}
	}
	b := make([]byte, oldSize)
	if err := readat.Full(old, b, 0); err != nil {
		return fmt.Errorf("lz4diff: old file: %w", err)
	}
	if b, err = p.Old.expand(ctx, b, "old file"); err != nil {
		return err
	}
	out := limited{most: expanded}
	if err := p.patch.Apply(ctx, &out, bytes.NewReader(b), int64(len(b))); err != nil {
		return err
	}
	if uint64(len(out.b)) != expanded {
		return fmt.Errorf("lz4diff: the patch makes %d bytes, the new file has %d: %w", len(out.b), expanded, mios.ErrInvalid)
	}
	return p.compress(ctx, w, out.b, stored)
}

// compress writes the new file's blocks.
func (p *Patch) compress(ctx context.Context, w io.Writer, expanded []byte, stored uint64) error {
	const each = 16 // blocks on a processor, until all wait for the write
	batch := make([][]byte, min(len(p.New.Blocks), each*runtime.GOMAXPROCS(0)))
	for from := 0; from < len(p.New.Blocks); from += len(batch) {
		n := min(len(batch), len(p.New.Blocks)-from)
		err := pieces.Items(ctx, n, func() func(int) error {
			k, err := newPacker(&p.New, expanded)
			return func(i int) error {
				if err == nil {
					batch[i], err = p.fix(ctx, from+i, k.pack(from+i))
				}
				return err
			}
		})
		if err != nil {
			return err
		}
		for _, b := range batch[:n] {
			if _, err := w.Write(b); err != nil {
				return fmt.Errorf("lz4diff: write: %w", err)
			}
		}
	}
	return nil
}

// fix checks a block and makes it as it was.
func (p *Patch) fix(ctx context.Context, i int, b []byte) ([]byte, error) {
	x, ok := p.fixes[i]
	if !ok {
		return b, nil
	}
	if sum := sha256.Sum256(b); x.sha256 != nil && !bytes.Equal(sum[:], x.sha256) {
		return nil, fmt.Errorf("lz4diff: new file: block %d: SHA-256 when compressed is %x, want %x: the patch was made with a liblz4 that compresses otherwise: %w",
			i, sum, x.sha256, mios.ErrInvalid)
	}
	if x.patch == nil {
		return b, nil
	}
	patch, err := bsdiff.Parse(bytes.NewReader(x.patch), int64(len(x.patch)))
	if err == nil && patch.NewSize != int64(p.New.Blocks[i].Compressed) {
		err = fmt.Errorf("its patch makes %d bytes, want %d: %w", patch.NewSize, p.New.Blocks[i].Compressed, mios.ErrInvalid)
	}
	var out bytes.Buffer
	if err == nil {
		err = patch.Apply(ctx, &out, bytes.NewReader(b), int64(len(b)))
	}
	if err != nil {
		return nil, fmt.Errorf("lz4diff: new file: block %d: %w", i, err)
	}
	return out.Bytes(), nil
}
