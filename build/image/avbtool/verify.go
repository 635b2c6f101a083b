package avbtool

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/format/avb"
)

// VerifyOptions say what [Verify] wants of an image.
type VerifyOptions struct {
	Key []byte // in AVB's encoding, that must have signed it; nil: any
	// Chains are the chain partitions that the image may have, by partition.
	Chains map[string]*avb.ChainPartitionDescriptor
	// Follow verifies the images of chain partitions too, each against the key
	// that its descriptor names.
	Follow bool
	// AcceptZeroed takes hash trees that are zeroed or left out, if the data has
	// the right root digest.
	AcceptZeroed bool
}

// A Check is something that holds of an image.
type Check struct {
	// Kind is vbmeta, hash, hashtree, chain, chained (a chain of which nothing
	// was expected) or follow (a chain's image comes next).
	Kind      string `json:"kind"`
	File      string `json:"file"`
	Partition string `json:"partition,omitempty"` // of a descriptor
	Algorithm string `json:"algorithm,omitempty"` // of a signature or digest
	Size      uint64 `json:"size,omitempty"`      // bytes that the digest is over
	Footer    bool   `json:"footer,omitempty"`    // vbmeta: the image has one
	Zeroed    bool   `json:"zeroed,omitempty"`    // hashtree: is not stored
	KeySHA1   string `json:"key_sha1,omitempty"`  // vbmeta: of the key that signed it; chained: of the key that must
	Location  uint32 `json:"rollback_index_location,omitempty"`
}

