// Package ext4 reads images of ext4, and of ext2 and ext3: files in extents or
// block maps, inline data, folders, symbolic links and extended attributes. Where
// metadata has checksums they are compared. An [Editor] changes files in an
// image that is there; making one is for mke2fs. Journals are not replayed, and
// nothing is decrypted.
//
// The format is that of the kernel's Documentation/filesystems/ext4 and of
// e2fsprogs' lib/ext2fs/ext2_fs.h.
package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"strings"

	"mios/format/fsimage"
	"mios/internal/readat"
)

// A FormatError says where an image is not ext4 as it should be.
type FormatError = fsimage.FormatError

func bad(off int64, format string, args ...any) error {
	return &FormatError{Format: "ext4", Off: off, Msg: fmt.Sprintf(format, args...)}
}

// ErrUnsupported is what an image needs that this package does not read.
var ErrUnsupported = errors.New("unsupported")

// ErrJournal is that an image was not unmounted: what its journal holds is
// newer than what is in its place.
var ErrJournal = errors.New("the journal must be replayed: run e2fsck on it, or mount and unmount it")

const (
	superOffset = 1024
	superSize   = 1024
	superSumAt  = 1020 // in a superblock: its checksum
	// Magic is at byte 56 of a superblock, which is at byte 1024.
	Magic = 0xef53
)

// Features, of all three kinds.
const (
	compatSparseSuper2 = 0x200

	incompatFileType  = 0x2
	incompatRecover   = 0x4
	incompatMetaBG    = 0x10
	incompatExtents   = 0x40
	incompat64Bit     = 0x80
	incompatMMP       = 0x100
	incompatFlexBG    = 0x200
	incompatEAInode   = 0x400
	incompatSeed      = 0x2000
	incompatLargeDir  = 0x4000
	incompatInline    = 0x8000
	incompatEncrypt   = 0x10000
	incompatCasefold  = 0x20000
	incompatSupported = incompatFileType | incompatMetaBG | incompatExtents | incompat64Bit | incompatMMP | incompatFlexBG |
		incompatEAInode | incompatSeed | incompatLargeDir | incompatInline | incompatEncrypt | incompatCasefold

	roSparseSuper  = 0x1
	roLargeFile    = 0x2
	roHugeFile     = 0x8
	roGroupSum     = 0x10
	roMetadataSum  = 0x400
	roSharedBlocks = 0x4000
	roOrphans      = 0x10000
)

// The names are those of mke2fs.
var (
	compatNames = map[int]string{
		0: "dir_prealloc", 1: "imagic_inodes", 2: "has_journal", 3: "ext_attr", 4: "resize_inode", 5: "dir_index",
		9: "sparse_super2", 10: "fast_commit", 11: "stable_inodes", 12: "orphan_file",
	}
	incompatNames = map[int]string{
		0: "compression", 1: "filetype", 2: "needs_recovery", 3: "journal_dev", 4: "meta_bg", 6: "extent", 7: "64bit",
		8: "mmp", 9: "flex_bg", 10: "ea_inode", 12: "dirdata", 13: "metadata_csum_seed", 14: "large_dir",
		15: "inline_data", 16: "encrypt", 17: "casefold",
	}
	roNames = map[int]string{
		0: "sparse_super", 1: "large_file", 2: "btree_dir", 3: "huge_file", 4: "uninit_bg", 5: "dir_nlink", 6: "extra_isize",
		8: "quota", 9: "bigalloc", 10: "metadata_csum", 11: "replica", 12: "read-only", 13: "project", 14: "shared_blocks",
		15: "verity", 16: "orphan_present",
	}
)

// names are those of the bits of a word.
func names(word uint32, table map[int]string) []string {
	var out []string
	for ; word != 0; word &= word - 1 {
		bit := bits.TrailingZeros32(word)
		name, ok := table[bit]
		if !ok {
			name = fmt.Sprintf("%#x", uint32(1)<<bit)
		}
		out = append(out, name)
	}
	return out
}

