// Package ota makes update payloads from built images, in update_engine's
// format: full ones, which bring every partition whole.
package ota

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mios"
	"mios/build/image"
	"mios/format/payload"
)

// Names of what [Full.WriteDir] writes.
const (
	PayloadFile    = "payload.bin"
	PropertiesFile = "payload_properties.txt"
)

// A Partition is one that the payload brings.
type Partition struct {
	Name    string // without a slot suffix
	Path    string // of its image; an end that is no whole block is filled with zeros
	Logical bool   // lies in super
	// SHA256, if it is not zero, is what the image must hold.
	SHA256 mios.Digest
}

// Full says what a full payload is made of. The same images, timestamp and
// keys give the same bytes.
type Full struct {
	Partitions    []Partition // in the order in which they are written
	Group         string      // of the logical partitions, without a slot suffix
	GroupSize     int64       // bytes
	Timestamp     int64       // the build's, in seconds since 1970
	SecurityPatch string
	Signers       []crypto.Signer // RSA

	// Progress, if set, is told how many of the images' bytes are compressed.
	Progress func(done, total int64)
	Workers  int // cores to use; 0 means all
}

// FromBuild returns what a payload with all of a build's partitions is made
// of, save its signers; dir is the folder that image.Build made.
func FromBuild(dir string) (*Full, *image.Manifest, error) {
	m, err := image.ReadManifest(dir)
	if err != nil {
		return nil, nil, err
	}
	f := &Full{Timestamp: m.BuildTime, Group: image.GroupName, GroupSize: m.GroupSize()}
	for _, p := range m.Partitions {
		f.Partitions = append(f.Partitions, Partition{
			Name: p.Name, Path: filepath.Join(dir, p.File), Logical: p.Logical, SHA256: p.SHA256,
		})
	}
	return f, m, nil
}

// WriteDir writes payload.bin and payload_properties.txt into the folder dir,
// which it makes if it is missing. A payload.bin there is whole or the one of
// before.
func (f *Full) WriteDir(ctx context.Context, dir string) (payload.Properties, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return payload.Properties{}, err
	}
	full, done, err := f.open()
	defer done()
	if err != nil {
		return payload.Properties{}, err
	}
	return WriteFull(ctx, dir, full)
}

// Write writes the payload to w; its data waits in a nameless file in the
// folder tmp.
func (f *Full) Write(ctx context.Context, w io.Writer, tmp string) (payload.Properties, error) {
	full, done, err := f.open()
	defer done()
	if err != nil {
		return payload.Properties{}, err
	}
	return write(ctx, w, tmp, full)
}

// open opens and checks the images. The caller calls done also after an error.
func (f *Full) open() (full *payload.Full, done func(), err error) {
	var files []io.Closer
	done = func() {
		for _, f := range files {
			f.Close()
		}
	}
	switch {
	case f.Timestamp <= 0:
		return nil, done, fmt.Errorf("build timestamp %d: %w: devices could not tell which build is newer", f.Timestamp, mios.ErrInvalid)
	case len(f.Signers) == 0:
		return nil, done, fmt.Errorf("payload has no signer: %w: devices take signed ones only", mios.ErrInvalid)
	case len(f.Partitions) == 0:
		return nil, done, fmt.Errorf("payload has no partition: %w", mios.ErrInvalid)
	}
	full = &payload.Full{MaxTimestamp: f.Timestamp, SecurityPatch: f.SecurityPatch, Signers: f.Signers, Progress: f.Progress, Workers: f.Workers}
	group := payload.Group{Name: f.Group, Size: uint64(f.GroupSize)}
	var logical int64
	for _, p := range f.Partitions {
		file, padded, err := p.Open()
		if err != nil {
			return nil, done, fmt.Errorf("partition %s: %w", p.Name, err)
		}
		files = append(files, file)
		full.Images = append(full.Images, payload.Image{Name: p.Name, Content: file, Size: padded})
		if p.Logical {
			group.Partitions = append(group.Partitions, p.Name)
			logical += padded
		}
	}
	if logical > f.GroupSize {
		return nil, done, fmt.Errorf("logical partitions: %d bytes, and group %s of super has %d: %w: make them smaller or super larger in the product",
			logical, f.Group, f.GroupSize, mios.ErrInvalid)
	}
	if len(group.Partitions) > 0 {
		full.Groups = []payload.Group{group}
	}
	return full, done, nil
}

// An Image is a partition's open image.
type Image interface {
	io.ReaderAt
	io.Closer
}

// Open opens the partition's image, checks that it is what was built, and
// returns it filled with zeros up to a whole block, with its size then.
func (p *Partition) Open() (Image, int64, error) {
	file, err := os.Open(p.Path)
	if err != nil {
		return nil, 0, err
	}
	size, err := p.check(file)
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	padded := (size + payload.DefaultBlockSize - 1) / payload.DefaultBlockSize * payload.DefaultBlockSize
	return paddedFile{file, size}, padded, nil
}

// check returns the image's size.
func (p *Partition) check(file *os.File) (int64, error) {
	fi, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if p.SHA256 == (mios.Digest{}) {
		return fi.Size(), nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return 0, err
	}
	if !bytes.Equal(h.Sum(nil), p.SHA256[:]) {
		return 0, fmt.Errorf("%s is not what was built: %w: build it again", p.Path, mios.ErrInvalid)
	}
	return fi.Size(), nil
}

// paddedFile reads as the file with zeros after its end.
type paddedFile struct {
	f    *os.File
	size int64
}

func (p paddedFile) Close() error { return p.f.Close() }

func (p paddedFile) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < p.size {
		want := int(min(int64(len(b)), p.size-off))
		var err error
		if n, err = p.f.ReadAt(b[:want], off); n < want {
			return n, err
		}
	}
	clear(b[n:])
	return len(b), nil
}
