// Package avbtool does to image files what AOSP's avbtool does: it makes and
// reads vbmeta images, adds footers with hashes and hash trees, takes them off,
// and repairs images by their FEC. Plain images and Android sparse ones are
// taken alike, as in AOSP's external/avb/avbtool.py, and what is written is
// byte for byte what that writes.
//
// A file that is changed is written anew beside the old one and then takes its
// name, so that it is never half-written. The formats are mios/format/avb's;
// keys come as a [crypto.Signer].
package avbtool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mios/format/avb"
	"mios/format/sparse"
)

// Release is the release string of avbtool, whose images these are.
const Release = "avbtool 1.3.0"

// Progress is told how many of all bytes are through, from several goroutines.
// It may be nil.
type Progress func(done, total int64)

// An Image is an open image file, plain or sparse. Its offsets and sizes are
// those of the expanded image.
type Image struct {
	Name      string
	Size      int64 // bytes
	BlockSize int64 // bytes: 4096, or a sparse image's
	file      *os.File
	fileSize  int64
	sparse    *sparse.Image // nil: plain
	reader    io.ReaderAt   // in the place of a file, or nil
}

// Open opens an image file, or a block device, for reading.
func Open(name string) (*Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	m := &Image{Name: name, BlockSize: avb.BlockSize, file: f}
	if err := m.measure(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func (m *Image) measure() (err error) {
	if fi, err := m.file.Stat(); err == nil && fi.IsDir() {
		return errors.New("a folder: give an image file")
	}
	if m.Size, err = m.file.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	m.fileSize = m.Size
	var magic [4]byte
	if n, err := m.file.ReadAt(magic[:], 0); n < len(magic) || !bytes.Equal(magic[:], []byte{0x3a, 0xff, 0x26, 0xed}) {
		if err == io.EOF {
			err = nil
		}
		return err
	}
	if m.sparse, err = sparse.Parse(m.file, m.fileSize); err != nil {
		return err
	}
	m.Size, m.BlockSize = m.sparse.Size(), int64(m.sparse.BlockSize)
	return nil
}

// Close closes the file.
func (m *Image) Close() error { return m.file.Close() }

// Sparse reports whether the file is an Android sparse image.
func (m *Image) Sparse() bool { return m.sparse != nil }

// ReadAt implements [io.ReaderAt].
func (m *Image) ReadAt(b []byte, off int64) (int, error) {
	switch {
	case m.reader != nil:
		return m.reader.ReadAt(b, off)
	case m.sparse != nil:
		return m.sparse.ReadAt(b, off)
	}
	return m.file.ReadAt(b, off)
}

// Footer returns the image's footer, or nil if it has none.
func (m *Image) Footer() (*avb.Footer, error) {
	if m.Size < avb.FooterSize {
		return nil, nil
	}
	b := make([]byte, avb.FooterSize)
	if _, err := m.ReadAt(b, m.Size-avb.FooterSize); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	if !bytes.HasPrefix(b, []byte("AVBf")) {
		return nil, nil
	}
	f, err := avb.ParseFooter(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	case f.OriginalImageSize > uint64(m.Size) || f.VBMetaOffset > uint64(m.Size) || f.VBMetaSize > uint64(m.Size)-f.VBMetaOffset:
		return nil, fmt.Errorf("%s: footer: image of %d bytes, vbmeta image of %d at %d: they pass its end at %d", m.Name, f.OriginalImageSize, f.VBMetaSize, f.VBMetaOffset, m.Size)
	}
	return f, nil
}

// needFooter is Footer for what makes no sense without one.
func (m *Image) needFooter() (*avb.Footer, error) {
	f, err := m.Footer()
	if err == nil && f == nil {
		err = fmt.Errorf("%s: it has no AVB footer: give an image that mios avb add-hash, add-hashtree or append made", m.Name)
	}
	return f, err
}

// A Metadata is an image's vbmeta image, taken apart.
type Metadata struct {
	*avb.VBMeta
	Raw    []byte      // the encoded vbmeta image
	Footer *avb.Footer // nil: the file is a vbmeta image
}

// Metadata reads the image's vbmeta image. It verifies nothing.
func (m *Image) Metadata() (*Metadata, error) {
	raw, footer, err := avb.Read(m, m.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: it is neither a vbmeta image nor an image with a footer: %w", m.Name, err)
	}
	v, err := avb.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return &Metadata{v, raw, footer}, nil
}

// Read opens an image file and reads its vbmeta image.
func Read(name string) (*Metadata, error) {
	m, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Metadata()
}

// Hashtree returns the metadata's first descriptor of a hash tree, or nil.
func (m *Metadata) Hashtree() *avb.HashtreeDescriptor {
	for _, d := range m.Descriptors {
		if d, ok := d.(*avb.HashtreeDescriptor); ok {
			return d
		}
	}
	return nil
}

// Sibling returns the file of another partition beside an image, by the rule
// of avbtool: the same folder, the partition's name, the same extension.
func Sibling(image, partition string) (string, error) {
	if partition == "" || strings.ContainsAny(partition, "/\\\x00") {
		return "", fmt.Errorf("%s: partition name %q: no file can be called so", image, partition)
	}
	return filepath.Join(filepath.Dir(image), partition+filepath.Ext(image)), nil
}

// meter counts what is read of an image, and ends with its context.
type meter struct {
	io.ReaderAt
	ctx   context.Context
	count func(n int)
}

func (m *meter) ReadAt(b []byte, off int64) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.ReaderAt.ReadAt(b, off)
	m.count(n)
	return n, err
}
