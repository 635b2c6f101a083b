// Package fstree takes file system images apart: it opens them whatever their
// format, puts their files into a folder, says how two of them differ, and changes
// files in them.
package fstree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"mios/format/erofs"
	"mios/format/ext4"
	"mios/format/fsimage"
	"mios/format/sparse"
	"mios/internal/readat"
)

// An Image is a file system in a file.
type Image struct {
	*fsimage.FS
	Kind     string // erofs or ext4
	Size     int64  // of the image as it is on a device, in bytes
	Features []string
}

// ErrKind is that a file begins like no file system that is known here.
var ErrKind = errors.New("neither erofs nor ext4 nor a sparse image of them")

const (
	superOffset = 1024
	sparseMagic = 0xed26ff3a
)

// Open opens the image in the first size bytes of r by its magic: erofs or ext4,
// as it is or as an Android sparse image. What is behind a file system, such as a hash tree
// of AVB, does not matter.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	r, size, err := plain(r, size)
	if err != nil {
		return nil, err
	}
	return openPlain(r, size)
}

// plain returns what a sparse image holds, and what is none as it is.
func plain(r io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	var b [4]byte
	n, err := r.ReadAt(b[:min(size, int64(len(b)))], 0)
	if err != nil && err != io.EOF {
		return nil, 0, err
	}
	if n < len(b) || binary.LittleEndian.Uint32(b[:]) != sparseMagic {
		return r, size, nil
	}
	m, err := sparse.Parse(r, size)
	if err != nil {
		return nil, 0, err
	}
	if m.Blocks == 0 || m.Size() < superOffset+64 {
		return nil, 0, ErrKind
	}
	return m, m.Size(), nil
}

func openPlain(r io.ReaderAt, size int64) (*Image, error) {
	var b [64]byte
	if err := readat.Full(r, b[:], superOffset); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = ErrKind
		}
		return nil, err
	}
	le := binary.LittleEndian
	switch {
	case le.Uint32(b[:]) == erofs.Magic:
		f, err := erofs.Open(r, size)
		if err != nil {
			return nil, err
		}
		return &Image{f.FS, "erofs", f.Blocks * f.BlockSize, f.Features()}, nil
	case le.Uint16(b[56:]) == ext4.Magic:
		f, err := ext4.Open(r, size)
		if err != nil {
			return nil, err
		}
		return &Image{f.FS, "ext4", f.Blocks * f.BlockSize, f.Features()}, nil
	}
	return nil, ErrKind
}

// Label returns an inode's SELinux label, or "".
func Label(n fsimage.Node) (string, error) {
	list, err := n.Xattrs()
	if err != nil {
		return "", err
	}
	for _, x := range list {
		if x.Name == "security.selinux" {
			return label(x.Value), nil
		}
	}
	return "", nil
}

// label is a label as people write it.
func label(value []byte) string {
	if n := len(value); n > 0 && value[n-1] == 0 {
		value = value[:n-1]
	}
	return string(value)
}

// Kind names a file's type: file, folder, link, character device, block device,
// fifo or socket.
func Kind(n fsimage.Node) string {
	info := n.Info()
	if k, ok := kinds[info.Mode.Type()]; ok {
		return k
	}
	return fmt.Sprint(info.Mode.Type())
}
