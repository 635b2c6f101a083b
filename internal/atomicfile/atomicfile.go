// Package atomicfile writes files that are either wholly there or not at all,
// also after a power cut.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write replaces the file at path by what r yields: a temporary name in the
// same folder, fsync, rename, fsync of the folder. On an error the old file
// stays as it was and the temporary one is gone.
func Write(path string, r io.Reader, perm fs.FileMode) error {
	return Fill(path, perm, func(f *os.File) error {
		_, err := io.Copy(f, r)
		return err
	})
}

// Replaceable returns an error if there is something else than a file at path,
// such as a folder or /dev/null: a renamed file would take its place.
func Replaceable(path string) error {
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		return fmt.Errorf("%s: there is something that is no file: write to another name", path)
	}
	return nil
}

// Fill is [Write] of what write puts into a new file, in any order. The path
// must be [Replaceable].
func Fill(path string, perm fs.FileMode, write func(f *os.File) error) (err error) {
	if err := Replaceable(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, pattern(path))
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("write %s: %w", path, pe.Err) // without the temporary name
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(perm), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return Sync(dir)
}

// WriteBytes is [Write] of b.
func WriteBytes(path string, b []byte, perm fs.FileMode) error {
	return Write(path, bytes.NewReader(b), perm)
}

// Sweep removes what writes that a power cut ended have left in the folder. It
// is for those who have a folder to themselves: nobody may be writing there. A
// folder that is not there is swept.
func Sweep(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if name := e.Name(); name[0] == '.' && strings.Contains(name, ".tmp-") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}

// MkdirAll makes a folder and those above it, durably.
func MkdirAll(path string) error {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Sync(parent)
}

// Sync makes the file at path durable, or the names in the folder there.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
