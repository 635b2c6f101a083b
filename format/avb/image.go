package avb

import (
	"crypto"
	"fmt"
	"io"
)

// A File is an image that a footer is added to; [*os.File] is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// FooterOptions says what [AddHashFooter] and [AddHashtreeFooter] make of an
// image.
type FooterOptions struct {
	PartitionName string // without slot suffix; with a hash tree it may be empty, as for an APEX
	PartitionSize int64  // bytes, a multiple of 4096: the file becomes that long; 0: as long as needed
	HashAlgorithm string // "sha256" (also if empty) or "sha512"; hashtree also "blake2b-256"
	Salt          []byte
	Flags         DescriptorFlags
	FECRoots      int // hashtree only: 2 is AOSP's; 0 for none
	// PersistentDigest leaves the digest out of the descriptor: the device
	// keeps it (avbtool's --use_persistent_digest).
	PersistentDigest bool

	// VBMeta is what goes into the image's own vbmeta image, after the new
	// descriptor; it is signed with Key and VBMeta.Algorithm, and not changed.
	// If nil, no vbmeta image and no footer are written, and a hashtree image
	// ends with its tree or FEC: the caller puts the descriptor into another
	// vbmeta image.
	VBMeta *VBMeta
	Key    crypto.Signer
}

func (o *FooterOptions) hash() string {
	if o.HashAlgorithm == "" {
		return "sha256"
	}
	return o.HashAlgorithm
}

// maxMetadata is what avbtool leaves for a vbmeta image and a footer's block.
const maxMetadata = MaxVBMetaSize + BlockSize

// MaxImageSize returns the largest image, in bytes, that fits a partition of
// o.PartitionSize bytes with what [AddHashtreeFooter] (hashtree) or
// [AddHashFooter] adds to it, as avbtool's --calc_max_image_size.
func MaxImageSize(o FooterOptions, hashtree bool) (int64, error) {
	size := o.PartitionSize
	if size%BlockSize != 0 || size < maxMetadata {
		return 0, fmt.Errorf("avb: partition %s: size of %d bytes: want a multiple of %d, at least %d", o.PartitionName, size, BlockSize, maxMetadata)
	}
	most := size - maxMetadata
	if hashtree {
		tree, err := HashtreeSize(size, o.hash())
		if err != nil {
			return 0, err
		}
		most -= tree
		if o.FECRoots > 0 {
			most -= FECSize(size, o.FECRoots) + BlockSize // of the header that the fec tool counts too
		}
	}
	if most <= 0 {
		return 0, fmt.Errorf("avb: partition %s: %d bytes leave no room for an image", o.PartitionName, size)
	}
	return most, nil
}

// check says whether an image of size bytes can be given a footer.
func (o *FooterOptions) check(size int64, hashtree bool) error {
	if o.PartitionName == "" && !hashtree { // payloads of APEXes have none
		return fmt.Errorf("avb: image: no partition name")
	}
	if size <= 0 {
		return fmt.Errorf("avb: partition %s: the image is empty", o.PartitionName)
	}
	known := hashByName
	if hashtree {
		known = treeHash
	}
	if _, err := known(o.hash()); err != nil {
		return fmt.Errorf("partition %s: %w", o.PartitionName, err)
	}
	if o.FECRoots < 0 || o.FECRoots > maxRoots {
		return fmt.Errorf("avb: partition %s: FEC with %d roots: want at most %d", o.PartitionName, o.FECRoots, maxRoots)
	}
	if o.PartitionSize == 0 {
		return nil
	}
	most, err := MaxImageSize(*o, hashtree)
	if err != nil {
		return err
	}
	if roundUp(size, BlockSize) > most {
		return fmt.Errorf("avb: partition %s: image of %d bytes exceeds %d, the most that fits %d with its AVB metadata: enlarge the partition or take something out", o.PartitionName, size, most, o.PartitionSize)
	}
	return nil
}

// AddHashFooter appends a vbmeta image with a hash descriptor, and a footer,
// to the image of size bytes in f, as "avbtool add_hash_footer" does, and
// returns the descriptor. With o.VBMeta nil, f is only read. On an error, f has
// its old size again.
func AddHashFooter(f File, size int64, o FooterOptions) (d *HashDescriptor, err error) {
	if err := o.check(size, false); err != nil {
		return nil, err
	}
	hash, err := hashByName(o.hash())
	if err != nil {
		return nil, err
	}
	h := hash.New()
	h.Write(o.Salt)
	if n, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil || n != size {
		return nil, fmt.Errorf("avb: partition %s: read %d of %d bytes: %v", o.PartitionName, n, size, err)
	}
	d = &HashDescriptor{
		ImageSize: uint64(size), HashAlgorithm: o.hash(), PartitionName: o.PartitionName,
		Salt: o.Salt, Flags: o.Flags,
	}
	if !o.PersistentDigest {
		d.Digest = h.Sum(nil)
	}
	if o.VBMeta == nil {
		return d, nil
	}
	if err := appendFooter(f, extents{size, size, roundUp(size+maxMetadata, BlockSize)}, d, o); err != nil {
		return nil, restore(f, size, o, err)
	}
	return d, nil
}

