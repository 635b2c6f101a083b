package apksig

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"mios/format/apk"
	"mios/format/apksig/internal/deflate"
	"mios/internal/readat"
)

const (
	defaultDate  = 0x3a21 // 1 January 2009, as MS-DOS has it
	alignExtra   = 0xd935 // extra field: what the data is aligned to, and padding
	localHeader  = 30
	dirHeader    = 46
	utf8Flag     = 1 << 11
	descriptor   = 1 << 3
	maxExtra     = math.MaxUint16
	descriptorID = 0x08074b50
)

// A zipSigner makes the entries and the directory of the signed package (AOSP
// tools/apksig, ApkSigner.sign).
type zipSigner struct {
	ctx  context.Context
	o    *SignOptions
	plan *signPlan
	f    *apk.File
	end  int64 // of what precedes the signing block in f

	records [][]byte // of f's directory, one an entry
	placed  map[int]int64
	out     assembly // entries
	added   []byte   // directory records of new entries
	addedN  int
	date    [2]uint16 // of new entries: day and time
	pins    *pinList
	covered []*apk.Entry // by the JAR signature
}

// entries copies the entries that stay, in the order of the file, and what lies
// between them, and adds those that signing adds.
func (z *zipSigner) entries() error {
	var err error
	if z.records, err = z.readDirectory(); err != nil {
		return err
	}
	if err := z.readPins(); err != nil {
		return err
	}
	order := make([]int, len(z.f.Entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(z.f.Entries[a].HeaderOff, z.f.Entries[b].HeaderOff) })
	at := int64(0) // in the file that is signed
	z.placed = make(map[int]int64)
	for _, i := range order {
		e := &z.f.Entries[i]
		z.out.copy(at, e.HeaderOff-at)
		n, err := z.recordSize(i)
		if err != nil {
			return err
		}
		at = e.HeaderOff + n
		if !v1Covers(e.Name) || e.Name == stampEntry || e.Name == pinListName {
			continue // of the last two AOSP leaves the bytes, as an entry in a gap, which nobody should read
		}
		if err := z.keep(i, n); err != nil {
			return err
		}
	}
	z.out.copy(at, z.end-at)
	return z.add()
}

// readDirectory splits the directory into its records.
func (z *zipSigner) readDirectory() ([][]byte, error) {
	b := make([]byte, z.f.DirSize)
	if err := readat.Full(z.out.r, b, z.f.DirOff); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	records := make([][]byte, len(z.f.Entries))
	for i := range records {
		if len(b) < dirHeader {
			return nil, &apk.FormatError{Off: z.f.DirOff, Msg: "the directory changes while it is read"}
		}
		n := dirHeader + int(le.Uint16(b[28:])) + int(le.Uint16(b[30:])) + int(le.Uint16(b[32:]))
		if n > len(b) {
			return nil, &apk.FormatError{Off: z.f.DirOff, Msg: "the directory changes while it is read"}
		}
		records[i], b = b[:n:n], b[n:]
	}
	return records, nil
}

func (z *zipSigner) readPins() error {
	e := z.f.Entry(pinsName)
	if e == nil {
		return nil
	}
	b, err := z.f.ReadFile(pinsName, maxPins)
	if err != nil {
		return err
	}
	pins, err := parsePins(b)
	if err != nil {
		return fmt.Errorf("%s: %w", pinsName, err)
	}
	z.pins = &pinList{pins: pins}
	return nil
}

// recordSize is how long an entry is with its header, and with the data
// descriptor behind it.
func (z *zipSigner) recordSize(i int) (int64, error) {
	e := &z.f.Entries[i]
	n := e.DataOff - e.HeaderOff + e.CompressedSize
	if binary.LittleEndian.Uint16(z.records[i][8:])&descriptor == 0 {
		return n, nil
	}
	var magic [4]byte
	if err := readat.Full(z.out.r, magic[:], e.HeaderOff+n); err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint32(magic[:]) == descriptorID {
		n += 4
	}
	return n + 12, nil
}

