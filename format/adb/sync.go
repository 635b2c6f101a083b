package adb

import (
	"encoding/binary"
	"io"
)

// A SyncID is what a message of the sync service starts with.
type SyncID uint32

// The messages of the sync service. Those that end in 2 need the peer's feature
// stat_v2, ls_v2 or sendrecv_v2.
const (
	SyncStat  SyncID = 0x54415453 // STAT: lstat, version 1; request and answer
	SyncStat2 SyncID = 0x32415453 // STA2: stat
	SyncLst2  SyncID = 0x3254534c // LST2: lstat
	SyncList  SyncID = 0x5453494c // LIST
	SyncList2 SyncID = 0x3253494c // LIS2
	SyncDent  SyncID = 0x544e4544 // DENT: an entry of LIST
	SyncDent2 SyncID = 0x32544e44 // DNT2: an entry of LIS2
	SyncSend  SyncID = 0x444e4553 // SEND: path and ",mode" follow
	SyncSend2 SyncID = 0x32444e53 // SND2: path, then a SendSetup
	SyncRecv  SyncID = 0x56434552 // RECV
	SyncRecv2 SyncID = 0x32564352 // RCV2: path, then a recv setup
	SyncData  SyncID = 0x41544144 // DATA
	SyncDone  SyncID = 0x454e4f44 // DONE: with the mtime in seconds after SEND
	SyncOkay  SyncID = 0x59414b4f // OKAY
	SyncFail  SyncID = 0x4c494146 // FAIL: a message follows
	SyncQuit  SyncID = 0x54495551 // QUIT
)

// String returns the four characters.
func (id SyncID) String() string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(id)))
}

// Limits of the sync service, in bytes.
const (
	SyncMaxPath = 1024
	SyncMaxData = 64 << 10
)

// Sizes in bytes of fixed messages, their ids included.
const (
	SyncHeaderSize = 8
	StatSize       = 16
	Stat2Size      = 72
	DentSize       = 20 // the name follows
	Dent2Size      = 76 // the name follows
)

// ReadSyncHeader reads an id and the number that follows it: the length of a
// path or of data, or a time.
func ReadSyncHeader(r io.Reader) (SyncID, uint32, error) {
	var h [SyncHeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, err
	}
	return SyncID(binary.LittleEndian.Uint32(h[:])), binary.LittleEndian.Uint32(h[4:]), nil
}

// ReadSyncRequest reads a request: its id and the path that it is about. It
// returns io.EOF only between two requests.
func ReadSyncRequest(r io.Reader) (SyncID, string, error) {
	id, n, err := ReadSyncHeader(r)
	if err != nil {
		return 0, "", err
	}
	if n > SyncMaxPath {
		return 0, "", formatErr(4, "sync %v: path of %d bytes, at most %d", id, n, SyncMaxPath)
	}
	path := make([]byte, n)
	if _, err := io.ReadFull(r, path); err != nil {
		return 0, "", noEOF(err)
	}
	for i, c := range path {
		if c == 0 {
			return 0, "", formatErr(int64(SyncHeaderSize+i), "sync %v: NUL in a path", id)
		}
	}
	return id, string(path), nil
}

// ReadSyncSetup reads the words that follow a SND2 (mode and flags) or RCV2
// (flags) request, after their repeated id.
func ReadSyncSetup(r io.Reader, want SyncID, words []uint32) error {
	var b [12]byte
	n := 4 + 4*len(words)
	if _, err := io.ReadFull(r, b[:n]); err != nil {
		return noEOF(err)
	}
	if id := SyncID(binary.LittleEndian.Uint32(b[:])); id != want {
		return formatErr(0, "sync setup %q after %v", id.String(), want)
	}
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4+4*i:])
	}
	return nil
}

// AppendSync appends an id and a number: a header of DATA, a DONE, an OKAY.
func AppendSync(b []byte, id SyncID, n uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(id)), n)
}

// AppendSyncString appends an id, a length and s: a request, or a FAIL.
func AppendSyncString(b []byte, id SyncID, s string) []byte {
	return append(AppendSync(b, id, uint32(len(s))), s...)
}

