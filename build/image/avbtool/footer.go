package avbtool

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync/atomic"

	"mios/format/avb"
	"mios/internal/atomicfile"
)

// FooterOptions say what is added to an image.
type FooterOptions struct {
	Content
	Output        string // file to make; "": the image's own is replaced
	PartitionName string // without slot suffix
	PartitionSize int64  // bytes; 0: as much as is needed
	HashAlgorithm string
	Salt          []byte // nil: a random one, as long as a digest
	Flags         avb.DescriptorFlags
	// PersistentDigest leaves the digest out of the descriptor: the device
	// keeps it.
	PersistentDigest bool
	OutputVBMeta     string // file for the vbmeta image too
	NoVBMeta         bool   // the image gets no vbmeta image and no footer

	// Of hash trees only:
	FECRoots int // 2 is AOSP's; 0 for none
	// InPlace writes behind the image in its own file, without a copy, if that is
	// a plain image without a footer. An error leaves the file as it was; a
	// power cut may leave a part behind the image. Who wants the result to be
	// durable syncs the file.
	InPlace bool
	// FECOfFile makes the FEC of a sparse image as avbtool does: over the bytes
	// of the sparse file, with which no device can do anything.
	FECOfFile     bool
	NoHashtree    bool // the tree is computed, but not stored
	SetupAsRootfs bool // kernel command lines that mount the image are added
}

// metadataRoom is what avbtool leaves for a vbmeta image and a footer's block.
const metadataRoom = avb.MaxVBMetaSize + avb.BlockSize

// MaxImageSize returns the largest image, in bytes, that the partition takes
// with what is added, a hash tree (hashtree) or a hash.
func (o *FooterOptions) MaxImageSize(hashtree bool) (int64, error) {
	if hashtree && o.PartitionSize == 0 {
		return 0, nil
	}
	return avb.MaxImageSize(avb.FooterOptions{
		PartitionName: o.PartitionName, PartitionSize: o.PartitionSize, HashAlgorithm: o.HashAlgorithm, FECRoots: o.FECRoots,
	}, hashtree && !o.NoHashtree)
}

// RequiredMinor returns the minor version of AVB 1 that a loader must know.
func (o *FooterOptions) RequiredMinor() (uint32, error) {
	c := o.Content
	c.Include = nil
	minor, err := c.RequiredMinor()
	if o.PersistentDigest || o.Flags != 0 {
		minor = max(minor, 1)
	}
	return minor, err
}

// original returns the size of the image without a footer and what comes with
// it, in bytes.
func (m *Image) original() (int64, error) {
	f, err := m.Footer()
	if err != nil || f == nil {
		return m.Size, err
	}
	return int64(f.OriginalImageSize), nil
}

// fits says whether an image of size bytes may become one of the partition.
func (o *FooterOptions) fits(m *Image, size int64, hashtree bool) error {
	if o.PartitionSize == 0 {
		return nil
	}
	if o.PartitionSize%m.BlockSize != 0 {
		return fmt.Errorf("%s: partition of %d bytes: want a multiple of %d", m.Name, o.PartitionSize, m.BlockSize)
	}
	most, err := o.MaxImageSize(hashtree)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	if size > most {
		return fmt.Errorf("%s: %d bytes are more than the %d that fit a partition of %d bytes with its AVB metadata: enlarge the partition, or take something out", m.Name, size, most, o.PartitionSize)
	}
	return nil
}

// salt returns the salt to use.
func (o *FooterOptions) salt(digestSize int) []byte {
	if o.Salt != nil || o.PersistentDigest {
		return o.Salt
	}
	b := make([]byte, digestSize)
	_, _ = rand.Read(b) // never fails
	return b
}

