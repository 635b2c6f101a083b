package apkdelta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	xzreader "github.com/therootcompany/xz"

	"mios/internal/xz"
)

// maxPart is how many bytes a part of a delta has at most once it is unpacked:
// what is added and inserted at once, or a plan. It is the window, too.
const maxPart = 8 << 20

// maxPacked is how many bytes a part of n bytes takes at most: what does not
// compress is stored, with three bytes for each 64 KiB.
func maxPacked(n int64) int64 { return n + n>>12 + 1024 }

// A packer writes parts: their sizes, before and after, and they as xz streams.
type packer struct {
	w  io.Writer
	xz xz.Encoder
}

func (p *packer) write(parts ...[]byte) error {
	head := make([]byte, 8*len(parts), 8*len(parts)+1024)
	b := head
	for i, part := range parts {
		n := len(b)
		if len(part) > 0 {
			b = p.xz.Encode(b, part)
		}
		binary.LittleEndian.PutUint32(b[8*i:], uint32(len(part)))
		binary.LittleEndian.PutUint32(b[8*i+4:], uint32(len(b)-n))
	}
	_, err := p.w.Write(b)
	return err
}

// An unpacker reads what a packer wrote.
type unpacker struct {
	r      io.Reader
	off    int64 // of the delta
	packed bytes.Buffer
}

// read fills b.
func (u *unpacker) read(b []byte, what string) error {
	n, err := io.ReadFull(u.r, b)
	u.off += int64(n)
	return u.ended(err, what)
}

func (u *unpacker) ended(err error, what string) error {
	switch err {
	case nil:
		return nil
	case io.EOF, io.ErrUnexpectedEOF:
		return &FormatError{u.off, what + ": the delta ends here"}
	}
	return fmt.Errorf("apkdelta: delta at %#x: %s: %w", u.off, what, err)
}

// parts reads as many parts as there are pointers. Each grows the slice that is
// there.
func (u *unpacker) parts(what string, parts ...*[]byte) error {
	head := make([]byte, 8*len(parts))
	at := u.off
	if err := u.read(head, what); err != nil {
		return err
	}
	total := int64(0)
	for i := range parts {
		size, packed := int64(binary.LittleEndian.Uint32(head[8*i:])), int64(binary.LittleEndian.Uint32(head[8*i+4:]))
		if total += size; total > maxPart || packed > maxPacked(size) || size == 0 != (packed == 0) {
			return &FormatError{at + int64(8*i), fmt.Sprintf("%s: %d bytes as %d, at most %d together", what, size, packed, maxPart)}
		}
	}
	for i, p := range parts {
		size, packed := int64(binary.LittleEndian.Uint32(head[8*i:])), int64(binary.LittleEndian.Uint32(head[8*i+4:]))
		if err := u.part(what, p, size, packed); err != nil {
			return err
		}
	}
	return nil
}

// part reads one part.
func (u *unpacker) part(what string, p *[]byte, size, packed int64) error {
	*p = (*p)[:0]
	if size == 0 {
		return nil
	}
	u.packed.Reset()
	n, err := io.CopyN(&u.packed, u.r, packed)
	start := u.off
	u.off += n
	if err := u.ended(err, what); err != nil {
		return err
	}
	r, err := xzreader.NewReader(&u.packed, maxPart)
	if err != nil {
		return &FormatError{start, fmt.Sprintf("%s: %v", what, err)}
	}
	out := bytes.NewBuffer(*p)
	m, err := io.Copy(out, io.LimitReader(r, size+1))
	*p = out.Bytes()
	switch {
	case err != nil:
		return &FormatError{start, fmt.Sprintf("%s: %v", what, err)}
	case m != size:
		return &FormatError{start, fmt.Sprintf("%s: unpacks to another size than %d bytes", what, size)}
	case u.packed.Len() > 0:
		return &FormatError{start, fmt.Sprintf("%s: %d bytes behind the packed ones", what, u.packed.Len())}
	}
	return nil
}
