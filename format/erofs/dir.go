package erofs

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"iter"

	"mios/format/fsimage"
	"mios/internal/readat"
)

const direntSize = 12

// direntTypes are what the numbers in entries mean.
var direntTypes = [...]fs.FileMode{
	fs.ModeIrregular, 0, fs.ModeDir, fs.ModeDevice | fs.ModeCharDevice, fs.ModeDevice,
	fs.ModeNamedPipe, fs.ModeSocket, fs.ModeSymlink,
}

// Entries implements [fsimage.Node]. Names must be in order: the kernel finds
// them by that.
func (n *inode) Entries() iter.Seq2[fsimage.Entry, error] {
	return func(yield func(fsimage.Entry, error) bool) {
		if !n.info.Mode.IsDir() {
			yield(fsimage.Entry{}, n.bad(n.off+4, "inode %d: not a folder", n.num()))
			return
		}
		d := dirReader{n: n, yield: yield}
		if err := d.run(); err != nil {
			yield(fsimage.Entry{}, err)
		}
	}
}

type dirReader struct {
	n     *inode
	yield func(fsimage.Entry, error) bool
	last  []byte
	dots  int
	block int64 // which one it is at, in the folder
}

// run yields all entries, or returns what is wrong.
func (d *dirReader) run() error {
	data := d.n.f.Data(d.n)
	buf := make([]byte, d.n.f.BlockSize)
	for off := int64(0); off < data.Size(); off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), data.Size()-off)]
		if err := readat.Full(data, b, off); err != nil {
			return err
		}
		d.block = off
		if goOn, err := d.entries(b); err != nil || !goOn {
			return err
		}
	}
	want := 2
	if !d.n.dotInside {
		want = 1
	}
	if d.dots != want {
		return d.bad("%d of the entries . and .., want %d", d.dots, want)
	}
	return nil
}

func (d *dirReader) bad(format string, args ...any) error {
	return d.n.bad(d.n.off, "inode %d: folder, byte %d: "+format, append([]any{d.n.num(), d.block}, args...)...)
}

// entries yields those of a block.
func (d *dirReader) entries(b []byte) (goOn bool, err error) {
	le := binary.LittleEndian
	if len(b) < direntSize {
		return false, d.bad("a block of %d bytes", len(b))
	}
	first := int(le.Uint16(b[8:]))
	if first < direntSize || first%direntSize != 0 || first > len(b) {
		return false, d.bad("names begin at %d", first)
	}
	for at := 0; at < first; at += direntSize {
		from, to := int(le.Uint16(b[at+8:])), len(b)
		if at+direntSize < first {
			to = int(le.Uint16(b[at+direntSize+8:]))
		}
		if from < first || from >= to || to > len(b) {
			return false, d.bad("entry %d: its name is from %d to %d", at/direntSize, from, to)
		}
		name := b[from:to]
		if at+direntSize == first { // the last is padded with zeros
			name, _, _ = bytes.Cut(name, []byte{0})
		}
		if goOn, err := d.entry(le.Uint64(b[at:]), name, int(b[at+10])); err != nil || !goOn {
			return false, err
		}
	}
	return true, nil
}

func (d *dirReader) entry(num uint64, name []byte, kind int) (goOn bool, err error) {
	if d.last != nil && bytes.Compare(d.last, name) >= 0 {
		return false, d.bad("entry %q stands behind %q", name, d.last)
	}
	d.last = append(d.last[:0], name...)
	if kind >= len(direntTypes) {
		return false, d.bad("entry %q: type %d", name, kind)
	}
	switch s := string(name); {
	case s == "." || s == "..":
		if t := direntTypes[kind]; t != fs.ModeDir {
			return false, d.bad("entry %q is no folder", name)
		}
		if s == "." && num != d.n.num() {
			return false, d.bad("entry . is inode %d", num)
		}
		d.dots++
		return true, nil
	case !fsimage.ValidName(s):
		return false, d.bad("an entry is named %q", name)
	default:
		return d.yield(fsimage.Entry{Name: s, Num: num, Type: direntTypes[kind]}, nil), nil
	}
}

// maxTarget is PATH_MAX.
const maxTarget = 4096

// Target implements [fsimage.Node].
func (n *inode) Target() (string, error) {
	switch {
	case n.info.Mode&fs.ModeSymlink == 0:
		return "", n.bad(n.off+4, "inode %d: not a symbolic link", n.num())
	case n.info.Size == 0 || n.info.Size > maxTarget:
		return "", n.bad(n.off+8, "inode %d: a symbolic link of %d bytes, want 1 to %d", n.num(), n.info.Size, maxTarget)
	}
	p := make([]byte, n.info.Size)
	if err := readat.Full(n.f.Data(n), p, 0); err != nil {
		return "", err
	}
	if bytes.IndexByte(p, 0) >= 0 {
		return "", n.bad(n.off, "inode %d: the target of the symbolic link has a zero byte", n.num())
	}
	return string(p), nil
}
