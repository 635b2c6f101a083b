package apk

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	endMagic    = "PK\x05\x06"
	end64Magic  = "PK\x06\x07" // of the locator of ZIP64's end record
	endSize     = 22
	maxComment  = 1<<16 - 1
	locatorSize = 20
)

// A Layout is where the parts of a package lie, in bytes from its start:
// entries, perhaps an APK signing block, the central directory, the end record.
type Layout struct {
	DirOff  int64  // central directory; an APK signing block ends here
	DirSize int64  // it ends where the end record begins
	EndOff  int64  // end of central directory record
	End     []byte // that record, to the end of the file
	Entries int    // that the central directory claims to have
}

// findEnds returns the place of the last end record in tail, and of the nearest
// one before it whose comment reaches to the end of the file; -1 where there is
// none. Others are data that look like one. It searches forwards, which is
// many times as fast as backwards.
func findEnds(tail []byte) (last, other int) {
	last, other = -1, -1
	for off := 0; ; {
		i := bytes.Index(tail[off:], []byte(endMagic))
		if i < 0 {
			return last, other
		}
		if last >= 0 && len(tail)-last >= endSize && int(binary.LittleEndian.Uint16(tail[last+20:])) == len(tail)-last-endSize {
			other = last
		}
		last = off + i
		off = last + len(endMagic)
	}
}

// FindLayout finds the parts of the package in the first size bytes of r. It
// refuses ZIP64, several disks, bytes between the parts and a comment in which
// another end record could be found: two readers would see two packages.
func FindLayout(r io.ReaderAt, size int64) (*Layout, error) {
	if size < endSize {
		return nil, bad(0, "%d bytes are too few for a ZIP file", size)
	}
	tail := make([]byte, min(size, locatorSize+endSize+maxComment))
	start := size - int64(len(tail))
	if _, err := r.ReadAt(tail, start); err != nil && err != io.EOF {
		return nil, err
	}
	i, j := findEnds(tail)
	if i < 0 {
		return nil, bad(start, "no end of central directory record: not a ZIP file, or cut short")
	}
	l := &Layout{EndOff: start + int64(i), End: tail[i:]}
	if len(l.End) < endSize {
		return nil, bad(l.EndOff, "end of central directory record: %d bytes left, want %d", len(l.End), endSize)
	}
	le := binary.LittleEndian
	if n := int(le.Uint16(l.End[20:])); n != len(l.End)-endSize {
		return nil, bad(l.EndOff+20, "comment of %d bytes, but %d follow", n, len(l.End)-endSize)
	}
	if j >= 0 {
		return nil, bad(start+int64(j), "another end of central directory record, whose comment holds the one at %#x", l.EndOff)
	}
	if i >= locatorSize && string(tail[i-locatorSize:][:4]) == end64Magic {
		return nil, bad(l.EndOff-locatorSize, "ZIP64, which packages do not use")
	}
	if le.Uint16(l.End[4:]) != 0 || le.Uint16(l.End[6:]) != 0 || le.Uint16(l.End[8:]) != le.Uint16(l.End[10:]) {
		return nil, bad(l.EndOff+4, "a ZIP file of several disks")
	}
	l.Entries = int(le.Uint16(l.End[10:]))
	l.DirSize = int64(le.Uint32(l.End[12:]))
	l.DirOff = int64(le.Uint32(l.End[16:]))
	if l.DirOff+l.DirSize != l.EndOff {
		return nil, bad(l.EndOff+12, "central directory at %#x of %d bytes does not end where its end record begins", l.DirOff, l.DirSize)
	}
	return l, nil
}
