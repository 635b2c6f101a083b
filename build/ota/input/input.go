// Package input opens what update payloads are made of: a folder that "mios
// build" made, a target-files zip or folder of AOSP's, a folder of images, or
// one image. Sparse images are read as what they stand for.
package input

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mios"
	"mios/build/image"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/format/sparse"
	"mios/format/targetfiles"
)

// A Build is all that a payload says of a build, and its images.
type Build struct {
	Partitions []Partition // in the order of the build
	// MinorVersion is that of payloads that the build's update_engine takes; 0
	// if the build does not say.
	MinorVersion  uint32
	Timestamp     int64 // seconds since 1970; 0 if the build does not say
	SecurityPatch string
	Dynamic       *payload.DynamicPartitions // nil without logical partitions
	Apexes        []payload.Apex

	// State is what the build makes of a device, for the package of an update;
	// see [Build.ReadState]. CareMap and ApexInfo are a target-files' own, or nil.
	State    otazip.DeviceState
	CareMap  *otazip.CareMap
	ApexInfo *otazip.ApexInfo

	closers []io.Closer
}

// A Partition is one image of a build.
type Partition struct {
	// Header is what a manifest says of the partition: its name, its version, and
	// what runs after it is written.
	Header payload.Partition
	io.ReaderAt
	Size   int64       // bytes; zeros fill the last block
	SHA256 mios.Digest // what the image must hold, if it is not zero
}

// Find returns the partition of that name, or nil.
func (b *Build) Find(name string) *Partition {
	i := slices.IndexFunc(b.Partitions, func(p Partition) bool { return p.Header.Name == name })
	if i < 0 {
		return nil
	}
	return &b.Partitions[i]
}

// Close closes the images.
func (b *Build) Close() error {
	var errs []error
	for _, c := range b.closers {
		errs = append(errs, c.Close())
	}
	b.closers = nil
	return errors.Join(errs...)
}

// Open opens the build at a path. What is packed in a zip is unpacked into
// nameless files in the folder tmp. The build must be closed.
func Open(name, tmp string) (*Build, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	b := new(Build)
	if fi.IsDir() {
		if _, err := os.Stat(filepath.Join(name, image.BuildFile)); err == nil {
			err := b.ours(name)
			return b.opened(name, err)
		}
	}
	s, err := targetfiles.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: no build: %w: want the folder that \"mios build\" made, a target-files zip or folder, or a folder of images", name, err)
	}
	b.closers = append(b.closers, s)
	if s.Layout == targetfiles.Images {
		err = b.folder(s, tmp)
	} else {
		err = b.targetFiles(s, tmp)
	}
	return b.opened(name, err)
}

// OpenImage opens one image as the partition of that name.
func OpenImage(name, partition string) (*Build, error) {
	b := new(Build)
	err := b.file(name, payload.Partition{Name: partition}, mios.Digest{})
	return b.opened(name, err)
}

func (b *Build) opened(name string, err error) (*Build, error) {
	if err == nil && len(b.Partitions) == 0 {
		err = fmt.Errorf("no image of a partition: %w", mios.ErrInvalid)
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// ours opens what "mios build" made.
func (b *Build) ours(dir string) error {
	m, err := image.ReadManifest(dir)
	if err != nil {
		return err
	}
	b.Timestamp, b.SecurityPatch = m.BuildTime, m.SecurityPatch
	if m.Base == "aosp" {
		return b.ofAOSP(dir, m)
	}
	b.MinorVersion = OurMinorVersion
	for _, g := range m.SuperGroups() {
		if len(g.Partitions) > 0 {
			b.Dynamic = &payload.DynamicPartitions{Groups: []payload.Group{{Name: g.Name, Size: uint64(g.Size), Partitions: g.Partitions}}}
		}
	}
	return b.images(dir, m, new(targetfiles.Dict))
}

// images opens the images that a manifest names. After says what runs after them.
func (b *Build) images(dir string, m *image.Manifest, after *targetfiles.Dict) error {
	for _, p := range m.Partitions {
		if err := b.file(filepath.Join(dir, p.File), postInstall(p.Name, after), p.SHA256); err != nil {
			return err
		}
	}
	return nil
}

// ofAOSP opens the images of a build of AOSP, beside which "mios build" keeps what
// its META says of updates.
func (b *Build) ofAOSP(dir string, m *image.Manifest) error {
	read := func(name string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return data, err
	}
	after, err := dict(read, "META/postinstall_config.txt")
	if err != nil {
		return err
	}
	if err := b.images(dir, m, after); err != nil {
		return err
	}
	if err := b.meta(read); err != nil {
		return err
	}
	return b.packed(read)
}

// OurMinorVersion is that of payloads that miosd applies: all operations but
// ZUCCHINI.
const OurMinorVersion = 9

// file opens an image in a file of its own. A sum that is of less than the
// partition, whose last block is filled up, is compared here.
func (b *Build) file(name string, header payload.Partition, sum mios.Digest) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	b.closers = append(b.closers, f)
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if sum != (mios.Digest{}) && size%payload.DefaultBlockSize != 0 {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
			return err
		}
		if mios.Digest(h.Sum(nil)) != sum {
			return fmt.Errorf("%s is not what was built: %w: build it again", name, mios.ErrInvalid)
		}
		sum = mios.Digest{}
	}
	return b.add(f, size, header, sum)
}

