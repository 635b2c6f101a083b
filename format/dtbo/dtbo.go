// Package dtbo reads and writes tables of device tree blobs and overlays: the
// dtbo partition, in the layout of AOSP's system/libufdt utils/src/dt_table.h
// (versions 0 and 1), and the same with ACPI tables (ACPIO).
//
// Tables are parsed in memory and their entries point into it. What [Parse]
// accepts, [Table.WriteTo] gives back byte for byte; what follows a table in its
// partition is not its. The blobs themselves are [mios/format/fdt]'s.
package dtbo

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
)

const (
	dtMagic    = 0xd7b7ab1e
	acpiMagic  = 0x41435049
	headerSize = 32
	entrySize  = 32
	maxEntries = 4096    // far above what devices have
	maxBlob    = 1 << 28 // of an entry, unpacked, in bytes
)

// A FormatError says where a table breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the table's start
	Msg string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("dtbo: offset %#x: %s", e.Off, e.Msg) }

func bad(off int, format string, args ...any) error {
	return &FormatError{int64(off), fmt.Sprintf(format, args...)}
}

// A Table is a table of blobs.
type Table struct {
	ACPI     bool   // the blobs are ACPI tables, not device trees
	Version  uint32 // 0 or 1
	PageSize uint32 // of the flash, in bytes; nothing is aligned to it
	Entries  []Entry
}

// An Entry is one blob and what a loader chooses it by.
type Entry struct {
	ID, Rev uint32
	Flags   uint32    // version 1: how Data is packed, in the lowest 4 bits
	Custom  [4]uint32 // in version 1 only three
	Data    []byte    // as it stands in the table
	Shared  int       // 1 + the index of an earlier entry whose data this is; 0: its own
}

// A Packing says how an entry's data is packed.
type Packing uint32

// The packings that version 1 knows.
const (
	Plain Packing = iota
	Zlib
	Gzip
)

// Packing returns how the entry's data is packed.
func (e *Entry) Packing() Packing { return Packing(e.Flags & 15) }

// header is dt_table_header, big-endian.
type header struct {
	Magic, TotalSize, HeaderSize, EntrySize, Entries, EntriesOffset, PageSize, Version uint32
}

// entry is dt_table_entry; in version 1 the first of the words is the flags.
type entry struct {
	Size, Offset, ID, Rev uint32
	Words                 [4]uint32
}

// Parse reads the table at the start of b; its entries point into b. Blobs
// stand behind the entries in their order and without gaps, but an entry may
// share the blob of an earlier one. Errors are [*FormatError].
func Parse(b []byte) (*Table, error) {
	var h header
	if _, err := binary.Decode(b, binary.BigEndian, &h); err != nil {
		return nil, bad(0, "header: %d bytes left, want %d", len(b), headerSize)
	}
	switch {
	case h.Magic != dtMagic && h.Magic != acpiMagic:
		return nil, bad(0, "magic is %#x, want %#x, or %#x for ACPI: not a table of device trees", h.Magic, uint32(dtMagic), uint32(acpiMagic))
	case h.HeaderSize != headerSize || h.EntrySize != entrySize || h.EntriesOffset != headerSize:
		return nil, bad(8, "header of %d bytes, entries of %d from %d on: want %d, %d and %d", h.HeaderSize, h.EntrySize, h.EntriesOffset, headerSize, entrySize, headerSize)
	case h.Entries > maxEntries:
		return nil, bad(16, "%d entries, want at most %d", h.Entries, maxEntries)
	case h.Version > 1:
		return nil, bad(28, "version %d, want 0 or 1", h.Version)
	case uint64(h.TotalSize) > uint64(len(b)):
		return nil, bad(4, "table of %d bytes in %d", h.TotalSize, len(b))
	case h.TotalSize < headerSize+h.Entries*entrySize:
		return nil, bad(4, "table of %d bytes with %d entries", h.TotalSize, h.Entries)
	}
	t := &Table{ACPI: h.Magic == acpiMagic, Version: h.Version, PageSize: h.PageSize}
	next := headerSize + h.Entries*entrySize
	own := map[[2]uint32]int{}
	for i := range int(h.Entries) {
		at := headerSize + i*entrySize
		var e entry
		if _, err := binary.Decode(b[at:], binary.BigEndian, &e); err != nil {
			return nil, bad(at, "entry %d: %v", i, err)
		}
		x := Entry{ID: e.ID, Rev: e.Rev, Custom: e.Words}
		if h.Version == 1 {
			x.Flags, x.Custom = e.Words[0], [4]uint32{e.Words[1], e.Words[2], e.Words[3]}
		}
		place := [2]uint32{e.Offset, e.Size}
		switch first, shared := own[place]; {
		case uint64(e.Offset)+uint64(e.Size) > uint64(h.TotalSize):
			return nil, bad(at, "entry %d: %d bytes at %d pass the end at %d", i, e.Size, e.Offset, h.TotalSize)
		case shared && e.Offset < next:
			x.Shared = first + 1
		case e.Offset != next:
			return nil, bad(at+4, "entry %d: blob at %d, want %d", i, e.Offset, next)
		default:
			own[place] = i
			next += e.Size
		}
		x.Data = b[e.Offset : e.Offset+e.Size : e.Offset+e.Size]
		t.Entries = append(t.Entries, x)
	}
	if next != h.TotalSize {
		return nil, bad(4, "table of %d bytes, its blobs end at %d", h.TotalSize, next)
	}
	return t, nil
}

