package ext4

import (
	"encoding/base64"
	"encoding/binary"
	"io/fs"
	"iter"

	"mios/format/fsimage"
	"mios/internal/readat"
)

const (
	direntHeader = 8
	tailSize     = 12
	tailType     = 0xde
)

// direntTypes are what the numbers in entries mean.
var direntTypes = [...]fs.FileMode{
	fs.ModeIrregular, 0, fs.ModeDir, fs.ModeDevice | fs.ModeCharDevice, fs.ModeDevice,
	fs.ModeNamedPipe, fs.ModeSocket, fs.ModeSymlink,
}

// Entries implements [fsimage.Node]. Encrypted names are given in base64.
func (n *inode) Entries() iter.Seq2[fsimage.Entry, error] {
	return func(yield func(fsimage.Entry, error) bool) {
		d := dirReader{n: n, yield: yield}
		err := n.checkDir()
		switch {
		case err != nil:
		case n.flags&flagInline != 0:
			err = d.inline()
		default:
			err = d.blocks()
		}
		if err != nil {
			yield(fsimage.Entry{}, err)
		}
	}
}

func (n *inode) checkDir() error {
	switch bs := n.f.BlockSize; {
	case !n.info.Mode.IsDir():
		return n.bad(0, "not a folder")
	case n.flags&flagInline == 0 && (n.info.Size == 0 || n.info.Size%bs != 0 || n.info.Size/bs > n.f.Blocks):
		return n.bad(4, "a folder of %d bytes, want a number of blocks of %d", n.info.Size, bs)
	case n.flags&flagInline != 0 && n.info.Size > bs:
		return n.bad(4, "a folder of %d bytes in the inode", n.info.Size)
	}
	return nil
}

type dirReader struct {
	n     *inode
	yield func(fsimage.Entry, error) bool
	dots  int
	at    int64 // in the folder
}

func (d *dirReader) bad(off int, format string, args ...any) error {
	return d.n.bad(mapOff, "folder, byte %d: "+format, append([]any{d.at + int64(off)}, args...)...)
}

// inline yields the entries of a folder in its inode: the number of the folder
// above, entries, and more of them among the attributes.
func (d *dirReader) inline() error {
	b := make([]byte, d.n.info.Size)
	if err := readat.Full(d.n.f.Data(d.n), b, 0); err != nil {
		return err
	}
	if len(b) < 4 {
		return d.bad(0, "%d bytes, want 4 at least", len(b))
	}
	cut := min(len(b), mapSize)
	goOn, err := d.entries(b[4:cut])
	if err != nil || !goOn {
		return err
	}
	d.at = int64(cut)
	_, err = d.entries(b[cut:])
	return err
}

// blocks yields the entries of all blocks. Those with indexes look as if they
// had none.
func (d *dirReader) blocks() error {
	data, bs := d.n.f.Data(d.n), d.n.f.BlockSize
	b := make([]byte, bs)
	for d.at = 0; d.at < data.Size(); d.at += bs {
		if err := readat.Full(data, b, d.at); err != nil {
			return err
		}
		if err := d.checksum(b); err != nil {
			return err
		}
		if goOn, err := d.entries(b); err != nil || !goOn {
			return err
		}
		if d.at == 0 && d.dots != 2 {
			return d.bad(0, "%d of the entries . and .., want 2", d.dots)
		}
	}
	return nil
}

// checksum compares that of a block: of entries it is in an entry at the end, of
// indexes behind them.
func (d *dirReader) checksum(b []byte) error {
	le := binary.LittleEndian
	if !d.n.f.hasSums() {
		return nil
	}
	if d.n.flags&flagIndex != 0 {
		switch {
		case d.at == 0:
			return d.indexSum(b, 24+int(b[29])) // . and .., and what begins an index
		case le.Uint32(b) == 0 && recordLen(le.Uint16(b[4:]), len(b)) == len(b):
			return d.indexSum(b, 8)
		}
	}
	tail := b[len(b)-tailSize:]
	if le.Uint32(tail) != 0 || le.Uint16(tail[4:]) != tailSize || tail[6] != 0 || tail[7] != tailType {
		return d.bad(len(b)-tailSize, "no checksum")
	}
	if sum, want := crc(d.n.seed, b[:len(b)-tailSize]), le.Uint32(tail[8:]); sum != want {
		return d.bad(len(b)-4, "its CRC-32C is %#x, want %#x", sum, want)
	}
	return nil
}

// indexSum compares the checksum of an index whose entries begin at from.
func (d *dirReader) indexSum(b []byte, from int) error {
	if from+8 > len(b) {
		return d.bad(29, "an index begins at %d", from)
	}
	le := binary.LittleEndian
	room, count := int(le.Uint16(b[from:])), int(le.Uint16(b[from+2:]))
	tail := from + 8*room
	if count > room || tail+8 > len(b) {
		return d.bad(from, "an index of %d entries of %d", count, room)
	}
	sum := crc(crc(crc(d.n.seed, b[:from+8*count]), b[tail:tail+4]), make([]byte, 4))
	if want := le.Uint32(b[tail+4:]); sum != want {
		return d.bad(tail+4, "CRC-32C of its index is %#x, want %#x", sum, want)
	}
	return nil
}

// recordLen is the length of an entry: blocks of 64 KiB have no number for all.
func recordLen(n uint16, block int) int {
	switch {
	case block < 1<<16:
		return int(n)
	case n == 1<<16-1 || n == 0:
		return 1 << 16
	}
	return int(n)&^3 | int(n)&3<<16
}

// entries yields those in b.
func (d *dirReader) entries(b []byte) (goOn bool, err error) {
	le := binary.LittleEndian
	for at := 0; at < len(b); {
		if len(b)-at < direntHeader {
			return false, d.bad(at, "%d bytes left", len(b)-at)
		}
		size := recordLen(le.Uint16(b[at+4:]), len(b))
		nameLen, kind := int(b[at+6]), int(b[at+7])
		if d.n.f.Incompat&incompatFileType == 0 {
			nameLen, kind = int(le.Uint16(b[at+6:])), 0
		}
		num := le.Uint32(b[at:])
		if num == 0 { // not in use
			nameLen = 0
		}
		if size < direntHeader || size%4 != 0 || size > len(b)-at || direntHeader+nameLen > size {
			return false, d.bad(at, "an entry of %d bytes with a name of %d, %d left", size, nameLen, len(b)-at)
		}
		if num != 0 {
			if goOn, err := d.entry(uint64(num), b[at+direntHeader:][:nameLen], kind, at); err != nil || !goOn {
				return false, err
			}
		}
		at += size
	}
	return true, nil
}

func (d *dirReader) entry(num uint64, name []byte, kind, at int) (goOn bool, err error) {
	s := string(name)
	if kind >= len(direntTypes) {
		return false, d.bad(at, "entry %q is of type %d", s, kind)
	}
	if s == "." || s == ".." {
		if d.n.flags&flagInline != 0 || d.at > 0 || d.dots > 1 || s == "." && num != d.n.info.Num {
			return false, d.bad(at, "entry %s is inode %d", s, num)
		}
		d.dots++
		return true, nil
	}
	if d.n.info.Encrypted {
		s = base64.RawURLEncoding.EncodeToString(name)
		s = s[:min(len(s), 255)]
	}
	if !fsimage.ValidName(s) {
		return false, d.bad(at, "an entry is named %q", s)
	}
	return d.yield(fsimage.Entry{Name: s, Num: num, Type: direntTypes[kind]}, nil), nil
}
