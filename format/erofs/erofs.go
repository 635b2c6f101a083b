// Package erofs reads EROFS images, the read-only file system of Linux and of
// Android's system partitions: plain, inline, chunk-based and compressed files
// (LZ4, MicroLZMA, DEFLATE, Zstandard; legacy, compact and extent indexes,
// ztailpacking, fragments, deduplicated data), and extended attributes. An
// [Editor] changes files in an image that is there; making one is for
// mkfs.erofs.
//
// The format is that of the kernel's fs/erofs/erofs_fs.h.
package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"strings"
	"sync"

	"mios/format/fsimage"
	"mios/internal/readat"
)

// A FormatError says where an image is not EROFS as it should be.
type FormatError = fsimage.FormatError

func bad(off int64, format string, args ...any) error {
	return &FormatError{Format: "erofs", Off: off, Msg: fmt.Sprintf(format, args...)}
}

// ErrUnsupported is what an image needs that this package does not read:
// features that it does not know, or data on devices of their own.
var ErrUnsupported = errors.New("unsupported")

const (
	superOffset = 1024
	superSize   = 128
	slotSize    = 16 // of an extension of the superblock
	// Magic begins a superblock, which is at byte 1024.
	Magic = 0xe0f5e1e2
)

// Features that readers may ignore.
const (
	compatChecksum        = 0x01
	compatSharedInMetabox = 0x08
	compatPlainPrefixes   = 0x10
)

// Features that readers must know.
const (
	incompatZeroPadding        = 0x001
	incompatConfigs            = 0x002 // big pclusters, too
	incompatChunks             = 0x004
	incompatDevices            = 0x008 // a second algorithm, too
	incompatTailPacking        = 0x010
	incompatFragments          = 0x020 // deduplicated data, too
	incompatXattrPrefix        = 0x040
	incompat48Bit              = 0x080
	incompatMetabox            = 0x100
	incompatAll                = incompatMetabox<<1 - 1
	algorithmsAll              = 0xf
	maxBlockBits               = 16
	metaboxBit          uint64 = 1 << 63
)

// featureNames are of incompat bits, as dump.erofs knows them.
var featureNames = []string{
	"zero_padding", "compr_cfgs/big_pcluster", "chunked_file", "device_table/compr_head2", "ztailpacking",
	"fragments/dedupe", "xattr_prefixes", "48bit", "metabox",
}

// A Superblock is what an image says of itself.
type Superblock struct {
	BlockSize  int64
	Blocks     int64
	Inodes     uint64
	UUID       [16]byte
	VolumeName string
	Compat     uint32 // features that may be ignored
	Incompat   uint32 // features that must be known
	Checksum   uint32 // CRC-32C of the first block, if it has one
	Algorithms uint16 // bit n: codec n of LZ4, LZMA, DEFLATE, Zstandard is used
	Epoch      int64  // base of compact inodes' times, in seconds
	Nanosecond uint32 // of them

	blockBits  uint
	metaStart  int64
	xattrStart int64
	root       uint64
	packed     uint64 // 0: none
	metabox    uint64 // 0: none
}

// Features are the names of the features that must be known.
func (s *Superblock) Features() []string {
	var out []string
	for i, name := range featureNames {
		if s.Incompat>>i&1 != 0 {
			out = append(out, name)
		}
	}
	return out
}

// FS is an EROFS image.
type FS struct {
	*fsimage.FS
	Superblock
	size     int64
	cache    *fsimage.Cache
	prefixes []string // of names of extended attributes

	metaboxOnce func() (io.ReaderAt, error)
	packedOnce  func() (*inode, error)
}

// Open reads the image in the first size bytes of r. The superblock's checksum
// must be right. An error that is not of reading is a [*FormatError], or wraps
// [ErrUnsupported].
func Open(r io.ReaderAt, size int64) (*FS, error) {
	f := &FS{size: size, cache: fsimage.NewCache(r, size)}
	f.FS = fsimage.New("erofs", source{f}, r)
	f.metaboxOnce, f.packedOnce = sync.OnceValues(f.readMetabox), sync.OnceValues(f.readPacked)
	if err := f.super(); err != nil {
		return nil, err
	}
	if err := f.configs(); err != nil {
		return nil, err
	}
	if f.Blocks*f.BlockSize > size {
		return nil, bad(superOffset+36, "%d blocks of %d bytes, the image has %d bytes", f.Blocks, f.BlockSize, size)
	}
	if err := f.readPrefixes(); err != nil {
		return nil, err
	}
	_, err := f.Root()
	return f, err
}

// super reads the superblock.
func (f *FS) super() error {
	var b [superSize + slotSize]byte
	if f.size < superOffset+superSize {
		return bad(superOffset, "superblock: the image has %d bytes, want %d", f.size, superOffset+superSize)
	}
	if err := readat.Full(f.cache, b[:superSize], superOffset); err != nil {
		return err
	}
	le := binary.LittleEndian
	if m := le.Uint32(b[:]); m != Magic {
		return bad(superOffset, "magic is %#x, want %#x: not an EROFS image", m, Magic)
	}
	s := &f.Superblock
	s.Checksum, s.Compat, s.Incompat = le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[80:])
	if more := s.Incompat &^ incompatAll; more != 0 {
		return fmt.Errorf("erofs: features %#x, which are newer than this program: %w", more, ErrUnsupported)
	}
	s.blockBits = uint(b[12])
	if s.blockBits < 9 || s.blockBits > maxBlockBits {
		return bad(superOffset+12, "blocks of 1<<%d bytes: want 9 to %d", s.blockBits, maxBlockBits)
	}
	s.BlockSize = 1 << s.blockBits
	end := int64(superOffset + superSize + int(b[13])*slotSize)
	if end > s.BlockSize && s.BlockSize > superOffset || end > f.size {
		return bad(superOffset+13, "superblock with %d extensions is longer than a block", b[13])
	}
	if s.Incompat&incompatMetabox != 0 {
		if b[13] == 0 {
			return bad(superOffset+13, "the feature metabox wants an extended superblock")
		}
		if err := readat.Full(f.cache, b[superSize:], superOffset+superSize); err != nil {
			return err
		}
	}
	s.parse(b[:])
	return f.checksum()
}