const sparseMagic = "\x3a\xff\x26\xed"

// add adds a partition with the image in the first size bytes of r.
func (b *Build) add(r io.ReaderAt, size int64, header payload.Partition, sum mios.Digest) error {
	var magic [4]byte
	if n, err := r.ReadAt(magic[:], 0); n < len(magic) && err != io.EOF {
		return fmt.Errorf("partition %s: %w", header.Name, err)
	}
	if string(magic[:]) == sparseMagic {
		m, err := sparse.Parse(r, size)
		if err != nil {
			return fmt.Errorf("partition %s: %w", header.Name, err)
		}
		r, size, sum = m, m.Size(), mios.Digest{}
	}
	if size == 0 {
		return fmt.Errorf("partition %s: its image is empty: %w", header.Name, mios.ErrInvalid)
	}
	padded := (size + payload.DefaultBlockSize - 1) / payload.DefaultBlockSize * payload.DefaultBlockSize
	if padded != size {
		r = padding{r, size}
	}
	b.Partitions = append(b.Partitions, Partition{header, r, padded, sum})
	return nil
}

// padding reads as the first size bytes of r with zeros after them.
type padding struct {
	r    io.ReaderAt
	size int64
}

// ReadAt implements [io.ReaderAt].
func (p padding) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < p.size {
		want := int(min(int64(len(b)), p.size-off))
		var err error
		if n, err = p.r.ReadAt(b[:want], off); n < want {
			return n, err
		}
	}
	clear(b[n:])
	return len(b), nil
}

// notSlots are images in a folder that are no partitions of a slot.
var notSlots = []string{"super", "super_empty", "userdata", "cache", "persist", "metadata", "misc", "frp"}

// folder opens the images of a folder, sorted by name.
func (b *Build) folder(s *targetfiles.Source, tmp string) error {
	for _, e := range s.Entries {
		name, ok := strings.CutSuffix(e.Name, ".img")
		if !ok || strings.Contains(name, "/") || slices.Contains(notSlots, name) || strings.HasSuffix(name, "_empty") {
			continue
		}
		if err := b.entry(e, payload.Partition{Name: name}, tmp); err != nil {
			return err
		}
	}
	return nil
}

// entry opens an image in a target-files or folder.
func (b *Build) entry(e *targetfiles.Entry, header payload.Partition, tmp string) error {
	r, err := e.ReaderAt()
	if err == nil {
		b.closers = append(b.closers, r)
		return b.add(r, e.Size, header, mios.Digest{})
	}
	if !errors.Is(err, targetfiles.ErrCompressed) {
		return err
	}
	f, err := unpack(e, tmp)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	b.closers = append(b.closers, f)
	return b.add(f, e.Size, header, mios.Digest{})
}

// unpack puts a file of a zip into a nameless one.
func unpack(e *targetfiles.Entry, tmp string) (*os.File, error) {
	in, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	f, err := os.CreateTemp(tmp, ".image-*")
	if err != nil {
		return nil, err
	}
	if err = os.Remove(f.Name()); err == nil {
		_, err = io.Copy(f, in)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
