// Package ramdisk unpacks the archive in a ramdisk of a boot image, changes it,
// and packs it as it was.
package ramdisk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/pierrec/lz4/v4"

	"mios/format/cpio"
)

// MaxSize is the most that a ramdisk may unpack to, in bytes.
const MaxSize = 1 << 30

// A Ramdisk is the archive in a ramdisk, and how it is packed.
type Ramdisk struct {
	Packed  string // gzip, lz4 or plain
	Entries []cpio.Entry
}

// Read unpacks a ramdisk: one packed with gzip or lz4, or a plain cpio archive,
// of at most [MaxSize] bytes.
func Read(b []byte) (*Ramdisk, error) {
	d := &Ramdisk{Packed: "plain"}
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		d.Packed = "gzip"
		r, err = gzip.NewReader(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte{0x02, 0x21, 0x4c, 0x18}), bytes.HasPrefix(b, []byte{0x04, 0x22, 0x4d, 0x18}):
		d.Packed = "lz4"
		r = lz4.NewReader(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("07070")):
		r = bytes.NewReader(b)
	default:
		return nil, fmt.Errorf("ramdisk that begins with %x: want one packed with gzip or lz4, or a plain cpio archive", b[:min(8, len(b))])
	}
	if err != nil {
		return nil, fmt.Errorf("ramdisk: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ramdisk: %w", err)
	case len(plain) > MaxSize:
		return nil, fmt.Errorf("ramdisk: over %d bytes when unpacked", MaxSize)
	}
	a, err := cpio.Parse(plain)
	if err != nil {
		return nil, fmt.Errorf("ramdisk: %w", err)
	}
	d.Entries = a.Entries
	return d, nil
}

// Pack returns the ramdisk, packed as it was.
func (d *Ramdisk) Pack() ([]byte, error) {
	var b bytes.Buffer
	var w io.WriteCloser
	a := &cpio.Archive{Entries: d.Entries}
	switch d.Packed {
	case "plain":
		_, err := a.WriteTo(&b)
		return b.Bytes(), err
	case "gzip":
		w = gzip.NewWriter(&b)
	default: // as the kernel takes it
		l := lz4.NewWriter(&b)
		if err := l.Apply(lz4.LegacyOption(true), lz4.CompressionLevelOption(lz4.Level9)); err != nil {
			return nil, err
		}
		w = l
	}
	_, err := a.WriteTo(w)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// Find returns the index of the entry of that name, or -1.
func (d *Ramdisk) Find(name string) int {
	return slices.IndexFunc(d.Entries, func(e cpio.Entry) bool { return e.Name == name })
}

// add appends an entry with a number of its own.
func (d *Ramdisk) add(e cpio.Entry) {
	e.Ino, e.Nlink = 1, 1
	for _, other := range d.Entries {
		e.Ino = max(e.Ino, other.Ino+1)
	}
	d.Entries = append(d.Entries, e)
}

// Put adds an entry, or replaces the one of its name, whose owner stays. Folders
// that are missing above it are made.
func (d *Ramdisk) Put(e cpio.Entry) error {
	if e.Name != path.Clean(e.Name) || path.IsAbs(e.Name) || e.Name == "." || e.Name == ".." || strings.HasPrefix(e.Name, "../") {
		return fmt.Errorf("%s: want a path inside the ramdisk, such as etc/file", e.Name)
	}
	for i, c := range e.Name {
		if c != '/' {
			continue
		}
		dir := e.Name[:i]
		switch at := d.Find(dir); {
		case at < 0:
			d.add(cpio.Dir(dir, 0o755))
		case d.Entries[at].Mode&cpio.TypeMask != cpio.TypeDir:
			return fmt.Errorf("%s: %s is no folder in the ramdisk", e.Name, dir)
		}
	}
	at := d.Find(e.Name)
	if at < 0 {
		d.add(e)
		return nil
	}
	if old := d.Entries[at]; old.Mode&cpio.TypeMask == cpio.TypeDir || old.Nlink > 1 && old.Mode&cpio.TypeMask == cpio.TypeRegular {
		return fmt.Errorf("%s: in the ramdisk it is a folder, or a file with several names", e.Name)
	}
	e.UID, e.GID, e.Ino, e.Nlink = d.Entries[at].UID, d.Entries[at].GID, d.Entries[at].Ino, 1
	d.Entries[at] = e
	return nil
}