func (s *Superblock) parse(b []byte) {
	le := binary.LittleEndian
	s.root = uint64(le.Uint16(b[14:]))
	s.Inodes = le.Uint64(b[16:])
	s.Epoch, s.Nanosecond = int64(le.Uint64(b[24:])), le.Uint32(b[32:])
	s.Blocks = int64(le.Uint32(b[36:]))
	s.metaStart = int64(le.Uint32(b[40:])) << s.blockBits
	s.xattrStart = int64(le.Uint32(b[44:])) << s.blockBits
	copy(s.UUID[:], b[48:])
	s.VolumeName = strings.TrimRight(string(b[64:80]), "\x00")
	s.Algorithms = le.Uint16(b[84:])
	if s.Incompat&incompatConfigs == 0 {
		s.Algorithms = 1 << lz4 // then the field is LZ4's distance
	}
	if s.Incompat&incompatFragments != 0 || s.Incompat&incompatXattrPrefix != 0 {
		s.packed = le.Uint64(b[96:])
	}
	if id := le.Uint64(b[112:]); s.Incompat&incompat48Bit != 0 && id != 0 {
		s.root = id
		s.Blocks |= int64(le.Uint16(b[14:])) << 32
	}
	if s.Incompat&incompatMetabox != 0 {
		s.metabox = le.Uint64(b[128:])
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum compares the CRC-32C of the first block, from the superblock on.
func (f *FS) checksum() error {
	if f.Compat&compatChecksum == 0 {
		return nil
	}
	n := f.BlockSize
	if n > superOffset {
		n -= superOffset
	}
	if superOffset+n > f.size {
		return bad(superOffset, "the block of the superblock is cut off")
	}
	b := make([]byte, n)
	if err := readat.Full(f.cache, b, superOffset); err != nil {
		return err
	}
	clear(b[4:8])
	if sum := ^crc32.Update(0, castagnoli, b); sum != f.Checksum {
		return bad(superOffset+4, "CRC-32C of the superblock is %#x, want %#x", sum, f.Checksum)
	}
	return nil
}

// configs reads what algorithms the image uses.
func (f *FS) configs() error {
	if more := f.Algorithms &^ algorithmsAll; more != 0 {
		return fmt.Errorf("erofs: compression algorithms %#x, which are newer than this program: %w", more, ErrUnsupported)
	}
	var b [superSize]byte
	if err := readat.Full(f.cache, b[:], superOffset); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint16(b[86:]); f.Incompat&incompatDevices != 0 && n > 0 {
		return fmt.Errorf("erofs: data is on %d devices of its own: %w", n, ErrUnsupported)
	}
	if b[90] != 0 {
		return bad(superOffset+90, "folders have blocks of their own size, 1<<%d blocks", b[90])
	}
	if f.packed&metaboxBit != 0 || f.metabox&metaboxBit != 0 {
		return bad(superOffset+96, "the packed inode or the metabox lies in the metabox")
	}
	if f.Incompat&incompatConfigs == 0 {
		return nil
	}
	at := int64(superOffset+superSize) + int64(b[13])*slotSize
	for algs := f.Algorithms; algs != 0; algs &= algs - 1 {
		alg := bits.TrailingZeros16(algs)
		p, next, err := readSized(f.cache, at)
		if err != nil {
			return err
		}
		if err := checkConfig(alg, p, at+2); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// checkConfig checks an algorithm's parameters.
func checkConfig(alg int, p []byte, at int64) error {
	if want := [...]int{lz4: 14, lzma: 14, deflate: 6, zstd: 6}[alg]; len(p) < want {
		return bad(at, "parameters of algorithm %d have %d bytes, want %d", alg, len(p), want)
	}
	le := binary.LittleEndian
	switch alg {
	case lzma:
		if dict, format := le.Uint32(p), le.Uint16(p[4:]); format != 0 || dict > maxDict {
			return bad(at, "LZMA: format %d with a dictionary of %d bytes, want format 0 and at most %d", format, dict, maxDict)
		}
	case deflate:
		if p[0] < 8 || p[0] > 15 {
			return bad(at, "DEFLATE: window of 1<<%d bytes, want 8 to 15", p[0])
		}
	case zstd:
		if p[0] != 0 || p[1] > maxZstdWindow {
			return bad(at, "Zstandard: format %d with a window of 1<<%d bytes, want format 0 and at most 1<<%d", p[0], int(p[1])+10, maxZstdWindow+10)
		}
	}
	return nil
}

// readSized reads bytes behind their length, which begin at the next multiple
// of four, and returns where they end.
func readSized(r io.ReaderAt, at int64) ([]byte, int64, error) {
	at = (at + 3) &^ 3
	var n [2]byte
	if err := readat.Full(r, n[:], at); err != nil {
		return nil, 0, bad(at, "length of parameters: %v", err)
	}
	p := make([]byte, binary.LittleEndian.Uint16(n[:]))
	if len(p) == 0 {
		return nil, 0, bad(at, "parameters of no length")
	}
	if err := readat.Full(r, p, at+2); err != nil {
		return nil, 0, bad(at, "parameters of %d bytes: %v", len(p), err)
	}
	return p, at + 2 + int64(len(p)), nil
}
