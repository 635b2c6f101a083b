package avb

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // for hash trees of AOSP's older images
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"hash"
	"io"

	_ "golang.org/x/crypto/blake2b"

	"mios/internal/readat"
)

// hashByName returns the hash function that a descriptor of a digest names.
func hashByName(name string) (crypto.Hash, error) {
	switch name {
	case "sha1":
		return crypto.SHA1, nil
	case "sha256":
		return crypto.SHA256, nil
	case "sha512":
		return crypto.SHA512, nil
	}
	return 0, fmt.Errorf("avb: hash algorithm %q: unknown; use sha256 or sha512", name)
}

// treeHash returns the hash function that a descriptor of a tree names: there
// AOSP has one more, which takes a fifth of SHA-256's instructions.
func treeHash(name string) (crypto.Hash, error) {
	if name == "blake2b-256" {
		return crypto.BLAKE2b_256, nil
	}
	return hashByName(name)
}

// NewHash returns the hash function that a descriptor of a digest may name:
// sha1, sha256 or sha512.
func NewHash(name string) (hash.Hash, error) {
	h, err := hashByName(name)
	if err != nil {
		return nil, err
	}
	return h.New(), nil
}

// NewTreeHash returns the hash function that a descriptor of a hash tree may
// name: those of [NewHash] and blake2b-256.
func NewTreeHash(name string) (hash.Hash, error) {
	h, err := treeHash(name)
	if err != nil {
		return nil, err
	}
	return h.New(), nil
}

// A tree is the shape of a dm-verity hash tree of version 1 with blocks of
// 4096 bytes: level 0 holds the digests of the data blocks, each further one
// those of the level below, and the last is one block, whose digest is the
// root. On disk the last level comes first.
type tree struct {
	hash   crypto.Hash
	salt   []byte
	stride int64   // bytes that a digest takes in a tree block: a power of two
	blocks int64   // of data
	sizes  []int64 // of the levels, in bytes
	size   int64   // of all levels
}

func newTree(imageSize int64, hash string, salt []byte) (*tree, error) {
	h, err := treeHash(hash)
	if err != nil {
		return nil, err
	}
	if imageSize <= 0 || imageSize%BlockSize != 0 {
		return nil, fmt.Errorf("avb: hash tree: image of %d bytes, want a multiple of %d", imageSize, BlockSize)
	}
	t := &tree{hash: h, salt: salt, stride: stride(h), blocks: imageSize / BlockSize}
	for size := imageSize; size > BlockSize; {
		size = roundUp(size/BlockSize*t.stride, BlockSize)
		t.sizes = append(t.sizes, size)
		t.size += size
	}
	return t, nil
}

// stride returns the digest's size, rounded up to a power of two.
func stride(h crypto.Hash) int64 {
	n := int64(1)
	for n < int64(h.Size()) {
		n *= 2
	}
	return n
}

// offset returns where in the tree a level starts, in bytes.
func (t *tree) offset(level int) (off int64) {
	for _, size := range t.sizes[level+1:] {
		off += size
	}
	return off
}

// hasher computes digests of blocks, without allocating.
type hasher struct {
	h    hash.Hash
	salt []byte
	zero []byte // digest of a block of zeros, of which images have many
}

func (t *tree) hasher() *hasher {
	h := &hasher{h: t.hash.New(), salt: t.salt}
	zero := make([]byte, h.h.Size())
	h.sum(zero, zeroBlock[:])
	h.zero = zero
	return h
}

// zeroBlock is what a hole reads as.
var zeroBlock [BlockSize]byte

// sum writes the digest of the block to dst.
func (h *hasher) sum(dst, block []byte) {
	if h.zero != nil && bytes.Equal(block, zeroBlock[:]) {
		copy(dst, h.zero)
		return
	}
	h.h.Reset()
	h.h.Write(h.salt)
	h.h.Write(block)
	h.h.Sum(dst[:0])
}

// HashtreeSize returns the size in bytes of the dm-verity tree over an image
// of imageSize bytes, a multiple of 4096.
func HashtreeSize(imageSize int64, hash string) (int64, error) {
	t, err := newTree(imageSize, hash, nil)
	if err != nil {
		return 0, err
	}
	return t.size, nil
}

// WriteHashtree computes the dm-verity tree over the first imageSize bytes of
// r (a multiple of 4096), writes it to w from its offset 0 on, and returns the
// root digest. An image of one block has no tree. It uses all processors and
// little memory: 1/16384 of the image with SHA-256.
func WriteHashtree(w io.WriterAt, r io.ReaderAt, imageSize int64, hash string, salt []byte) (root []byte, err error) {
	t, err := newTree(imageSize, hash, salt)
	if err != nil {
		return nil, err
	}
	if err := readat.Full(r, make([]byte, 1), imageSize-1); err != nil { // before memory is taken for it
		return nil, fmt.Errorf("avb: hash tree: %w", err)
	}
	level, err := t.writeLevel0(w, r)
	if err != nil {
		return nil, fmt.Errorf("avb: hash tree: %w", err)
	}
	h := t.hasher()
	for i := 1; i < len(t.sizes); i++ {
		if _, err := w.WriteAt(level, t.offset(i)); err != nil {
			return nil, fmt.Errorf("avb: hash tree: %w", err)
		}
		level = t.levelOver(h, level)
	}
	return level[:t.hash.Size()], nil
}