// AddHashtreeFooter appends hash tree, FEC, vbmeta image and footer to the
// image of size bytes in f, as "avbtool add_hashtree_footer" does, and returns
// the descriptor. An image that is not a multiple of 4096 is padded with zeros.
// On an error, f has its old size again.
func AddHashtreeFooter(f File, size int64, o FooterOptions) (*HashtreeDescriptor, error) {
	if err := o.check(size, true); err != nil {
		return nil, err
	}
	d, end, err := appendHashtree(f, size, o)
	if err == nil && o.VBMeta != nil {
		err = appendFooter(f, extents{size, end, 0}, d, o)
	}
	if err != nil {
		return nil, restore(f, size, o, err)
	}
	return d, nil
}

// restore undoes what was appended before err happened.
func restore(f File, size int64, o FooterOptions, err error) error {
	if terr := f.Truncate(size); terr != nil {
		return fmt.Errorf("avb: partition %s: %w (and its old size could not be restored: %v)", o.PartitionName, err, terr)
	}
	return fmt.Errorf("partition %s: %w", o.PartitionName, err)
}

// appendHashtree appends hash tree and FEC, and returns where they end.
func appendHashtree(f File, size int64, o FooterOptions) (*HashtreeDescriptor, int64, error) {
	imageSize := roundUp(size, BlockSize)
	if err := f.Truncate(size); err != nil { // nothing old behind the image
		return nil, 0, err
	}
	treeSize, err := HashtreeSize(imageSize, o.hash())
	if err != nil {
		return nil, 0, err
	}
	end := imageSize + treeSize
	if err := f.Truncate(end); err != nil {
		return nil, 0, err
	}
	root, err := WriteHashtree(io.NewOffsetWriter(f, imageSize), f, imageSize, o.hash(), o.Salt)
	if err != nil {
		return nil, 0, err
	}
	d := &HashtreeDescriptor{
		DMVerityVersion: 1, ImageSize: uint64(imageSize), TreeOffset: uint64(imageSize), TreeSize: uint64(treeSize),
		DataBlockSize: BlockSize, HashBlockSize: BlockSize, HashAlgorithm: o.hash(),
		PartitionName: o.PartitionName, Salt: o.Salt, RootDigest: root, Flags: o.Flags,
	}
	if o.PersistentDigest {
		d.RootDigest = nil
	}
	if o.FECRoots > 0 {
		if err := WriteFEC(io.NewOffsetWriter(f, end), f, end, o.FECRoots); err != nil {
			return nil, 0, err
		}
		d.FECRoots, d.FECOffset, d.FECSize = uint32(o.FECRoots), uint64(end), uint64(FECSize(end, o.FECRoots))
		end += int64(d.FECSize)
	}
	return d, end, nil
}

// extents tells appendFooter where things are, in bytes.
type extents struct {
	original int64 // size of the image before anything was appended
	content  int64 // end of what was
	total    int64 // size of the partition if o.PartitionSize is 0; 0: right behind the vbmeta image
}

// appendFooter writes the vbmeta image after the content, and the footer at
// the partition's end.
func appendFooter(f File, at extents, d Descriptor, o FooterOptions) error {
	m := *o.VBMeta
	m.Descriptors = append([]Descriptor{d}, m.Descriptors...)
	if err := m.Sign(o.Key, m.Algorithm); err != nil {
		return err
	}
	blob, err := m.Bytes()
	if err != nil {
		return err
	}
	off := roundUp(at.content, BlockSize)
	total := at.total
	switch {
	case o.PartitionSize > 0:
		total = o.PartitionSize
	case total == 0:
		total = off + roundUp(int64(len(blob)), BlockSize) + BlockSize
	}
	footer := Footer{uint64(at.original), uint64(off), uint64(len(blob))}
	for _, step := range []func() error{
		func() error { return f.Truncate(at.content) }, // nothing old behind it,
		func() error { return f.Truncate(total) },      // so this adds zeros
		func() error { _, err := f.WriteAt(blob, off); return err },
		func() error { _, err := f.WriteAt(footer.Bytes(), total-FooterSize); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
