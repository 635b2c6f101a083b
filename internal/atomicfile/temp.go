package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openFiles has a link to each file that this process has open.
const openFiles = "/proc/self/fd"

// A Temp is a file that is to be at a path once it is complete. Until then it
// has no name, so that nothing is left of it when the program is killed; where
// the file system cannot do that, it has a temporary one.
type Temp struct {
	*os.File
	path string
	name string // the temporary name, or ""
}

// Create opens a new file for reading and writing in the folder of path, which
// must be [Replaceable].
func Create(path string) (*Temp, error) {
	if err := Replaceable(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(openFiles); err == nil { // link needs it
		if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
			return &Temp{File: os.NewFile(uintptr(fd), path), path: path}, nil
		}
	}
	f, err := os.CreateTemp(dir, pattern(path))
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("write %s: %w", path, pe.Err) // without the temporary name
	}
	if err != nil {
		return nil, err
	}
	return &Temp{f, path, f.Name()}, nil
}

// pattern is the temporary name of what is to be at path, for os.CreateTemp.
func pattern(path string) string { return "." + filepath.Base(path) + ".tmp-*" }

// Commit puts the file in the place of what is at its path, durably. The file
// is to be closed nevertheless.
func (t *Temp) Commit(perm fs.FileMode) error {
	if err := errors.Join(t.Chmod(perm), t.Sync()); err != nil {
		return err
	}
	if err := t.link(); err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	if err := os.Rename(t.name, t.path); err != nil {
		return err
	}
	t.name = ""
	return Sync(filepath.Dir(t.path))
}

// CommitNew is [Temp.Commit] for a path that is free: the error wraps
// [fs.ErrExist] if it is not, whoever was faster.
func (t *Temp) CommitNew(perm fs.FileMode) error {
	if err := errors.Join(t.Chmod(perm), t.Sync()); err != nil {
		return err
	}
	from := t.name
	if from == "" {
		from = fmt.Sprintf("%s/%d", openFiles, t.Fd())
	}
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, t.path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	return Sync(filepath.Dir(t.path))
}

// link gives a file without a name a temporary one: a link never takes the place
// of a file.
func (t *Temp) link() error {
	if t.name != "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(t.path), pattern(t.path)) // a name that is free
	if err != nil {
		return err
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("%s/%d", openFiles, t.Fd()), unix.AT_FDCWD, f.Name(), unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	t.name = f.Name()
	return nil
}

// Close closes the file. Unless it was committed nothing is left of it.
func (t *Temp) Close() error {
	err := t.File.Close()
	if t.name != "" {
		err = errors.Join(err, os.Remove(t.name))
	}
	return err
}