// keep copies an entry of size bytes, aligned.
func (z *zipSigner) keep(i int, size int64) error {
	e, le := &z.f.Entries[i], binary.LittleEndian
	day, clock := le.Uint16(z.records[i][14:]), le.Uint16(z.records[i][12:])
	if len(z.placed) == 0 || day > z.date[0] || day == z.date[0] && clock > z.date[1] {
		z.date = [2]uint16{day, clock}
	}
	start := z.out.size
	z.placed[i] = start
	data, err := z.copyAligned(e, size)
	if err != nil {
		return err
	}
	if z.pins != nil {
		z.pins.add(e.Name, start, data, z.out.size)
	}
	z.covered = append(z.covered, e)
	return nil
}

// copyAligned copies an entry, with another extra field if its data would not
// be aligned, and returns where the data lies.
func (z *zipSigner) copyAligned(e *apk.Entry, size int64) (int64, error) {
	start, header := z.out.size, e.DataOff-e.HeaderOff
	whole := func() (int64, error) {
		z.out.copy(e.HeaderOff, size)
		return start + header, nil
	}
	if e.Method != apk.Store || z.o.KeepAlignment && start == e.HeaderOff {
		return whole()
	}
	head := make([]byte, header)
	if err := readat.Full(z.out.r, head, e.HeaderOff); err != nil {
		return 0, err
	}
	names := localHeader + len(e.Name)
	multiple := z.alignment(e.Name, head[names:])
	if multiple <= 1 || z.o.KeepAlignment && (e.HeaderOff%multiple == start%multiple || e.DataOff%multiple != 0) {
		return whole()
	}
	extra := alignedExtra(head[names:], start+int64(names), multiple)
	if len(extra) > maxExtra {
		return 0, &apk.FormatError{Off: e.HeaderOff + 28, Msg: fmt.Sprintf("%s: no room in its extra field to align the data to %d bytes: align it to less, or keep the alignment it has", e.Name, multiple)}
	}
	binary.LittleEndian.PutUint16(head[28:], uint16(len(extra)))
	z.out.append(append(head[:names:names], extra...))
	z.out.copy(e.DataOff, size-header)
	return start + int64(names+len(extra)), nil
}

// alignment is what an uncompressed entry's data is to be aligned to: what its
// extra field says, or the page for native libraries, or four bytes.
func (z *zipSigner) alignment(name string, extra []byte) int64 {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		n := int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			break
		}
		if le.Uint16(extra) == alignExtra {
			if n < 2 {
				break
			}
			return int64(le.Uint16(extra[4:]))
		}
		extra = extra[4+n:]
	}
	if !strings.HasSuffix(name, ".so") {
		return apk.Align
	}
	return int64(cmp.Or(z.o.PageAlign, apk.AlignNative))
}

// alignedExtra returns an extra field that begins at start and ends at a
// multiple: the fields of the old one but those that align, and one that does.
// Of the old ones few stay, for AOSP reads their ids and lengths the wrong way
// around (ApkSigner.createExtraFieldToAlignData).
func alignedExtra(old []byte, start, multiple int64) []byte {
	le, swapped := binary.LittleEndian, binary.BigEndian
	var out []byte
	for len(old) >= 4 {
		id, n := swapped.Uint16(old), int(swapped.Uint16(old[2:]))
		if n > len(old)-4 {
			break
		}
		if id != alignExtra && (id != 0 || n != 0) {
			out = append(out, old[:4+n]...)
		}
		old = old[4+n:]
	}
	pad := (multiple - (start+int64(len(out))+6)%multiple) % multiple
	out = le.AppendUint16(out, alignExtra)
	out = le.AppendUint16(out, uint16(2+pad))
	out = le.AppendUint16(out, uint16(multiple))
	return append(out, make([]byte, pad)...)
}

