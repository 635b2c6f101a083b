package delta

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios/format/avb"
	"mios/format/payload"
)

// trees are hash algorithms of dm-verity that update_engine's HashTreeBuilder
// knows.
var trees = map[string]bool{"sha1": true, "sha256": true, "sha384": true, "sha512": true, "blake2b-256": true}

// verity says in out which blocks of a new image the device computes, as
// ImageConfig::LoadVerityConfig does, and returns them: the hash tree and the
// error correction that a descriptor names, in the image's footer or in one of
// the payload's vbmeta images. What they hold must be what is computed, to the
// byte; else they are sent.
func (r *run) verity(img Image, out *payload.Partition) ([]payload.Extent, error) {
	if r.NoVerity || r.Header.MinorVersion < MinorVerity {
		return nil, nil
	}
	d, err := r.hashtree(img, out.Name)
	if d == nil || err != nil {
		return nil, err
	}
	var computed []payload.Extent
	w := &same{img: img, off: int64(d.TreeOffset), left: int64(d.TreeSize)}
	_, err = avb.WriteHashtree(w, img, int64(d.ImageSize), d.HashAlgorithm, d.Salt)
	if err := w.done(err); err != nil {
		return nil, ignore(err)
	}
	out.HashTreeDataExtent = extentOf(0, d.ImageSize)
	out.HashTreeExtent = extentOf(d.TreeOffset, d.TreeSize)
	out.HashTreeAlgorithm, out.HashTreeSalt = d.HashAlgorithm, d.Salt
	computed = append(computed, *out.HashTreeExtent)
	if d.FECSize == 0 {
		return computed, nil
	}
	w = &same{img: img, off: int64(d.FECOffset), left: int64(d.FECSize)}
	if err := w.done(avb.WriteFEC(w, img, int64(d.FECOffset), int(d.FECRoots))); err != nil {
		return computed, ignore(err)
	}
	out.FECDataExtent = extentOf(0, d.FECOffset)
	out.FECExtent, out.FECRoots = extentOf(d.FECOffset, d.FECSize), d.FECRoots
	return append(computed, *out.FECExtent), nil
}

func extentOf(off, size uint64) *payload.Extent {
	return &payload.Extent{StartBlock: off / block, NumBlocks: size / block}
}

// hashtree returns the descriptor of a hash tree in an image that can be
// computed on a device, or nil.
func (r *run) hashtree(img Image, name string) (*avb.HashtreeDescriptor, error) {
	from := []Image{img}
	for _, p := range r.Partitions {
		if strings.HasPrefix(p.Header.Name, "vbmeta") {
			from = append(from, p.New)
		}
	}
	for i, m := range from {
		list, err := descriptors(m)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			d, ok := d.(*avb.HashtreeDescriptor)
			if ok && (i == 0 || d.PartitionName == name) && computable(d, uint64(img.Size)) {
				return d, nil
			}
		}
	}
	return nil, nil
}

// descriptors returns those of an image's vbmeta; what has none that can be
// read has none.
func descriptors(img Image) ([]avb.Descriptor, error) {
	b, _, err := avb.Read(img, img.Size)
	var format *avb.FormatError
	if errors.As(err, &format) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := avb.Parse(b)
	if err != nil {
		return nil, nil
	}
	return m.Descriptors, nil
}

// computable reports whether a device can compute a hash tree.
func computable(d *avb.HashtreeDescriptor, size uint64) bool {
	whole := func(off, n uint64) bool {
		return off%block == 0 && n%block == 0 && off <= size && n <= size-off
	}
	if d.DMVerityVersion != 1 || d.DataBlockSize != block || d.HashBlockSize != block || !trees[d.HashAlgorithm] || d.TreeSize == 0 ||
		!whole(0, d.ImageSize) || !whole(d.TreeOffset, d.TreeSize) || d.TreeOffset < d.ImageSize {
		return false
	}
	if want, err := avb.HashtreeSize(int64(d.ImageSize), d.HashAlgorithm); err != nil || uint64(want) != d.TreeSize {
		return false
	}
	if d.FECSize != 0 && (!whole(d.FECOffset, d.FECSize) || d.FECOffset < d.TreeOffset+d.TreeSize || d.FECRoots < 1 || d.FECRoots > 24 ||
		uint64(avb.FECSize(int64(d.FECOffset), int(d.FECRoots))) != d.FECSize) {
		d.FECSize = 0 // is sent
	}
	return true
}

var errOther = errors.New("the image has other bytes")

// ignore returns nil for errOther.
func ignore(err error) error {
	if errors.Is(err, errOther) {
		return nil
	}
	return err
}

// same is a writer that compares with a part of an image.
type same struct {
	img       Image
	off, left int64
}

// WriteAt implements [io.WriterAt].
func (s *same) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > s.left {
		return 0, errOther
	}
	want := make([]byte, len(b))
	if err := readFull(s.img, want, s.off+off); err != nil {
		return 0, err
	}
	if !bytes.Equal(b, want) {
		return 0, errOther
	}
	return len(b), nil
}

// done returns the error of who wrote.
func (s *same) done(err error) error {
	if err != nil && !errors.Is(err, errOther) {
		return fmt.Errorf("hash tree: %w", err)
	}
	return err
}
