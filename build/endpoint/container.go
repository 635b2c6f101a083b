package endpoint

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"mios/build/fstree"
	"mios/build/image/ramdisk"
	"mios/format/bootimg"
	"mios/format/cpio"
	"mios/format/fsimage"
)

const (
	maxDepth  = 6         // of what is in one another: image, APEX, image, package
	maxUnpack = 8 << 30   // of one compressed entry, in bytes
	inMemory  = 16 << 20  // what is unpacked to be read anywhere, in memory and not in a file
	maxBoot   = 512 << 20 // of a boot image
)

// data scans the size bytes of r by what they begin with.
func (s *scanner) data(r io.ReaderAt, size int64, name string, depth int) error {
	var head [8]byte
	n, err := r.ReadAt(head[:min(size, int64(len(head)))], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	all := io.NewSectionReader(r, 0, size)
	if depth >= maxDepth {
		return s.text(all, name)
	}
	switch b := head[:n]; {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return s.zip(r, size, name, depth)
	case bytes.HasPrefix(b, []byte("ANDROID!")), bytes.HasPrefix(b, []byte("VNDRBOOT")):
		return s.boot(all, size, name, depth)
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return s.gzip(all, name)
	case size < 4096:
		return s.plainText(all, name, depth)
	}
	img, err := fstree.Open(r, size)
	if errors.Is(err, fstree.ErrKind) {
		return s.plainText(all, name, depth)
	}
	if err != nil {
		return err
	}
	return s.filesystem(img.FS, name, depth)
}

// plainText scans what is in no format that can be opened.
func (s *scanner) plainText(r io.Reader, name string, depth int) error {
	if depth == 0 {
		s.plain.Add(1)
	}
	return s.text(r, name)
}

// filesystem scans all files of a file system.
func (s *scanner) filesystem(f *fsimage.FS, name string, depth int) error {
	root, err := f.Root()
	if err != nil {
		return err
	}
	return f.Walk("", root, func(path string, n fsimage.Node) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if info := n.Info(); !info.Mode.IsRegular() || info.Size == 0 {
			return nil
		}
		if err := s.data(f.Data(n), n.Info().Size, name+"!/"+path, depth+1); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

// zip scans all entries of a zip. What only begins like one is scanned as it
// is.
func (s *scanner) zip(r io.ReaderAt, size int64, name string, depth int) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return s.text(io.NewSectionReader(r, 0, size), name)
	}
	for _, f := range z.File {
		if f.FileInfo().IsDir() || f.Mode()&fs.ModeSymlink != 0 {
			continue
		}
		if err := s.entry(r, f, name+"!/"+f.Name, depth); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func (s *scanner) entry(r io.ReaderAt, f *zip.File, name string, depth int) error {
	if f.UncompressedSize64 > maxUnpack {
		return fmt.Errorf("%d bytes unpacked are more than the %d that are read", f.UncompressedSize64, int64(maxUnpack))
	}
	size := int64(f.UncompressedSize64)
	if f.Method == zip.Store && f.CompressedSize64 == f.UncompressedSize64 {
		off, err := f.DataOffset()
		if err != nil {
			return err
		}
		return s.data(io.NewSectionReader(r, off, size), size, name, depth+1)
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	head := make([]byte, min(size, 4096))
	if _, err := io.ReadFull(in, head); err != nil {
		return err
	}
	rest := io.MultiReader(bytes.NewReader(head), in)
	if !container(head) {
		return s.text(rest, name)
	}
	if size <= inMemory {
		b, err := io.ReadAll(rest)
		if err != nil {
			return err
		}
		return s.data(bytes.NewReader(b), int64(len(b)), name, depth+1)
	}
	return s.unpacked(rest, name, depth)
}

// unpacked writes what must be read anywhere to a nameless file.
func (s *scanner) unpacked(r io.Reader, name string, depth int) error {
	f, err := os.CreateTemp(s.tmp, "")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, maxUnpack))
	if err != nil {
		return err
	}
	return s.data(f, n, name, depth+1)
}

// container reports whether what begins so has other files in it.
func container(head []byte) bool {
	for _, magic := range []string{"PK\x03\x04", "ANDROID!", "VNDRBOOT", "\x1f\x8b", "\x3a\xff\x26\xed"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	if len(head) < 4096 {
		return false
	}
	_, err := fstree.Open(bytes.NewReader(head), int64(len(head)))
	return !errors.Is(err, fstree.ErrKind)
}

// gzip scans what is packed in r, or r itself if it is not.
func (s *scanner) gzip(r io.ReadSeeker, name string) error {
	z, err := gzip.NewReader(r)
	if err == nil {
		err = s.text(io.LimitReader(z, maxUnpack), name)
	}
	if err == nil || s.ctx.Err() != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return s.text(r, name)
}

// boot scans the ramdisks of a boot image, and the image itself, which has the
// kernel and its command line.
func (s *scanner) boot(r *io.SectionReader, size int64, name string, depth int) error {
	if size > maxBoot {
		return s.text(r, name)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	var disks [][]byte
	if m, err := bootimg.Parse(b); err == nil {
		disks = append(disks, m.Ramdisk)
	} else if v, err := bootimg.ParseVendor(b); err == nil {
		if disks = append(disks, v.Ramdisk); len(v.Fragments) > 0 {
			disks = nil
			for _, f := range v.Fragments {
				disks = append(disks, v.Data(f))
			}
		}
	}
	for _, d := range disks {
		if len(d) == 0 {
			continue
		}
		rd, err := ramdisk.Read(d)
		if err != nil {
			continue // packed in another way: scanned as it is, below
		}
		for _, e := range rd.Entries {
			if e.Mode&cpio.TypeMask != cpio.TypeRegular {
				continue
			}
			if err := s.data(bytes.NewReader(e.Data), int64(len(e.Data)), name+"!/"+e.Name, depth+1); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	return s.text(bytes.NewReader(b), name)
}
