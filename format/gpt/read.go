package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

const (
	signature  = "EFI PART"
	revision   = 0x00010000
	headerSize = 92
	entrySize  = 128
	nameUnits  = 36
	maxEntries = 1024
	minDisk    = 6 // sectors: MBR, two headers, two of entries, one to use
)

// header is a header as it stands on the disk, up to its size.
type header struct {
	Signature     [8]byte
	Revision      uint32
	Size          uint32
	CRC           uint32
	Reserved      uint32
	My, Alternate uint64 // sectors
	First, Last   uint64
	Disk          GUID
	EntriesLBA    uint64
	EntryCount    uint32
	EntrySize     uint32
	EntriesCRC    uint32
}

// entry is a partition as it stands on the disk.
type entry struct {
	Type, ID    GUID
	First, Last uint64
	Attributes  uint64
	Name        [nameUnits]uint16
}

func bad(off int64, format string, args ...any) error {
	return &FormatError{off, fmt.Sprintf(format, args...)}
}

// Read reads the table of the disk that r holds in its first size bytes. The
// table comes from the primary copy, or from the backup if that is broken;
// Copies says which part is. If neither is whole, the error joins what is wrong
// with both; errors in the format are [*FormatError].
func Read(r io.ReaderAt, size int64) (*Table, Copies, error) {
	sectors := uint64(size / SectorSize)
	if size%SectorSize != 0 || sectors < minDisk {
		return nil, Copies{}, bad(0, "a disk of %d bytes: want a multiple of %d, at least %d", size, SectorSize, minDisk*SectorSize)
	}
	var c Copies
	p, err := readCopy(r, sectors, 1)
	c.Primary = err
	b, err := readCopy(r, sectors, sectors-1)
	c.Backup = err
	var mbr [SectorSize]byte
	if _, err := r.ReadAt(mbr[:], 0); err != nil {
		return nil, c, fmt.Errorf("gpt: read MBR: %w", err)
	}
	c.MBR = checkMBR(mbr, sectors)

	t := p
	switch {
	case p == nil && b == nil:
		return nil, c, errors.Join(c.Primary, c.Backup)
	case p == nil:
		t = b
	case b != nil:
		if err := same(p, b); err != nil {
			c.Backup = err
			break
		}
		t.BackupLBA = b.BackupLBA
	}
	t.MBR = mbr
	return t, c, nil
}

// readCopy reads the copy whose header is in sector my: 1, or the last one.
func readCopy(r io.ReaderAt, sectors, my uint64) (*Table, error) {
	off := int64(my) * SectorSize
	sec := make([]byte, SectorSize)
	if _, err := r.ReadAt(sec, off); err != nil {
		return nil, fmt.Errorf("gpt: read header in sector %d: %w", my, err)
	}
	h, err := parseHeader(sec, off)
	if err != nil {
		return nil, err
	}
	if err := h.check(sectors, my); err != nil {
		return nil, err
	}
	table := make([]byte, h.EntryCount*entrySize)
	at := int64(h.EntriesLBA) * SectorSize
	if _, err := r.ReadAt(table, at); err != nil {
		return nil, fmt.Errorf("gpt: read entries in sector %d: %w", h.EntriesLBA, err)
	}
	if got := crc32.ChecksumIEEE(table); got != h.EntriesCRC {
		return nil, bad(at, "entries' checksum is %#x, the header says %#x", got, h.EntriesCRC)
	}
	t := &Table{Disk: h.Disk, Sectors: sectors, First: h.First, Last: h.Last, EntryCount: h.EntryCount,
		PrimaryLBA: h.EntriesLBA, BackupLBA: sectors - 1 - entrySectors(h.EntryCount)}
	if my != 1 {
		t.PrimaryLBA, t.BackupLBA = 2, h.EntriesLBA
	}
	if t.Partitions, err = parseEntries(table, at); err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, bad(at, "%v", err)
	}
	return t, nil
}

func parseHeader(sec []byte, off int64) (header, error) {
	var h header
	if err := binary.Read(bytes.NewReader(sec), binary.LittleEndian, &h); err != nil {
		return h, err
	}
	crc := crc32.NewIEEE()
	crc.Write(sec[:16])
	crc.Write(make([]byte, 4))
	crc.Write(sec[20:headerSize])
	switch {
	case string(h.Signature[:]) != signature:
		return h, bad(off, "signature is %q, want %q", h.Signature, signature)
	case h.Revision != revision:
		return h, bad(off+8, "revision %#x, want %#x", h.Revision, revision)
	case h.Size != headerSize:
		return h, bad(off+12, "header of %d bytes, want %d", h.Size, headerSize)
	case h.CRC != crc.Sum32():
		return h, bad(off+16, "header's checksum is %#x, want %#x", crc.Sum32(), h.CRC)
	case h.Reserved != 0 || !allZero(sec[headerSize:]):
		return h, bad(off+20, "reserved bytes are not zero")
	}
	return h, nil
}

