package puffin

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"mios/format/bsdiff"
	"mios/internal/protowire"
	"mios/internal/readat"
)

// What a patch begins with: magic and, high byte first, the size of a header,
// a message PatchHeader of puffin.proto.
const (
	magic       = "PUF1"
	patchHeader = 8
	version     = 1
)

// A PatchType says what compares the puffed files.
type PatchType uint8

// The types, as the header has them.
const (
	BSDiff   PatchType = 0
	Zucchini PatchType = 1 // is refused
)

// A Patch is a parsed patch.
type Patch struct {
	Type     PatchType
	Old, New Stream

	inner *bsdiff.Patch
}

// Parse reads the header of the patch in the first size bytes of r. It takes
// about eight times the header's size: that has some bytes for each deflate
// block.
func Parse(r io.ReaderAt, size int64) (*Patch, error) {
	var h [patchHeader]byte
	if size < patchHeader {
		return nil, &FormatError{0, fmt.Sprintf("header: %d bytes left, want %d", size, patchHeader)}
	}
	if err := readat.Full(r, h[:], 0); err != nil {
		return nil, fmt.Errorf("puffin: header: %w", err)
	}
	if string(h[:4]) != magic {
		return nil, &FormatError{0, fmt.Sprintf("begins with %q, want %q", h[:4], magic)}
	}
	n := int64(binary.BigEndian.Uint32(h[4:]))
	if n > size-patchHeader {
		return nil, &FormatError{4, fmt.Sprintf("header of %d bytes, %d left", n, size-patchHeader)}
	}
	b := make([]byte, n)
	if err := readat.Full(r, b, patchHeader); err != nil {
		return nil, fmt.Errorf("puffin: header: %w", err)
	}
	p := new(Patch)
	if err := p.header(b); err != nil {
		return nil, err
	}
	at := patchHeader + n
	inner, err := bsdiff.Parse(io.NewSectionReader(r, at, size-at), size-at)
	if err != nil {
		return nil, fmt.Errorf("puffin: patch at %#x: %w", at, err)
	}
	if uint64(inner.NewSize) != p.New.Size {
		return nil, &FormatError{at, fmt.Sprintf("patch makes %d bytes, the puffed file has %d", inner.NewSize, p.New.Size)}
	}
	p.inner = inner
	return p, nil
}

// header reads a PatchHeader.
func (p *Patch) header(b []byte) error {
	err := fields(b, patchHeader, func(f protowire.Field, off int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Varint:
			if f.U != version {
				return &FormatError{off, fmt.Sprintf("version %d, want %d", f.U, version)}
			}
		case f.Num == 2 && f.Type == protowire.Bytes:
			return p.Old.parse(f.B, off+int64(f.Value))
		case f.Num == 3 && f.Type == protowire.Bytes:
			return p.New.parse(f.B, off+int64(f.Value))
		case f.Num == 4 && f.Type == protowire.Varint:
			switch f.U {
			case uint64(BSDiff):
			case uint64(Zucchini):
				return &FormatError{off, "the patch is of type ZUCCHINI, which is not built: make it with bsdiff"}
			default:
				return &FormatError{off, fmt.Sprintf("patch of type %d", f.U)}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.Old.check("old file"); err != nil {
		return err
	}
	return p.New.check("new file")
}

// fields calls f with each field of a message and where it begins.
func fields(b []byte, off int64, f func(f protowire.Field, off int64) error) error {
	for len(b) > 0 {
		field, err := protowire.Next(b)
		if err != nil {
			return &FormatError{off, fmt.Sprintf("header: %v", err)}
		}
		if err := f(field, off); err != nil {
			return err
		}
		b, off = b[len(field.Raw):], off+int64(len(field.Raw))
	}
	return nil
}

// parse reads a StreamInfo.
func (s *Stream) parse(b []byte, off int64) error {
	return fields(b, off, func(f protowire.Field, off int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Bytes:
			return appendExtent(&s.Deflates, f.B, off+int64(f.Value))
		case f.Num == 2 && f.Type == protowire.Bytes:
			return appendExtent(&s.Puffs, f.B, off+int64(f.Value))
		case f.Num == 3 && f.Type == protowire.Varint:
			s.Size = f.U
		}
		return nil
	})
}

// appendExtent reads a BitExtent.
func appendExtent(list *[]BitExtent, b []byte, off int64) error {
	var x BitExtent
	err := fields(b, off, func(f protowire.Field, _ int64) error {
		switch {
		case f.Num == 1 && f.Type == protowire.Varint:
			x.Offset = f.U
		case f.Num == 2 && f.Type == protowire.Varint:
			x.Length = f.U
		}
		return nil
	})
	*list = append(*list, x)
	return err
}

// appendHeader appends what comes before the inner patch.
func appendHeader(b []byte, old, new *Stream) []byte {
	h := protowire.AppendUint(nil, 1, version)
	for i, s := range []*Stream{old, new} {
		var m []byte
		for k, list := range [][]BitExtent{s.Deflates, s.Puffs} {
			for _, x := range list {
				m = protowire.AppendBytes(m, protowire.Number(1+k), protowire.AppendUints(nil, x.Offset, x.Length))
			}
		}
		m = append(m, protowire.AppendUints(nil, 0, 0, s.Size)...)
		h = protowire.AppendBytes(h, protowire.Number(2+i), m)
	}
	b = binary.BigEndian.AppendUint32(append(b, magic...), uint32(len(h)))
	return append(b, h...)
}

// Apply writes to w what the patch makes of the oldSize bytes of old. It keeps
// 8 MiB of puffed blocks of old, or one that is larger, one of the new file,
// and what [bsdiff.Patch.Apply] takes; a block of more than 128 MiB is refused
// by [Parse]. A caller that knows what the new bytes hash to must compare: a
// patch has no checksum.
func (p *Patch) Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64) error {
	if n := p.Old.fileSize(); n > oldSize {
		return &FormatError{patchHeader, fmt.Sprintf("patch is for an old file of %d bytes, this one has %d", n, oldSize)}
	}
	to := newWriter(w, &p.New)
	if err := p.inner.Apply(ctx, to, newReader(old, &p.Old), int64(p.Old.Size)); err != nil {
		return err
	}
	return to.close()
}
