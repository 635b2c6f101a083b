package boot

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// directAlign is what offset, length and address of a read must be
	// multiples of to go around the page cache, on any disk.
	directAlign = 4096
	// directSize is from how many bytes on that pays.
	directSize = 256 << 10
)

// blockDevice is a disk whose large reads go around the page cache: the loader
// reads each byte of a boot image once, and copying all of it page by page
// takes as long as hashing a quarter of it.
type blockDevice struct {
	*os.File
	direct *os.File // the same with O_DIRECT, nil if it has none
}

// openBlockDevice opens a disk for reading and writing.
func openBlockDevice(path string) (*blockDevice, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	direct, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		direct = nil // a file system may not have it; reads are slower then
	}
	return &blockDevice{f, direct}, nil
}

func (d *blockDevice) ReadAt(b []byte, off int64) (int, error) {
	n := len(b) &^ (directAlign - 1)
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if d.direct == nil || n < directSize || off%directAlign != 0 || addr%directAlign != 0 {
		return d.File.ReadAt(b, off)
	}
	if _, err := d.direct.ReadAt(b[:n], off); err != nil {
		return d.File.ReadAt(b, off) // says it again, or reads it
	}
	m, err := d.File.ReadAt(b[n:], off+int64(n))
	return n + m, err
}

func (d *blockDevice) Close() error {
	if d.direct != nil {
		d.direct.Close() // only read from
	}
	return d.File.Close()
}
