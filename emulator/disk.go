package emulator

import "errors"

// A Disk is a raw image that is never changed and an overlay of what was
// written over it. One machine may use it at a time.
type Disk struct{}

// OpenDisk opens the disk that consists of the raw image base and the overlay
// file, which is made when it is not there.
func OpenDisk(base, overlay string) (*Disk, error) { return nil, errors.ErrUnsupported }

// Snapshot copies the overlay, holes kept, to the file path. No machine may be
// running on the disk.
func (d *Disk) Snapshot(path string) error { return errors.ErrUnsupported }

// Restore makes the disk what it was when the snapshot was made.
func (d *Disk) Restore(path string) error { return errors.ErrUnsupported }

// ReadAt reads what the guest would read.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

// WriteAt writes and flushes, for tests that change what is on a disk. No
// machine may be running on it.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) { return 0, errors.ErrUnsupported }

// Size returns the disk's size in bytes.
func (d *Disk) Size() int64 { return 0 }

// Close closes the files.
func (d *Disk) Close() error { return nil }