// levelOver returns the digests of a level's blocks, as the next level holds
// them.
func (t *tree) levelOver(h *hasher, level []byte) []byte {
	next := make([]byte, roundUp(int64(len(level))/BlockSize*t.stride, BlockSize))
	for i := int64(0); i*BlockSize < int64(len(level)); i++ {
		h.sum(next[i*t.stride:][:t.hash.Size()], level[i*BlockSize:][:BlockSize])
	}
	return next
}

// chunkTreeBlocks is how many blocks of level 0 are computed at a time.
const chunkTreeBlocks = 2

// writeLevel0 hashes the data, writes level 0, and returns level 1, or the
// root digest if there is none.
func (t *tree) writeLevel0(w io.WriterAt, r io.ReaderAt) ([]byte, error) {
	if len(t.sizes) == 0 {
		block, root := make([]byte, BlockSize), make([]byte, t.hash.Size())
		if err := readat.Full(r, block, 0); err != nil {
			return nil, err
		}
		t.hasher().sum(root, block)
		return root, nil
	}
	treeBlocks := t.sizes[0] / BlockSize
	next := make([]byte, roundUp(treeBlocks*t.stride, BlockSize))
	off := t.offset(0)
	err := parallel(int((treeBlocks+chunkTreeBlocks-1)/chunkTreeBlocks), func() func(int) error {
		h, buf := t.hasher(), t.newChunk()
		return func(i int) error {
			level, data, err := t.readChunk(r, i, buf)
			if err != nil {
				return err
			}
			clear(level)
			for j := int64(0); j*BlockSize < int64(len(data)); j++ {
				h.sum(level[j*t.stride:][:t.hash.Size()], data[j*BlockSize:][:BlockSize])
			}
			first := int64(i) * chunkTreeBlocks
			for j := int64(0); j*BlockSize < int64(len(level)); j++ {
				h.sum(next[(first+j)*t.stride:][:t.hash.Size()], level[j*BlockSize:][:BlockSize])
			}
			_, err = w.WriteAt(level, off+first*BlockSize)
			return err
		}
	})
	return next, err
}

// chunk is a worker's memory: some blocks of level 0, and the data below them.
type chunk struct{ level, data []byte }

func (t *tree) newChunk() chunk {
	data := chunkTreeBlocks * BlockSize / t.stride * BlockSize
	return chunk{make([]byte, chunkTreeBlocks*BlockSize), make([]byte, min(data, t.blocks*BlockSize))}
}

// readChunk reads the data of chunk i; level is the memory for its blocks of
// level 0.
func (t *tree) readChunk(r io.ReaderAt, i int, c chunk) (level, data []byte, err error) {
	dataOff := int64(i) * chunkTreeBlocks * BlockSize / t.stride * BlockSize
	data = c.data[:min(int64(len(c.data)), t.blocks*BlockSize-dataOff)]
	levelOff := int64(i) * chunkTreeBlocks * BlockSize
	level = c.level[:min(int64(len(c.level)), t.sizes[0]-levelOff)]
	return level, data, readat.Full(r, data, dataOff)
}

// A CorruptError names the first block of a partition that does not match its
// hash tree.
type CorruptError struct {
	Partition string // without slot suffix
	Off       int64  // of the block, in bytes from the partition's start
	Tree      bool   // the block is one of the hash tree, not of the data
}

func (e *CorruptError) Error() string {
	what := "data"
	if e.Tree {
		what = "hash tree"
	}
	return fmt.Sprintf("avb: partition %s: %s block at offset %#x (block %d) is corrupt", e.Partition, what, e.Off, e.Off/BlockSize)
}

// VerifyHashtree checks all that dm-verity would check, if all of the
// descriptor's partition were read: the stored tree against the root digest
// and the data against the tree. The error is a [*CorruptError] if a block
// differs.
func VerifyHashtree(r io.ReaderAt, d *HashtreeDescriptor) error {
	t, err := d.tree()
	if err != nil {
		return err
	}
	if err := readat.Full(r, make([]byte, 1), int64(d.ImageSize)-1); err != nil { // before memory is taken for it
		return fmt.Errorf("avb: partition %s: data of %d bytes: %w", d.PartitionName, d.ImageSize, err)
	}
	// digests holds what the blocks of the level below must hash to.
	digests := make([]byte, BlockSize)
	copy(digests, d.RootDigest)
	h, sum := t.hasher(), make([]byte, t.hash.Size())
	for i := len(t.sizes) - 1; i > 0; i-- {
		off := int64(d.TreeOffset) + t.offset(i)
		level := make([]byte, t.sizes[i])
		if err := readat.Full(r, level, off); err != nil {
			return fmt.Errorf("avb: partition %s: hash tree: %w", d.PartitionName, err)
		}
		if bad := t.firstBad(h, sum, level, digests); bad >= 0 {
			return &CorruptError{d.PartitionName, off + bad, true}
		}
		digests = level
	}
	if len(t.sizes) == 0 {
		block := make([]byte, BlockSize)
		if err := readat.Full(r, block, 0); err != nil {
			return fmt.Errorf("avb: partition %s: %w", d.PartitionName, err)
		}
		if t.firstBad(h, sum, block, digests) >= 0 {
			return &CorruptError{d.PartitionName, 0, false}
		}
		return nil
	}
	return t.verifyLevel0(r, d, digests)
}