// header returns the encoded header and entries, or what is wrong with them.
func (t *Table) header() ([]byte, error) {
	if t.Version > 1 || len(t.Entries) > maxEntries {
		return nil, fmt.Errorf("dtbo: version %d with %d entries: want version 0 or 1 and at most %d entries", t.Version, len(t.Entries), maxEntries)
	}
	h := header{dtMagic, 0, headerSize, entrySize, uint32(len(t.Entries)), headerSize, t.PageSize, t.Version}
	if t.ACPI {
		h.Magic = acpiMagic
	}
	next := uint64(headerSize + len(t.Entries)*entrySize)
	entries := make([]entry, len(t.Entries))
	for i, x := range t.Entries {
		e := entry{Size: uint32(len(x.Data)), Offset: uint32(next), ID: x.ID, Rev: x.Rev, Words: x.Custom}
		switch {
		case t.Version == 1 && x.Custom[3] != 0, t.Version == 0 && x.Flags != 0:
			return nil, fmt.Errorf("dtbo: entry %d: version %d has no field for the flags %#x and the fourth custom number %#x", i, t.Version, x.Flags, x.Custom[3])
		case t.Version == 1:
			e.Words = [4]uint32{x.Flags, x.Custom[0], x.Custom[1], x.Custom[2]}
		}
		if x.Shared > 0 {
			if x.Shared > i || t.Entries[x.Shared-1].Shared > 0 || !bytes.Equal(t.Entries[x.Shared-1].Data, x.Data) {
				return nil, fmt.Errorf("dtbo: entry %d: it shares the blob of entry %d, which is not the same", i, x.Shared-1)
			}
			e.Offset = entries[x.Shared-1].Offset
		} else {
			next += uint64(len(x.Data))
		}
		if next > math.MaxInt32 {
			return nil, fmt.Errorf("dtbo: blobs of more than %d bytes", math.MaxInt32)
		}
		entries[i] = e
	}
	h.TotalSize = uint32(next)
	b, err := binary.Append(nil, binary.BigEndian, h)
	if err != nil {
		return nil, err
	}
	return binary.Append(b, binary.BigEndian, entries)
}

// WriteTo writes the table. It is the inverse of [Parse].
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	head, err := t.header()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(head)
	total := int64(n)
	for _, e := range t.Entries {
		if err != nil {
			return total, err
		}
		if e.Shared == 0 {
			n, err = w.Write(e.Data)
			total += int64(n)
		}
	}
	return total, err
}

// Pack sets the entry's data to a blob, packed as its flags say.
func (e *Entry) Pack(blob []byte) error {
	var b bytes.Buffer
	var w io.WriteCloser
	switch e.Packing() {
	case Plain:
		e.Data = blob
		return nil
	case Zlib:
		w = zlib.NewWriter(&b)
	case Gzip:
		w = gzip.NewWriter(&b)
	default:
		return fmt.Errorf("dtbo: flags %#x: packing %d is not known", e.Flags, e.Packing())
	}
	if _, err := w.Write(blob); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	e.Data = b.Bytes()
	return nil
}

// Unpack returns the entry's blob.
func (e *Entry) Unpack() ([]byte, error) {
	var r io.Reader
	var err error
	switch e.Packing() {
	case Plain:
		return e.Data, nil
	case Zlib:
		r, err = zlib.NewReader(bytes.NewReader(e.Data))
	case Gzip:
		r, err = gzip.NewReader(bytes.NewReader(e.Data))
	default:
		return nil, fmt.Errorf("dtbo: flags %#x: packing %d is not known", e.Flags, e.Packing())
	}
	if err != nil {
		return nil, fmt.Errorf("dtbo: unpack: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxBlob+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("dtbo: unpack: %w", err)
	case len(b) > maxBlob:
		return nil, fmt.Errorf("dtbo: unpack: over %d bytes", maxBlob)
	}
	return b, nil
}

// Text returns what mkdtboimg dump prints of the table.
func (t *Table) Text() (string, error) {
	head, err := t.header()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	word := func(i int) uint32 { return binary.BigEndian.Uint32(head[4*i:]) }
	fmt.Fprintf(&b, "dt_table_header:\n%20s = %08x\n", "magic", word(0))
	for i, name := range []string{"total_size", "header_size", "dt_entry_size", "dt_entry_count", "dt_entries_offset", "page_size", "version"} {
		fmt.Fprintf(&b, "%20s = %d\n", name, word(i+1))
	}
	names := []string{"id", "rev", "custom[0]", "custom[1]", "custom[2]", "custom[3]"}
	if t.Version == 1 {
		names = []string{"id", "rev", "flags", "custom[0]", "custom[1]", "custom[2]"}
	}
	for i := range t.Entries {
		at := (headerSize + i*entrySize) / 4
		fmt.Fprintf(&b, "dt_table_entry[%d]:\n%20s = %d\n%20s = %d\n", i, "dt_size", word(at), "dt_offset", word(at+1))
		for j, name := range names {
			fmt.Fprintf(&b, "%20s = %08x\n", name, word(at+2+j))
		}
	}
	return b.String(), nil
}