// Verify checks the image file: its vbmeta image's signature, and each
// descriptor against the partition's image in the same folder, as "avbtool
// verify_image" does. It tells found of what holds, and returns an error that
// wraps [mios.ErrDenied] at the first thing that does not.
func Verify(ctx context.Context, name string, o VerifyOptions, p Progress, found func(Check)) error {
	m, err := Open(name)
	if err != nil {
		return err
	}
	defer m.Close()
	v, err := m.verifyVBMeta(o.Key, found)
	if err != nil {
		return err
	}
	for _, d := range v.Descriptors {
		switch d := d.(type) {
		case *avb.HashDescriptor:
			err = verifyPart(ctx, m, d.PartitionName, func(part *Image) error { return verifyHash(ctx, part, d, p, found) })
		case *avb.HashtreeDescriptor:
			err = verifyPart(ctx, m, d.PartitionName, func(part *Image) error { return verifyTree(ctx, part, d, o.AcceptZeroed, p, found) })
		case *avb.ChainPartitionDescriptor:
			err = verifyChain(ctx, m, d, o, p, found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// VerifyDescriptor checks the first size bytes of r, which are an image called
// name in errors, against a hash or hash tree descriptor, whatever partition
// that names. The error wraps [mios.ErrDenied] if they do not match.
func VerifyDescriptor(ctx context.Context, name string, r io.ReaderAt, size int64, d avb.Descriptor, o VerifyOptions, p Progress) error {
	m := &Image{Name: name, Size: size, BlockSize: avb.BlockSize, reader: r}
	switch d := d.(type) {
	case *avb.HashDescriptor:
		return verifyHash(ctx, m, d, p, func(Check) {})
	case *avb.HashtreeDescriptor:
		return verifyTree(ctx, m, d, o.AcceptZeroed, p, func(Check) {})
	}
	return fmt.Errorf("%s: a descriptor without a digest of an image", name)
}

// refuse is the error of an image that is not as its metadata says.
func refuse(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %w", name, mios.ErrDenied, fmt.Errorf(format, args...))
}

// verifyVBMeta checks the signature.
func (m *Image) verifyVBMeta(key []byte, found func(Check)) (*Metadata, error) {
	raw, footer, err := avb.Read(m, m.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: it is neither a vbmeta image nor an image with a footer: %w", m.Name, err)
	}
	result, signer := avb.VerifyVBMeta(raw)
	if result != avb.VerifyOK && result != avb.VerifyOKNotSigned {
		return nil, refuse(m.Name, "its vbmeta image does not verify: %v", result)
	}
	if key != nil && !bytes.Equal(key, signer) {
		if signer == nil {
			return nil, refuse(m.Name, "it is not signed, and a key was wanted")
		}
		return nil, refuse(m.Name, "it is signed with another key, whose SHA-1 is %s", keySHA1(signer))
	}
	v, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	found(Check{Kind: "vbmeta", File: m.Name, Algorithm: v.Algorithm.String(), Footer: footer != nil, KeySHA1: keySHA1(signer)})
	return v, nil
}

// verifyPart calls verify with the image of a partition: that in the same
// folder, or the one that names none.
func verifyPart(ctx context.Context, m *Image, partition string, verify func(part *Image) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if partition == "" {
		return verify(m)
	}
	name, err := Sibling(m.Name, partition)
	if err != nil {
		return err
	}
	return open(name, verify)
}

func verifyHash(ctx context.Context, m *Image, d *avb.HashDescriptor, p Progress, found func(Check)) error {
	h, err := avb.NewHash(d.HashAlgorithm)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	if d.ImageSize > uint64(m.Size) {
		return refuse(m.Name, "the descriptor is of %d bytes, there are %d", d.ImageSize, m.Size)
	}
	h.Write(d.Salt)
	size := int64(d.ImageSize)
	r := io.NewSectionReader(counted(ctx, m, size, p), 0, size)
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	if sum := h.Sum(nil); len(d.Digest) > 0 && !bytes.Equal(sum, d.Digest) {
		return refuse(m.Name, "its %s digest is %x, the descriptor's %x: it has been changed since it was signed", d.HashAlgorithm, sum, d.Digest)
	}
	found(Check{Kind: "hash", File: m.Name, Partition: d.PartitionName, Algorithm: d.HashAlgorithm, Size: d.ImageSize})
	return nil
}

func verifyTree(ctx context.Context, m *Image, d *avb.HashtreeDescriptor, acceptZeroed bool, p Progress, found func(Check)) error {
	c := Check{Kind: "hashtree", File: m.Name, Partition: d.PartitionName, Algorithm: d.HashAlgorithm, Size: d.ImageSize}
	if d.ImageSize > uint64(m.Size) || d.TreeOffset > uint64(m.Size) {
		return refuse(m.Name, "the descriptor is of %d bytes and a hash tree at %d, there are %d", d.ImageSize, d.TreeOffset, m.Size)
	}
	r := counted(ctx, m, int64(d.ImageSize), p)
	mark := make([]byte, len(zeroMark))
	_, _ = m.ReadAt(mark, int64(d.TreeOffset))                                  // too little is no mark
	leftOut := d.TreeSize == 0 && (acceptZeroed || d.ImageSize > avb.BlockSize) // one block has no tree
	c.Zeroed = leftOut || string(mark) == zeroMark
	var err error
	switch {
	case c.Zeroed && !acceptZeroed:
		return refuse(m.Name, "its hash tree is zeroed: --accept_zeroed_hashtree takes that")
	case c.Zeroed:
		err = rootIs(discard{}, r, d)
	case len(d.RootDigest) == 0: // the device keeps it
		err = rootIs(&comparer{r: m, off: int64(d.TreeOffset)}, r, d)
	default:
		err = avb.VerifyHashtree(r, d)
	}
	if corrupt := new(avb.CorruptError); errors.As(err, &corrupt) || errors.Is(err, errDiffers) {
		return refuse(m.Name, "%v: mios avb repair repairs it if it has FEC", err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	found(c)
	return nil
}

// rootIs computes the hash tree, writes it to w, and compares its root with
// the descriptor's, if that has one.
func rootIs(w io.WriterAt, r io.ReaderAt, d *avb.HashtreeDescriptor) error {
	root, err := avb.WriteHashtree(w, r, int64(d.ImageSize), d.HashAlgorithm, d.Salt)
	if err == nil && len(d.RootDigest) > 0 && !bytes.Equal(root, d.RootDigest) {
		err = fmt.Errorf("the root digest is %x, the descriptor's %x: %w", root, d.RootDigest, errDiffers)
	}
	return err
}

var errDiffers = errors.New("data and hash tree differ")

// comparer is an [io.WriterAt] that wants to be written what r holds from off
// on.
type comparer struct {
	r   io.ReaderAt
	off int64
}

func (c *comparer) WriteAt(b []byte, off int64) (int, error) {
	have := make([]byte, len(b))
	if _, err := c.r.ReadAt(have, c.off+off); err != nil {
		return 0, err
	}
	if !bytes.Equal(have, b) {
		return 0, fmt.Errorf("hash tree at offset %#x: %w", c.off+off, errDiffers)
	}
	return len(b), nil
}

func verifyChain(ctx context.Context, m *Image, d *avb.ChainPartitionDescriptor, o VerifyOptions, p Progress, found func(Check)) error {
	c := Check{Kind: "chain", File: m.Name, Partition: d.PartitionName, KeySHA1: keySHA1(d.PublicKey), Location: d.RollbackIndexLocation}
	want := o.Chains[d.PartitionName]
	switch {
	case want == nil && o.Follow:
		c.Kind = "chained"
	case want == nil:
		return refuse(m.Name, "chain partition %s: nothing was said of it: --expected_chain_partition %s:%d:KEY says what is wanted, --follow_chain_partitions verifies its image", d.PartitionName, d.PartitionName, d.RollbackIndexLocation)
	case want.RollbackIndexLocation != d.RollbackIndexLocation:
		return refuse(m.Name, "chain partition %s: rollback index location %d, want %d", d.PartitionName, d.RollbackIndexLocation, want.RollbackIndexLocation)
	case !bytes.Equal(want.PublicKey, d.PublicKey):
		return refuse(m.Name, "chain partition %s: another key than wanted, whose SHA-1 is %s", d.PartitionName, c.KeySHA1)
	}
	found(c)
	if !o.Follow {
		return nil
	}
	name, err := Sibling(m.Name, d.PartitionName)
	if err != nil {
		return err
	}
	found(Check{Kind: "follow", File: name, Partition: d.PartitionName})
	// A chained image has no chains of its own that a loader would follow.
	return Verify(ctx, name, VerifyOptions{Key: d.PublicKey, AcceptZeroed: o.AcceptZeroed}, p, found)
}

func keySHA1(key []byte) string {
	if key == nil {
		return ""
	}
	sum := sha1.Sum(key)
	return hex.EncodeToString(sum[:])
}

// WriteAVBTool writes what "avbtool verify_image" prints of it.
func (c Check) WriteAVBTool(w io.Writer) {
	switch c.Kind {
	case "vbmeta":
		footer := ""
		if c.Footer {
			footer = "footer and "
		}
		fmt.Fprintf(w, "vbmeta: Successfully verified %s%s vbmeta struct in %s\n", footer, c.Algorithm, c.File)
	case "hash", "hashtree":
		if c.Zeroed {
			fmt.Fprintf(w, "%s: skipping verification since hashtree is zeroed and --accept_zeroed_hashtree was given\n", c.Partition)
			return
		}
		fmt.Fprintf(w, "%s: Successfully verified %s %s of %s for image of %d bytes\n", c.Partition, c.Algorithm, c.Kind, c.File, c.Size)
	case "chain":
		fmt.Fprintf(w, "%s: Successfully verified chain partition descriptor matches expected data\n", c.Partition)
	case "follow":
		fmt.Fprintf(w, "--\nVerifying image %s using embedded public key\n", c.File)
	case "chained":
		fmt.Fprintf(w, "%s: Chained but ROLLBACK_SLOT (which is %d) and KEY (which has sha1 %s) not specified\n", c.Partition, c.Location, c.KeySHA1)
	}
}