// add adds what signing adds to the entries.
func (z *zipSigner) add() error {
	if len(z.placed) == 0 {
		z.date = [2]uint16{defaultDate, 0}
	}
	if z.plan.stamp != nil {
		z.addEntry(newEntry{stampEntry, z.plan.stamp.entry()})
	}
	var list []byte
	if z.pins != nil {
		z.pins.place(z.out.size, math.MaxInt64) // the directory, and what else follows
		list = z.pins.b
		z.addEntry(newEntry{pinListName, list})
	}
	if len(z.plan.v1) == 0 {
		return nil
	}
	h := v1Hashes[z.plan.v1Hash()].hash
	sums, err := v1Digests(z.ctx, z.f, z.covered, h)
	if err != nil {
		return err
	}
	sum := func(name string, b []byte) {
		d := h.New()
		d.Write(b)
		sums[name] = d.Sum(nil)
	}
	if z.pins != nil {
		sum(pinListName, list)
	}
	if z.plan.stamp != nil {
		sum(stampEntry, z.plan.stamp.entry())
	}
	var main []jarAttribute
	if z.f.Entry(manifestName) != nil {
		b, err := z.f.ReadFile(manifestName, maxManifestFile)
		if err != nil {
			return err
		}
		if main, err = jarMainSection(string(b)); err != nil {
			return fmt.Errorf("%s: %w; or take the file out of the package", manifestName, err)
		}
	}
	entries, err := z.plan.v1Entries(sums, main, z.o.CreatedBy)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.name == manifestName {
			digest := sha256.Sum256(e.data)
			z.plan.manifest = digest[:]
		}
		z.addEntry(e)
	}
	return nil
}

// addEntry adds a compressed entry.
func (z *zipSigner) addEntry(e newEntry) {
	le := binary.LittleEndian
	data := deflate.Bytes(e.data)
	fields := le.AppendUint16(nil, 20) // version needed
	fields = le.AppendUint16(fields, utf8Flag)
	fields = le.AppendUint16(fields, uint16(apk.Deflate))
	fields = le.AppendUint16(fields, z.date[1])
	fields = le.AppendUint16(fields, z.date[0])
	fields = le.AppendUint32(fields, crc32.ChecksumIEEE(e.data))
	fields = le.AppendUint32(fields, uint32(len(data)))
	fields = le.AppendUint32(fields, uint32(len(e.data)))
	fields = le.AppendUint16(fields, uint16(len(e.name)))
	fields = le.AppendUint16(fields, 0) // extra field

	record := append([]byte("PK\x01\x02\x14\x00"), fields...)
	record = append(record, make([]byte, 10)...) // comment, disk, attributes
	record = le.AppendUint32(record, uint32(z.out.size))
	z.added = append(z.added, append(record, e.name...)...)
	z.addedN++
	z.out.append(slices.Concat([]byte("PK\x03\x04"), fields, []byte(e.name), data))
}

// directory returns the central directory and the end record, whose directory
// begins where the entries end.
func (z *zipSigner) directory() (dir, end []byte, err error) {
	n := z.addedN
	for i, record := range z.records {
		at, ok := z.placed[i]
		if !ok {
			continue
		}
		if at > math.MaxUint32 {
			return nil, nil, fmt.Errorf("a package of %d bytes is too large: Android takes 4 GiB", z.out.size)
		}
		binary.LittleEndian.PutUint32(record[42:], uint32(at))
		dir = append(dir, record...)
		n++
	}
	dir = append(dir, z.added...)
	if n > math.MaxUint16 {
		return nil, nil, fmt.Errorf("a package of %d entries is too large: Android takes %d", n, math.MaxUint16)
	}
	end = bytes.Clone(z.f.End)
	le := binary.LittleEndian
	le.PutUint16(end[8:], uint16(n))
	le.PutUint16(end[10:], uint16(n))
	le.PutUint32(end[12:], uint32(len(dir)))
	le.PutUint32(end[16:], uint32(z.out.size))
	return dir, end, nil
}
