package emulator

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An overlay file holds the sectors of a disk that differ from its base:
//
//	0     magic, 8 bytes
//	8     size of the disk, uint64 little-endian
//	16    which base it belongs to, at most 256 bytes, padded with zeroes
//	4096  one bit a sector: whether it is here; the map is mapped into memory,
//	      so that it outlives a killed process
//	...   the sectors at their places, sparse, from the next multiple of 4096
type overlay struct {
	f    *os.File
	bits []byte // mapped
	data int64  // offset of the first sector
	temp bool   // made without a name
}

const (
	overlayMagic  = "MIOSOVL\x01"
	overlayHeader = 4096
	overlayIDSize = 256
)

// openOverlay opens or makes the overlay at path; "" makes one without a name.
// Nobody else can open it until it is closed.
func openOverlay(path string, size int64, id string) (*overlay, error) {
	var f *os.File
	var err error
	if path == "" {
		if f, err = os.CreateTemp("", "mios-overlay-*"); err == nil {
			os.Remove(f.Name())
		}
	} else {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("overlay %s: another device runs with it: stop that one, or take another folder (%w)", f.Name(), err)
	}
	o, err := mapOverlay(f, size, id)
	if err != nil {
		f.Close()
		return nil, err
	}
	o.temp = path == ""
	return o, nil
}

// overlayTop returns the header, and where a disk's sectors start.
func overlayTop(size int64, id string) (header []byte, data int64) {
	header = make([]byte, 16+overlayIDSize)
	copy(header, overlayMagic)
	binary.LittleEndian.PutUint64(header[8:], uint64(size))
	copy(header[16:], id)
	bits := (size/Sector + 7) / 8
	return header, overlayHeader + (bits+4095)/4096*4096
}

// checkOverlay says whether f is an overlay of the disk.
func checkOverlay(f *os.File, size int64, id string) error {
	want, data := overlayTop(size, id)
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) || fi.Size() != data+size {
		return fmt.Errorf("overlay %s: belongs to another image: remove it to start anew", f.Name())
	}
	return nil
}

// mapOverlay checks the header, or writes it into an empty file, and maps the
// bits.
func mapOverlay(f *os.File, size int64, id string) (*overlay, error) {
	header, data := overlayTop(size, id)
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() == 0 {
		if err := f.Truncate(data + size); err != nil {
			return nil, err
		}
		if _, err := f.WriteAt(header, 0); err != nil {
			return nil, err
		}
	} else if err := checkOverlay(f, size, id); err != nil {
		return nil, err
	}
	bits, err := unix.Mmap(int(f.Fd()), overlayHeader, int(data-overlayHeader), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("overlay %s: mmap: %w", f.Name(), err)
	}
	return &overlay{f: f, bits: bits, data: data}, nil
}

func (o *overlay) close() error {
	return errors.Join(unix.Munmap(o.bits), o.f.Close())
}

func (o *overlay) has(sector int64) bool { return o.bits[sector/8]&(1<<(sector%8)) != 0 }

func (o *overlay) mark(off, n int64) {
	for s := off / Sector; s < (off+n)/Sector; s++ {
		o.bits[s/8] |= 1 << (s % 8)
	}
}

// ReadAt reads the overlay's own bytes at an offset of the disk.
func (o *overlay) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, o.data+off) }

// writeAt writes sectors, data before bits.
func (o *overlay) writeAt(p []byte, off int64) error {
	if _, err := o.f.WriteAt(p, o.data+off); err != nil {
		return err
	}
	o.mark(off, int64(len(p)))
	return nil
}

// zero makes sectors read as zero without taking room.
func (o *overlay) zero(off, n int64) error {
	err := unix.Fallocate(int(o.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, o.data+off, n)
	if err != nil {
		return fmt.Errorf("overlay %s: punch hole: %w", o.f.Name(), err)
	}
	o.mark(off, n)
	return nil
}

// copyTo copies the overlay to the file path, which is replaced.
func (o *overlay) copyTo(path string) error {
	tmp := path + ".tmp"
	dst, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(copySparse(dst, o.f), dst.Close()); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, path)
}

// replaceBy puts a copy of the overlay at path in the place of o, and closes o.
func (o *overlay) replaceBy(path string, size int64, id string) (*overlay, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := checkOverlay(src, size, id); err != nil {
		return nil, err
	}
	name := o.f.Name()
	if o.temp {
		name = filepath.Join(os.TempDir(), "mios-overlay-"+rand.Text())
		defer os.Remove(name)
	}
	from := &overlay{f: src}
	if err := from.copyTo(name); err != nil {
		return nil, err
	}
	n, err := openOverlay(name, size, id)
	if err != nil {
		return nil, err
	}
	n.temp = o.temp
	return n, o.close()
}

// copySparse makes dst what src is: by a reflink where the file system has
// them, else by copying what is not a hole.
func copySparse(dst, src *os.File) error {
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return nil
	}
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if err := dst.Truncate(fi.Size()); err != nil {
		return err
	}
	for at := int64(0); at < fi.Size(); {
		start, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // holes to the end
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(src.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := dst.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(dst, io.NewSectionReader(src, start, end-start)); err != nil {
			return err
		}
		at = end
	}
	return nil
}