// A Stat is what the sync service says of a file. The mode is Linux's st_mode,
// times are seconds since 1970.
type Stat struct {
	Error               uint32 // a Linux errno; version 1 has none, and a zero mode instead
	Dev, Ino            uint64
	Mode                uint32
	Nlink, UID, GID     uint32
	Size                uint64
	Atime, Mtime, Ctime int64
}

// AppendV1 appends a stat of version 1: the size and the time are cut to 32
// bits, as AOSP does.
func (s Stat) AppendV1(b []byte, id SyncID) []byte {
	for _, v := range [...]uint32{uint32(id), s.Mode, uint32(s.Size), uint32(s.Mtime)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// AppendV2 appends a stat of version 2.
func (s Stat) AppendV2(b []byte, id SyncID) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(b, uint32(id)), s.Error)
	b = le.AppendUint64(le.AppendUint64(b, s.Dev), s.Ino)
	for _, v := range [...]uint32{s.Mode, s.Nlink, s.UID, s.GID} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]uint64{s.Size, uint64(s.Atime), uint64(s.Mtime), uint64(s.Ctime)} {
		b = le.AppendUint64(b, v)
	}
	return b
}

// ParseStatV1 reads what AppendV1 wrote, of StatSize bytes.
func ParseStatV1(b []byte) (SyncID, Stat, error) {
	if len(b) != StatSize {
		return 0, Stat{}, formatErr(0, "stat of %d bytes, want %d", len(b), StatSize)
	}
	u := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	return SyncID(u(0)), Stat{Mode: u(4), Size: uint64(u(8)), Mtime: int64(u(12))}, nil
}

// ParseStatV2 reads what AppendV2 wrote, of Stat2Size bytes.
func ParseStatV2(b []byte) (SyncID, Stat, error) {
	if len(b) != Stat2Size {
		return 0, Stat{}, formatErr(0, "stat of %d bytes, want %d", len(b), Stat2Size)
	}
	u := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	v := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	return SyncID(u(0)), Stat{Error: u(4), Dev: v(8), Ino: v(16), Mode: u(24), Nlink: u(28), UID: u(32), GID: u(36),
		Size: v(40), Atime: int64(v(48)), Mtime: int64(v(56)), Ctime: int64(v(64))}, nil
}

// AppendDent appends an entry of a list: id DENT or DNT2, which decides the
// version. The end of a list is the same message with the id DONE and nothing
// else: see AppendListDone.
func (s Stat) AppendDent(b []byte, id SyncID, name string) []byte {
	if id == SyncDent2 {
		b = s.AppendV2(b, id)
	} else {
		b = s.AppendV1(b, id)
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(name))), name...)
}

// AppendListDone appends the end of a list of entries with the given id.
func AppendListDone(b []byte, id SyncID) []byte {
	n := DentSize
	if id == SyncDent2 {
		n = Dent2Size
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(SyncDone)), make([]byte, n-4)...)
}

// ReadDent reads an entry that AppendDent wrote with the same id, or io.EOF
// for AppendListDone's.
func ReadDent(r io.Reader, id SyncID) (string, Stat, error) {
	b, parse := make([]byte, DentSize), ParseStatV1
	if id == SyncDent2 {
		b, parse = make([]byte, Dent2Size), ParseStatV2
	}
	if _, err := io.ReadFull(r, b); err != nil {
		return "", Stat{}, noEOF(err)
	}
	got, s, err := parse(b[:len(b)-4])
	switch {
	case err != nil:
		return "", Stat{}, err
	case got == SyncDone:
		return "", Stat{}, io.EOF
	case got != id:
		return "", Stat{}, formatErr(0, "list entry %q, want %v", got.String(), id)
	}
	n := binary.LittleEndian.Uint32(b[len(b)-4:])
	if n > SyncMaxPath {
		return "", Stat{}, formatErr(int64(len(b)-4), "name of %d bytes, at most %d", n, SyncMaxPath)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return "", Stat{}, noEOF(err)
	}
	return string(name), s, nil
}