// verifyLevel0 checks level 0 against the digests of its blocks, and the data
// against level 0.
func (t *tree) verifyLevel0(r io.ReaderAt, d *HashtreeDescriptor, digests []byte) error {
	treeBlocks := t.sizes[0] / BlockSize
	base := int64(d.TreeOffset) + t.offset(0)
	return parallel(int((treeBlocks+chunkTreeBlocks-1)/chunkTreeBlocks), func() func(int) error {
		h, sum, buf := t.hasher(), make([]byte, t.hash.Size()), t.newChunk()
		return func(i int) error {
			level, data, err := t.readChunk(r, i, buf)
			if err != nil {
				return fmt.Errorf("avb: partition %s: %w", d.PartitionName, err)
			}
			off := base + int64(i)*chunkTreeBlocks*BlockSize
			if err := readat.Full(r, level, off); err != nil {
				return fmt.Errorf("avb: partition %s: hash tree: %w", d.PartitionName, err)
			}
			if bad := t.firstBad(h, sum, level, digests[int64(i)*chunkTreeBlocks*t.stride:]); bad >= 0 {
				return &CorruptError{d.PartitionName, off + bad, true}
			}
			if bad := t.firstBad(h, sum, data, level); bad >= 0 {
				return &CorruptError{d.PartitionName, int64(i)*chunkTreeBlocks*BlockSize/t.stride*BlockSize + bad, false}
			}
			return nil
		}
	})
}

// firstBad returns the offset of the first of the blocks that does not hash to
// its digest, or -1.
func (t *tree) firstBad(h *hasher, sum, blocks, digests []byte) int64 {
	for i := int64(0); i*BlockSize < int64(len(blocks)); i++ {
		h.sum(sum, blocks[i*BlockSize:][:BlockSize])
		if !bytes.Equal(sum, digests[i*t.stride:][:len(sum)]) {
			return i * BlockSize
		}
	}
	return -1
}

// tree returns the shape of the tree that the descriptor tells of, if it is
// one that this package knows.
func (d *HashtreeDescriptor) tree() (*tree, error) {
	const most = 1 << 50 // bytes; keeps sums from wrapping
	if d.DMVerityVersion != 1 || d.DataBlockSize != BlockSize || d.HashBlockSize != BlockSize {
		return nil, fmt.Errorf("avb: partition %s: hash tree of version %d with blocks of %d and %d bytes: want version 1 and %d", d.PartitionName, d.DMVerityVersion, d.DataBlockSize, d.HashBlockSize, BlockSize)
	}
	if d.ImageSize > most || d.TreeOffset > most {
		return nil, fmt.Errorf("avb: partition %s: hash tree at %d over %d bytes: too large", d.PartitionName, d.TreeOffset, d.ImageSize)
	}
	t, err := newTree(int64(d.ImageSize), d.HashAlgorithm, d.Salt)
	if err != nil {
		return nil, fmt.Errorf("partition %s: %w", d.PartitionName, err)
	}
	if t.size != int64(d.TreeSize) || len(d.RootDigest) != t.hash.Size() {
		return nil, fmt.Errorf("avb: partition %s: hash tree of %d bytes with a root digest of %d, want %d and %d", d.PartitionName, d.TreeSize, len(d.RootDigest), t.size, t.hash.Size())
	}
	return t, nil
}

// Check says whether dm-verity can be put over a partition of that many bytes
// as the descriptor says: version and sizes are known ones, and data, tree and
// parity lie in the partition.
func (d *HashtreeDescriptor) Check(partitionSize int64) error {
	t, err := d.tree()
	if err != nil {
		return err
	}
	size := uint64(partitionSize)
	if d.ImageSize > size || !(extent{d.TreeOffset, d.TreeSize}).within(size) || !(extent{d.FECOffset, d.FECSize}).within(size) {
		return fmt.Errorf("avb: partition %s: data, hash tree or FEC pass its end at %d", d.PartitionName, size)
	}
	if d.TreeOffset%BlockSize != 0 || d.FECOffset%BlockSize != 0 || d.FECRoots > maxRoots || t.blocks == 0 {
		return fmt.Errorf("avb: partition %s: hash tree at %d, FEC at %d with %d roots: want multiples of %d", d.PartitionName, d.TreeOffset, d.FECOffset, d.FECRoots, BlockSize)
	}
	return nil
}
