package bootimg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	bootMagic   = "ANDROID!"
	vendorMagic = "VNDRBOOT"
	maxPage     = 64 << 10
	maxImage    = 1 << 31 // all that the parts of an image may take, in bytes
)

// The layouts on disk, little-endian, without the magic. They are the one
// place that knows them: parsing and writing go through encoding/binary.

// legacyHeader is boot_img_hdr_v0.
type legacyHeader struct {
	KernelSize, KernelAddr   uint32
	RamdiskSize, RamdiskAddr uint32
	SecondSize, SecondAddr   uint32
	TagsAddr                 uint32
	PageSize                 uint32
	Version                  uint32
	OSVersion                uint32
	Name                     [16]byte
	Cmdline                  [512]byte
	ID                       [32]byte
	ExtraCmdline             [1024]byte
}

// v1Fields is what version 1 adds to it, v2Fields what version 2 adds.
type v1Fields struct {
	DTBOSize   uint32
	DTBOOffset uint64
	HeaderSize uint32
}

type v2Fields struct {
	DTBSize uint32
	DTBAddr uint64
}

// v3Header is boot_img_hdr_v3. Version 4 adds the signature's size.
type v3Header struct {
	KernelSize, RamdiskSize uint32
	OSVersion               uint32
	HeaderSize              uint32
	Reserved                [4]uint32
	Version                 uint32
	Cmdline                 [1536]byte
}

// vendorHeader is vendor_boot_img_hdr_v3.
type vendorHeader struct {
	Version                 uint32
	PageSize                uint32
	KernelAddr, RamdiskAddr uint32
	RamdiskSize             uint32
	Cmdline                 [2048]byte
	TagsAddr                uint32
	Name                    [16]byte
	HeaderSize              uint32
	DTBSize                 uint32
	DTBAddr                 uint64
}

// vendorV4Fields is what version 4 adds to it.
type vendorV4Fields struct {
	TableSize, TableEntries, EntrySize uint32
	BootconfigSize                     uint32
}

// tableEntry is vendor_ramdisk_table_entry_v4.
type tableEntry struct {
	Size, Offset uint32
	Type         RamdiskType
	Name         [32]byte
	BoardID      [16]uint32
}

// Sizes of the headers with their magic, and where the version stands.
const (
	v0Size, v1Size, v2Size = 1632, 1648, 1660
	v3Size, v4Size         = 1580, 1584
	oldV3Size              = 1596
	vendor3Size            = 2112
	vendor4Size            = 2128
	entrySize              = 108
	versionOff             = 40 // in every boot header
)

// reader takes an image apart from its start.
type reader struct {
	b   []byte
	off int
}

// decode reads the next field group into v, a pointer to one of the layouts.
func (r *reader) decode(what string, v any) error {
	n := binary.Size(v)
	if n > len(r.b)-r.off {
		return bad(r.off, "%s: %d bytes left, want %d", what, len(r.b)-r.off, n)
	}
	if _, err := binary.Decode(r.b[r.off:], binary.LittleEndian, v); err != nil {
		return bad(r.off, "%s: %v", what, err)
	}
	r.off += n
	return nil
}

// section takes the next n bytes, and the zero bytes that fill its last page.
func (r *reader) section(what string, n, page uint32) ([]byte, error) {
	if uint64(n) > uint64(len(r.b)-r.off) {
		return nil, bad(r.off, "%s of %d bytes passes the end", what, n)
	}
	if n == 0 {
		return nil, nil
	}
	s := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return s, r.align(what, page)
}

// align skips zero bytes up to the next page.
func (r *reader) align(what string, page uint32) error {
	for ; r.off%int(page) != 0; r.off++ {
		if r.off >= len(r.b) || r.b[r.off] != 0 {
			return bad(r.off, "padding after %s is missing or not zero", what)
		}
	}
	return nil
}

// str returns the string in a field of fixed size at offset off.
func str(field []byte, off int, what string) (string, error) {
	s, rest, _ := bytes.Cut(field, []byte{0})
	if len(bytes.Trim(rest, "\x00")) > 0 {
		return "", bad(off, "%s has bytes after its end", what)
	}
	return string(s), nil
}

// setStr puts s into a field; room is what it may take of it.
func setStr(field []byte, s, what string, room int) error {
	if len(s) > room || bytes.IndexByte([]byte(s), 0) >= 0 {
		return fmt.Errorf("bootimg: %s of %d bytes: it must have at most %d, none of them zero", what, len(s), room)
	}
	copy(field, s)
	return nil
}

// pages returns n rounded up to whole pages.
func pages(n int, page uint32) int64 {
	return (int64(n) + int64(page) - 1) / int64(page) * int64(page)
}

func checkPage(page uint32, off int) error {
	if page < 2048 || page > maxPage || page&(page-1) != 0 {
		return bad(off, "page of %d bytes, want a power of two from 2048 to %d", page, maxPage)
	}
	return nil
}

// writeSections writes each section, filled up to whole pages with zeros.
func writeSections(w io.Writer, page uint32, sections ...[]byte) (total int64, err error) {
	zeros := make([]byte, page)
	for _, s := range sections {
		n, err := w.Write(s)
		total += int64(n)
		if err != nil {
			return total, err
		}
		n, err = w.Write(zeros[:pages(len(s), page)-int64(len(s))])
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// parseOS and bits convert the os_version field.
func parseOS(v uint32, off int) (OSVersion, error) {
	if v == 0 {
		return OSVersion{}, nil
	}
	ver, level := v>>11, v&0x7ff
	os := OSVersion{Major: uint8(ver >> 14 & 127), Minor: uint8(ver >> 7 & 127), Patch: uint8(ver & 127)}
	if level != 0 {
		os.Year, os.Month = 2000+int(level>>4), int(level&15)
	}
	if back, err := os.bits(); err != nil || back != v {
		return OSVersion{}, bad(off, "OS version %#x: the patch level is no month", v)
	}
	return os, nil
}

func (o OSVersion) bits() (uint32, error) {
	if o.Major > 127 || o.Minor > 127 || o.Patch > 127 {
		return 0, fmt.Errorf("bootimg: OS version %d.%d.%d: each number must be at most 127", o.Major, o.Minor, o.Patch)
	}
	v := uint32(o.Major)<<25 | uint32(o.Minor)<<18 | uint32(o.Patch)<<11
	if o.Year == 0 && o.Month == 0 {
		return v, nil
	}
	if o.Year < 2000 || o.Year > 2127 || o.Month < 1 || o.Month > 12 {
		return 0, fmt.Errorf("bootimg: patch level %d-%02d: want 2000-01 to 2127-12", o.Year, o.Month)
	}
	return v | uint32(o.Year-2000)<<4 | uint32(o.Month), nil
}

// String returns the version and the patch level as unpack_bootimg prints
// them, such as "11.0.0 2021-01".
func (o OSVersion) String() string {
	return fmt.Sprintf("%d.%d.%d %d-%02d", o.Major, o.Minor, o.Patch, o.Year, o.Month)
}
