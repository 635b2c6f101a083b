package gpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf16"
)

const (
	newEntries = 128 // room that New leaves, the least that UEFI asks for
	alignLBA   = Align / SectorSize
)

// New lays partitions out in their order on a disk of size bytes (a multiple
// of [SectorSize]), each at a multiple of [Align]. GUIDs are derived from seed
// and names: the same arguments give the same bytes.
func New(seed string, size int64, parts []Spec) (*Table, error) {
	if size%SectorSize != 0 || size < 2*Align {
		return nil, fmt.Errorf("gpt: a disk of %d bytes: want a multiple of %d, at least %d", size, SectorSize, 2*Align)
	}
	sectors := uint64(size / SectorSize)
	n := entrySectors(newEntries)
	t := &Table{Disk: derive(seed, "disk"), Sectors: sectors, First: 2 + n, Last: sectors - 2 - n,
		MBR: protective(sectors), EntryCount: newEntries, PrimaryLBA: 2, BackupLBA: sectors - 1 - n}
	next := uint64(alignLBA)
	for i, s := range parts {
		count := uint64(s.Size) / SectorSize
		switch {
		case s.Size < 0 || s.Size%SectorSize != 0:
			return nil, fmt.Errorf("gpt: %s: size of %d bytes is not a multiple of %d", s.Name, s.Size, SectorSize)
		case s.Size == 0 && i != len(parts)-1:
			return nil, fmt.Errorf("gpt: %s: only the last partition may take what is left", s.Name)
		case s.Size == 0 && next <= t.Last:
			count = (t.Last + 1 - next) / alignLBA * alignLBA
		}
		if count == 0 || next > t.Last || count > t.Last+1-next {
			return nil, fmt.Errorf("gpt: %s: %d bytes do not fit on a disk of %d bytes after %d: make the disk larger", s.Name, s.Size, size, next*SectorSize)
		}
		p := Partition{Type: s.Type, ID: derive(seed, "partition "+s.Name), First: next, Last: next + count - 1, Attributes: s.Attributes, Name: s.Name}
		if p.Type == (GUID{}) {
			p.Type = LinuxData
		}
		if _, ok := t.Find(s.Name); ok {
			return nil, fmt.Errorf("gpt: two partitions have the name %q", s.Name)
		}
		t.Partitions = append(t.Partitions, p)
		next = (p.Last + alignLBA) / alignLBA * alignLBA
	}
	return t, t.check()
}

// check verifies what holds for every table: the partitions lie in the usable
// sectors and do not overlap, and their names can be written.
func (t *Table) check() error {
	if len(t.Partitions) > int(t.EntryCount) {
		return fmt.Errorf("gpt: %d partitions, with room for %d", len(t.Partitions), t.EntryCount)
	}
	used := make([]Partition, 0, len(t.Partitions))
	for i, p := range t.Partitions {
		if p == (Partition{}) {
			continue
		}
		if _, err := encodeName(p.Name); err != nil || p.Type == (GUID{}) {
			return fmt.Errorf("gpt: entry %d has no type, or the name %q of more than %d UTF-16 units", i, p.Name, nameUnits)
		}
		if p.First > p.Last || p.First < t.First || p.Last > t.Last {
			return fmt.Errorf("gpt: %q has the sectors %d to %d, usable are %d to %d", p.Name, p.First, p.Last, t.First, t.Last)
		}
		used = append(used, p)
	}
	slices.SortFunc(used, func(a, b Partition) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for i := 1; i < len(used); i++ {
		if used[i].First <= used[i-1].Last {
			return fmt.Errorf("gpt: %q and %q overlap", used[i-1].Name, used[i].Name)
		}
	}
	return nil
}

// WriteDisk writes the MBR and both copies to a disk of t.Sectors sectors, and
// nothing between them.
func (t *Table) WriteDisk(w io.WriterAt) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.EntryCount == 0 || t.EntryCount > maxEntries || t.Sectors < minDisk {
		return fmt.Errorf("gpt: %d entries on a disk of %d sectors", t.EntryCount, t.Sectors)
	}
	table, err := t.entries()
	if err != nil {
		return err
	}
	h := header{Signature: [8]byte([]byte(signature)), Revision: revision, Size: headerSize, First: t.First, Last: t.Last, Disk: t.Disk,
		EntryCount: t.EntryCount, EntrySize: entrySize, EntriesCRC: crc32.ChecksumIEEE(table)}
	primary, backup := h, h
	primary.My, primary.Alternate, primary.EntriesLBA = 1, t.Sectors-1, t.PrimaryLBA
	backup.My, backup.Alternate, backup.EntriesLBA = t.Sectors-1, 1, t.BackupLBA
	for _, h := range []*header{&backup, &primary} { // a cut between them leaves the old primary
		if err := h.check(t.Sectors, h.My); err != nil {
			return err
		}
		if _, err := w.WriteAt(table, int64(h.EntriesLBA)*SectorSize); err != nil {
			return err
		}
		if _, err := w.WriteAt(h.bytes(), int64(h.My)*SectorSize); err != nil {
			return err
		}
	}
	_, err = w.WriteAt(t.MBR[:], 0)
	return err
}

// entries returns the array of entries.
func (t *Table) entries() ([]byte, error) {
	var b bytes.Buffer
	for _, p := range t.Partitions {
		name, err := encodeName(p.Name)
		if err != nil {
			return nil, err
		}
		if err := binary.Write(&b, binary.LittleEndian, entry{p.Type, p.ID, p.First, p.Last, p.Attributes, name}); err != nil {
			return nil, err
		}
	}
	b.Write(make([]byte, int(t.EntryCount)*entrySize-b.Len()))
	return b.Bytes(), nil
}

// bytes returns the header's sector, with its checksum.
func (h *header) bytes() []byte {
	h.CRC = 0
	sec := make([]byte, 0, SectorSize)
	sec, _ = binary.Append(sec, binary.LittleEndian, h) // a struct of fixed size cannot fail
	h.CRC = crc32.ChecksumIEEE(sec)
	binary.LittleEndian.PutUint32(sec[16:], h.CRC)
	return sec[:SectorSize]
}

func encodeName(s string) (u [nameUnits]uint16, err error) {
	units := utf16.Encode([]rune(s))
	if len(units) > nameUnits || slices.Contains(units, 0) {
		return u, fmt.Errorf("gpt: name %q: it must have at most %d UTF-16 units, none of them zero", s, nameUnits)
	}
	copy(u[:], units)
	return u, nil
}

// protective returns an MBR with one entry that covers the disk.
func protective(sectors uint64) (mbr [SectorSize]byte) {
	e := mbr[446:]
	copy(e, []byte{0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(sectors-1, 1<<32-1)))
	mbr[510], mbr[511] = 0x55, 0xaa
	return mbr
}