// check verifies what a header in sector my says of the disk.
func (h *header) check(sectors, my uint64) error {
	off := int64(my) * SectorSize
	alternate := sectors - 1
	if my != 1 {
		alternate = 1
	}
	switch {
	case h.My != my:
		return bad(off+24, "header says that it is in sector %d", h.My)
	case h.Alternate != alternate:
		return bad(off+32, "other copy in sector %d, want %d", h.Alternate, alternate)
	case h.EntrySize != entrySize:
		return bad(off+84, "entries of %d bytes, want %d", h.EntrySize, entrySize)
	case h.EntryCount == 0 || h.EntryCount > maxEntries:
		return bad(off+80, "%d entries, want 1 to %d", h.EntryCount, maxEntries)
	case h.First > h.Last || h.Last >= sectors:
		return bad(off+40, "usable sectors %d to %d of %d", h.First, h.Last, sectors)
	}
	n := entrySectors(h.EntryCount)
	ok := h.EntriesLBA >= 2 && h.EntriesLBA < h.First && h.First-h.EntriesLBA >= n
	if my != 1 {
		ok = h.EntriesLBA > h.Last && h.EntriesLBA < my && my-h.EntriesLBA >= n
	}
	if !ok {
		return bad(off+72, "entries in sector %d overlap something else", h.EntriesLBA)
	}
	return nil
}

func parseEntries(table []byte, off int64) ([]Partition, error) {
	var parts []Partition
	for i := 0; i < len(table); i += entrySize {
		var e entry
		raw := table[i : i+entrySize]
		if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, &e); err != nil {
			return nil, err
		}
		if e.Type == (GUID{}) {
			if !allZero(raw) {
				return nil, bad(off+int64(i), "entry %d has no type but is not zero", i/entrySize)
			}
			continue
		}
		name, ok := decodeName(e.Name)
		if !ok {
			return nil, bad(off+int64(i)+56, "entry %d: name is not UTF-16 followed by zeros", i/entrySize)
		}
		for len(parts) < i/entrySize {
			parts = append(parts, Partition{})
		}
		parts = append(parts, Partition{e.Type, e.ID, e.First, e.Last, e.Attributes, name})
	}
	return parts, nil
}

// decodeName returns the name that u holds, and whether it is the only way to
// write it.
func decodeName(u [nameUnits]uint16) (string, bool) {
	n := 0
	for n < len(u) && u[n] != 0 {
		n++
	}
	name := string(utf16.Decode(u[:n]))
	back, err := encodeName(name)
	return name, err == nil && back == u
}

// same says how the backup copy differs from the primary one.
func same(p, b *Table) error {
	off := int64(p.Sectors-1) * SectorSize
	if p.Disk != b.Disk || p.First != b.First || p.Last != b.Last || p.EntryCount != b.EntryCount {
		return bad(off, "header differs from the primary one")
	}
	if len(p.Partitions) != len(b.Partitions) {
		return bad(off, "%d entries, the primary copy has %d", len(b.Partitions), len(p.Partitions))
	}
	for i := range p.Partitions {
		if p.Partitions[i] != b.Partitions[i] {
			return bad(off, "entry %d differs from the primary one", i)
		}
	}
	return nil
}

// checkMBR verifies that the MBR keeps tools that know no GPT away: one of its
// entries is of type 0xee and begins at sector 1.
func checkMBR(mbr [SectorSize]byte, sectors uint64) error {
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return bad(510, "MBR's signature is %#x %#x, want 0x55 0xaa", mbr[510], mbr[511])
	}
	for i := 446; i < 510; i += 16 {
		if mbr[i+4] == 0xee && binary.LittleEndian.Uint32(mbr[i+8:]) == 1 {
			return nil
		}
	}
	return bad(446, "MBR has no protective entry of type 0xee")
}

// entrySectors returns how many sectors n entries take.
func entrySectors(n uint32) uint64 {
	return (uint64(n)*entrySize + SectorSize - 1) / SectorSize
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