// AddHash adds a footer with the digest of the whole image to the image file,
// as "avbtool add_hash_footer" does, and returns the descriptor. A footer that
// is there already is replaced.
func AddHash(ctx context.Context, name string, o FooterOptions, p Progress) (*avb.HashDescriptor, error) {
	m, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	size, err := m.original()
	if err != nil {
		return nil, err
	}
	if o.PartitionSize == 0 {
		o.PartitionSize = roundUp(size+metadataRoom, m.BlockSize)
	}
	if o.PartitionName == "" {
		return nil, fmt.Errorf("%s: no partition name: give --partition_name", name)
	}
	if err := o.fits(m, size, false); err != nil {
		return nil, err
	}
	d, err := o.hash(ctx, m, size, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	vbmeta, err := o.encode(d, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.NoVBMeta {
		return d, o.writeVBMeta(vbmeta)
	}
	return d, rewrite(ctx, m, o.Output, size, 0, nil, func(t *draft) error {
		if err := t.pad(m.BlockSize); err != nil {
			return err
		}
		if err := o.appendFooter(t, size, vbmeta); err != nil {
			return err
		}
		return o.writeVBMeta(vbmeta)
	})
}

// hash returns the descriptor of the first size bytes.
func (o *FooterOptions) hash(ctx context.Context, m *Image, size int64, p Progress) (*avb.HashDescriptor, error) {
	h, err := avb.NewHash(o.HashAlgorithm)
	if err != nil {
		return nil, err
	}
	d := &avb.HashDescriptor{
		ImageSize: uint64(size), HashAlgorithm: o.HashAlgorithm, PartitionName: o.PartitionName,
		Salt: o.salt(h.Size()), Flags: o.Flags,
	}
	h.Write(d.Salt)
	r := io.NewSectionReader(counted(ctx, m, size, p), 0, size)
	if n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 1<<20)); err != nil || n != size {
		return nil, fmt.Errorf("read %d of %d bytes: %w", n, size, err)
	}
	if !o.PersistentDigest {
		d.Digest = h.Sum(nil)
	}
	return d, nil
}

func (o *FooterOptions) writeVBMeta(b []byte) error {
	if o.OutputVBMeta == "" {
		return nil
	}
	return atomicfile.WriteBytes(o.OutputVBMeta, b, 0o644)
}

// appendFooter appends the vbmeta image and the footer, to fill the partition.
func (o *FooterOptions) appendFooter(t *draft, original int64, vbmeta []byte) error {
	footer := &avb.Footer{OriginalImageSize: uint64(original), VBMetaOffset: uint64(t.size), VBMetaSize: uint64(len(vbmeta))}
	if err := t.append(padded(vbmeta, t.old.BlockSize)); err != nil {
		return err
	}
	if o.PartitionSize > 0 {
		if err := t.hole(o.PartitionSize - t.size - t.old.BlockSize); err != nil {
			return err
		}
	}
	return t.append(footerBlock(footer, t.old.BlockSize))
}

// footerBlock is a block that ends with the footer.
func footerBlock(f *avb.Footer, block int64) []byte {
	b := make([]byte, block)
	copy(b[block-avb.FooterSize:], f.Bytes())
	return b
}

