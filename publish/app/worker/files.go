package worker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// inMemory is the size in bytes up to which a copy is kept in memory.
const inMemory = 64 << 20

// descriptor returns a descriptor for reading only what the file is, with an
// offset of its own. It has to be closed.
func (w *Worker) descriptor(ctx context.Context, f File) (*os.File, error) {
	if file, ok := f.ReaderAt.(syscall.Conn); ok {
		return reopen(file)
	}
	file, err := w.nameless(f.Size)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", f.Name, err)
	}
	defer file.Close()
	r := &cancelled{ctx, io.NewSectionReader(f, 0, f.Size)}
	if n, err := io.Copy(file, r); err != nil {
		return nil, fmt.Errorf("copy %s: %w", f.Name, err)
	} else if n != f.Size {
		return nil, fmt.Errorf("copy %s: %d bytes of %d: %w", f.Name, n, f.Size, io.ErrUnexpectedEOF)
	}
	return reopen(file)
}

// nameless makes a file that nobody else finds, which is gone when it is closed.
func (w *Worker) nameless(size int64) (*os.File, error) {
	if size <= inMemory {
		if fd, err := unix.MemfdCreate("worker", unix.MFD_CLOEXEC); err == nil {
			return os.NewFile(uintptr(fd), "memory"), nil
		}
	}
	dir := cmp.Or(w.Temp, os.TempDir())
	if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	file, err := os.CreateTemp(dir, ".worker-*") // where the file system knows no nameless ones
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// reopen opens the file once more, whether it has a name or not, for reading.
func reopen(f syscall.Conn) (*os.File, error) {
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again *os.File
	if e := c.Control(func(fd uintptr) { again, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)) }); e != nil {
		return nil, e
	}
	return again, err
}

// A cancelled reader ends with its context.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
