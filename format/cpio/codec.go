package cpio

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

const (
	magic       = "070701"
	headerSize  = 110
	trailerName = "TRAILER!!!"
	maxName     = 4096 // PATH_MAX of the kernel that unpacks it
	maxData     = 1<<32 - 1
)

// A FormatError says where an archive breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the archive's start
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("cpio: offset %#x: %s", e.Off, e.Msg) }

func bad(off int, format string, args ...any) error {
	return &FormatError{int64(off), fmt.Sprintf(format, args...)}
}

// Parse reads the archive that b holds, the entries' data pointing into b.
// Zero bytes after the trailer are allowed; another archive is not. Errors are
// [*FormatError].
func Parse(b []byte) (*Archive, error) {
	a := new(Archive)
	p := parser{b: b}
	for {
		start := p.off
		e, err := p.entry()
		if err != nil {
			return nil, err
		}
		if e.Name != trailerName {
			a.Entries = append(a.Entries, e)
			continue
		}
		if len(e.Data) > 0 {
			return nil, bad(start, "the trailer has %d bytes of data", len(e.Data))
		}
		a.trailer = e
		break
	}
	a.lower = p.sawLower
	a.pad = len(b) - p.off
	if i := bytes.IndexFunc(b[p.off:], func(r rune) bool { return r != 0 }); i >= 0 {
		return nil, bad(p.off+i, "data after the trailer")
	}
	return a, nil
}

type parser struct {
	b                  []byte
	off                int
	sawLower, sawUpper bool
}

func (p *parser) entry() (Entry, error) {
	start := p.off
	if len(p.b)-p.off < headerSize {
		return Entry{}, bad(p.off, "header: %d bytes left, want %d", len(p.b)-p.off, headerSize)
	}
	if string(p.b[p.off:p.off+6]) != magic {
		return Entry{}, bad(p.off, "magic is %q, want %q", p.b[p.off:p.off+6], magic)
	}
	var f [13]uint32
	for i := range f {
		v, err := p.hex(start + 6 + 8*i)
		if err != nil {
			return Entry{}, err
		}
		f[i] = v
	}
	e := Entry{Ino: f[0], Mode: f[1], UID: f[2], GID: f[3], Nlink: f[4], Mtime: f[5],
		DevMajor: f[7], DevMinor: f[8], RdevMajor: f[9], RdevMinor: f[10]}
	size, nameSize := int(f[6]), int(f[11])
	if f[12] != 0 {
		return Entry{}, bad(start+6+8*12, "checksum %#x in a format without one", f[12])
	}
	if nameSize < 1 || nameSize > maxName {
		return Entry{}, bad(start+6+8*11, "name of %d bytes, want 1 to %d", nameSize, maxName)
	}
	p.off += headerSize
	name, err := p.take(nameSize, "name")
	if err != nil {
		return Entry{}, err
	}
	if name[nameSize-1] != 0 || bytes.IndexByte(name, 0) != nameSize-1 {
		return Entry{}, bad(start+headerSize, "name %q is not one string that ends in a zero byte", name)
	}
	e.Name = string(name[:nameSize-1])
	if e.Data, err = p.take(size, "data"); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// take returns the next n bytes and skips the zero bytes up to a multiple of 4.
func (p *parser) take(n int, what string) ([]byte, error) {
	if n > len(p.b)-p.off {
		return nil, bad(p.off, "%s of %d bytes passes the end", what, n)
	}
	data := p.b[p.off : p.off+n : p.off+n]
	p.off += n
	for ; p.off%4 != 0; p.off++ {
		if p.off >= len(p.b) || p.b[p.off] != 0 {
			return nil, bad(p.off, "padding after %s is missing or not zero", what)
		}
	}
	return data, nil
}

func (p *parser) hex(off int) (uint32, error) {
	var v uint32
	for i, c := range p.b[off : off+8] {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			v, p.sawLower = v<<4|uint32(c-'a'+10), true
		case 'A' <= c && c <= 'F':
			v, p.sawUpper = v<<4|uint32(c-'A'+10), true
		default:
			return 0, bad(off+i, "%q is no hexadecimal digit", c)
		}
	}
	if p.sawLower && p.sawUpper {
		return 0, bad(off, "hexadecimal digits in both cases")
	}
	return v, nil
}

var zeros [4096]byte

// WriteTo writes the archive. It is the inverse of [Parse].
func (a *Archive) WriteTo(w io.Writer) (int64, error) {
	cw := &countWriter{w: w}
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Name == "" || len(e.Name) >= maxName || e.Name == trailerName || strings.IndexByte(e.Name, 0) >= 0 {
			return cw.n, fmt.Errorf("cpio: entry %d: name %q: it must have 1 to %d bytes, none of them zero", i, e.Name, maxName-1)
		}
		if len(e.Data) > maxData {
			return cw.n, fmt.Errorf("cpio: %s: %d bytes are more than the format can hold", e.Name, len(e.Data))
		}
		if err := a.write(cw, e, e.Name); err != nil {
			return cw.n, err
		}
	}
	if err := a.write(cw, &a.trailer, trailerName); err != nil {
		return cw.n, err
	}
	for left := a.pad; left > 0; left -= min(left, len(zeros)) {
		if _, err := cw.Write(zeros[:min(left, len(zeros))]); err != nil {
			return cw.n, err
		}
	}
	return cw.n, nil
}

func (a *Archive) write(w *countWriter, e *Entry, name string) error {
	format := "%08X"
	if a.lower {
		format = "%08x"
	}
	b := make([]byte, 0, headerSize+len(name)+4)
	b = append(b, magic...)
	for _, v := range [13]uint32{e.Ino, e.Mode, e.UID, e.GID, e.Nlink, e.Mtime, uint32(len(e.Data)),
		e.DevMajor, e.DevMinor, e.RdevMajor, e.RdevMinor, uint32(len(name) + 1), 0} {
		b = fmt.Appendf(b, format, v)
	}
	b = append(append(b, name...), 0)
	b = append(b, zeros[:-len(b)&3]...)
	if _, err := w.Write(b); err != nil {
		return err
	}
	if _, err := w.Write(e.Data); err != nil {
		return err
	}
	_, err := w.Write(zeros[:-len(e.Data)&3])
	return err
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