// padded returns b with zeros up to a multiple of block bytes.
func padded(b []byte, block int64) []byte {
	return append(b[:len(b):len(b)], make([]byte, roundUp(int64(len(b)), block)-int64(len(b)))...)
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// AddHashtree adds a hash tree, FEC and a footer to the image file, as "avbtool
// add_hashtree_footer" does, and returns the descriptor. A footer that is there
// already is replaced, with the tree before it. It takes little memory: 1/16384
// of the image with SHA-256.
func AddHashtree(ctx context.Context, name string, o FooterOptions, p Progress) (*avb.HashtreeDescriptor, error) {
	m, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	original, err := m.original()
	if err != nil {
		return nil, err
	}
	if o.PartitionSize == 0 && m.Size%m.BlockSize != 0 {
		return nil, fmt.Errorf("%s: %d bytes: want a multiple of %d, or a --partition_size", name, m.Size, m.BlockSize)
	}
	size := roundUp(original, avb.BlockSize)
	if err := o.fits(m, size, true); err != nil {
		return nil, err
	}
	var d *avb.HashtreeDescriptor
	total := size
	if o.FECRoots > 0 && !o.NoHashtree {
		total *= 2
	}
	write := rewrite
	if o.InPlace && o.Output == "" && !m.Sparse() && original == m.Size {
		write = extend
	}
	err = write(ctx, m, o.Output, original, total, p, func(t *draft) (err error) {
		if err := t.pad(avb.BlockSize); err != nil {
			return err
		}
		if d, err = o.appendTree(t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var rootfs *avb.HashtreeDescriptor
		if o.SetupAsRootfs {
			rootfs = d
		}
		vbmeta, err := o.encode(d, rootfs)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !o.NoVBMeta {
			if err := o.appendFooter(t, original, vbmeta); err != nil {
				return err
			}
		}
		return o.writeVBMeta(vbmeta)
	})
	return d, err
}

// appendTree appends hash tree and FEC.
func (o *FooterOptions) appendTree(t *draft) (*avb.HashtreeDescriptor, error) {
	h, err := avb.NewTreeHash(o.HashAlgorithm)
	if err != nil {
		return nil, err
	}
	size := t.size
	d := &avb.HashtreeDescriptor{
		DMVerityVersion: 1, ImageSize: uint64(size), TreeOffset: uint64(size),
		DataBlockSize: avb.BlockSize, HashBlockSize: avb.BlockSize, HashAlgorithm: o.HashAlgorithm,
		PartitionName: o.PartitionName, Salt: o.salt(h.Size()), Flags: o.Flags,
	}
	r := &meter{t, t.ctx, t.step}
	var w io.WriterAt = discard{}
	if !o.NoHashtree {
		n, err := avb.HashtreeSize(size, o.HashAlgorithm)
		if err != nil {
			return nil, err
		}
		d.TreeSize = uint64(n)
		if n > 0 {
			if w, err = t.space(roundUp(n, t.old.BlockSize)); err != nil {
				return nil, err
			}
		}
	}
	root, err := avb.WriteHashtree(w, r, size, o.HashAlgorithm, d.Salt)
	if err != nil {
		return nil, err
	}
	if !o.PersistentDigest {
		d.RootDigest = root
	}
	return d, o.appendFEC(t, r, d)
}

// appendFEC appends parity over image and tree.
func (o *FooterOptions) appendFEC(t *draft, r io.ReaderAt, d *avb.HashtreeDescriptor) error {
	if o.FECRoots == 0 {
		return nil
	}
	covered := t.size
	d.FECRoots, d.FECOffset = uint32(o.FECRoots), uint64(covered)
	if o.FECOfFile && t.old.Sparse() {
		if err := t.finish(); err != nil { // the header is part of what is covered
			return err
		}
		r, covered = tail{t.f, t.end}, roundUp(t.end, avb.BlockSize)
	}
	if !o.NoHashtree {
		d.FECSize = uint64(avb.FECSize(covered, o.FECRoots))
	}
	w, err := t.space(roundUp(int64(d.FECSize), t.old.BlockSize))
	if err != nil || o.NoHashtree {
		return err
	}
	return avb.WriteFEC(w, r, covered, o.FECRoots)
}

// tail reads a file of size bytes, and zeros behind it.
type tail struct {
	f    io.ReaderAt
	size int64
}

func (t tail) ReadAt(b []byte, off int64) (int, error) {
	n := max(0, min(int64(len(b)), t.size-off))
	clear(b[n:])
	if n > 0 {
		if _, err := t.f.ReadAt(b[:n], off); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// discard is an [io.WriterAt] that keeps nothing.
type discard struct{}

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// counted tells p how much of total bytes is read from r.
func counted(ctx context.Context, r io.ReaderAt, total int64, p Progress) io.ReaderAt {
	var done atomic.Int64
	return &meter{r, ctx, func(n int) {
		if p != nil {
			p(min(done.Add(int64(n)), total), total)
		}
	}}
}