// A Superblock is what an image says of itself.
type Superblock struct {
	BlockSize     int64
	Blocks        int64
	Inodes        uint32
	UUID          [16]byte
	VolumeName    string
	LastMounted   string
	Compat        uint32 // features that may be ignored
	Incompat      uint32 // features that must be known
	ROCompat      uint32 // features that writers must know
	InodeSize     int64
	BlocksInGroup int64
	InodesInGroup uint32

	firstBlock int64 // 1 if blocks have 1024 bytes
	descSize   int64
	firstMeta  int64 // group of descriptors that lies by itself
	backups    [2]uint32
	seed       uint32 // of checksums
}

// Features are the names of all features.
func (s *Superblock) Features() []string {
	return append(append(names(s.Compat, compatNames), names(s.Incompat, incompatNames)...), names(s.ROCompat, roNames)...)
}

// SharedBlocks reports whether files share blocks that hold the same, as AOSP's
// e2fsdroid makes them: such an image must not be written to.
func (s *Superblock) SharedBlocks() bool { return s.ROCompat&roSharedBlocks != 0 }

// FS is an ext4 image.
type FS struct {
	*fsimage.FS
	Superblock
	size  int64
	cache *fsimage.Cache
}

// Open reads the image in the first size bytes of r. An error that is not of
// reading is a [*FormatError], or wraps [ErrUnsupported] or [ErrJournal].
func Open(r io.ReaderAt, size int64) (*FS, error) {
	f := &FS{size: size, cache: fsimage.NewCache(r, size)}
	f.FS = fsimage.New("ext4", source{f}, r)
	if size < superOffset+superSize {
		return nil, bad(superOffset, "superblock: the image has %d bytes, want %d", size, superOffset+superSize)
	}
	var b [superSize]byte
	if err := readat.Full(f.cache, b[:], superOffset); err != nil {
		return nil, err
	}
	if m := binary.LittleEndian.Uint16(b[56:]); m != Magic {
		return nil, bad(superOffset+56, "magic is %#x, want %#x: not an ext4 image", m, Magic)
	}
	if err := f.features(b[:]); err != nil {
		return nil, err
	}
	if err := f.parse(b[:]); err != nil {
		return nil, err
	}
	_, err := f.Root()
	return f, err
}

// features reads which features there are, and refuses those that it does not know.
func (f *FS) features(b []byte) error {
	le := binary.LittleEndian
	switch revision := le.Uint32(b[76:]); revision {
	case 0:
		return nil
	case 1:
	default:
		return fmt.Errorf("ext4: revision %d, want 0 or 1: %w", revision, ErrUnsupported)
	}
	f.Compat, f.Incompat, f.ROCompat = le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	if f.ROCompat&roMetadataSum != 0 {
		if sum, want := superSum(b), le.Uint32(b[superSumAt:]); sum != want {
			return bad(superOffset+superSumAt, "CRC-32C of the superblock is %#x, want %#x", sum, want)
		}
		if b[373] != 1 {
			return bad(superOffset+373, "checksums of kind %d, want 1: CRC-32C", b[373])
		}
	}
	if more := f.Incompat &^ (incompatSupported | incompatRecover); more != 0 {
		return fmt.Errorf("ext4: features %s: %w", strings.Join(names(more, incompatNames), ", "), ErrUnsupported)
	}
	if f.Incompat&incompatRecover != 0 {
		return fmt.Errorf("ext4: %w", ErrJournal)
	}
	return nil
}

// parse reads the rest of the superblock.
func (f *FS) parse(b []byte) error {
	le := binary.LittleEndian
	s := &f.Superblock
	shift := le.Uint32(b[24:])
	if shift > 6 {
		return bad(superOffset+24, "blocks of 1024<<%d bytes, want at most 65536", shift)
	}
	s.BlockSize = 1024 << shift
	s.Inodes, s.Blocks = le.Uint32(b), int64(le.Uint32(b[4:]))
	s.firstBlock = int64(le.Uint32(b[20:]))
	s.BlocksInGroup, s.InodesInGroup = int64(le.Uint32(b[32:])), le.Uint32(b[40:])
	s.InodeSize, s.descSize = 128, 32
	if le.Uint32(b[76:]) > 0 {
		s.InodeSize = int64(le.Uint16(b[88:]))
		copy(s.UUID[:], b[104:])
		s.VolumeName, s.LastMounted = cString(b[120:136]), cString(b[136:200])
	}
	if s.Incompat&incompat64Bit != 0 {
		s.Blocks |= int64(le.Uint32(b[336:])) << 32
		s.descSize = int64(le.Uint16(b[254:]))
	}
	s.firstMeta = int64(le.Uint32(b[260:]))
	s.backups = [2]uint32{le.Uint32(b[0x24c:]), le.Uint32(b[0x250:])}
	if s.seed = crc(^uint32(0), s.UUID[:]); s.Incompat&incompatSeed != 0 {
		s.seed = le.Uint32(b[624:])
	}
	return f.check()
}

// check refuses a superblock that cannot be.
func (f *FS) check() error {
	s := &f.Superblock
	isPower := func(n int64) bool { return n > 0 && n&(n-1) == 0 }
	var first int64
	if s.BlockSize == superOffset {
		first = 1
	}
	groups := (s.Blocks - s.firstBlock + max(s.BlocksInGroup, 1) - 1) / max(s.BlocksInGroup, 1)
	switch {
	case s.Blocks < 0 || s.Blocks > 1<<48:
		return bad(superOffset+4, "%d blocks", uint64(s.Blocks))
	case s.Blocks*s.BlockSize > f.size:
		return bad(superOffset+4, "%d blocks of %d bytes, the image has %d bytes", s.Blocks, s.BlockSize, f.size)
	case s.firstBlock != first && s.BlockSize != superOffset || s.firstBlock > 1 || s.firstBlock >= s.Blocks:
		return bad(superOffset+20, "the first block is %d, want %d", s.firstBlock, first)
	case s.BlocksInGroup < 8 || s.BlocksInGroup > 8<<16*16:
		return bad(superOffset+32, "groups of %d blocks", s.BlocksInGroup)
	case s.InodesInGroup == 0 || int64(s.InodesInGroup) > s.BlockSize*8:
		return bad(superOffset+40, "groups of %d inodes, want 1 to %d", s.InodesInGroup, s.BlockSize*8)
	case s.Inodes == 0 || int64(s.Inodes) > groups*int64(s.InodesInGroup):
		return bad(superOffset, "%d inodes in %d groups of %d", s.Inodes, groups, s.InodesInGroup)
	case !isPower(s.InodeSize) || s.InodeSize < 128 || s.InodeSize > s.BlockSize:
		return bad(superOffset+88, "inodes of %d bytes", s.InodeSize)
	case !isPower(s.descSize) || s.descSize < 32 || s.descSize > s.BlockSize || s.Incompat&incompat64Bit != 0 && s.descSize < 64:
		return bad(superOffset+254, "group descriptors of %d bytes", s.descSize)
	}
	return nil
}

func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc is the kernel's crc32c: it does not invert.
func crc(seed uint32, p []byte) uint32 { return ^crc32.Update(^seed, castagnoli, p) }

// superSum is the checksum of a superblock.
func superSum(b []byte) uint32 { return crc(^uint32(0), b[:superSumAt]) }

// crcOf is [crc] of numbers.
func crcOf(seed uint32, numbers ...uint32) uint32 {
	for _, n := range numbers {
		seed = crc(seed, binary.LittleEndian.AppendUint32(nil, n))
	}
	return seed
}

// hasSums reports whether metadata has checksums.
func (f *FS) hasSums() bool { return f.ROCompat&roMetadataSum != 0 }

// read reads metadata.
func (f *FS) read(p []byte, off int64, what string) error {
	if off < 0 || int64(len(p)) > f.size-off {
		return bad(off, "%s: %d bytes behind the end of the image", what, len(p))
	}
	return readat.Full(f.cache, p, off)
}
