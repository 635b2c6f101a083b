package ota

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"mios/internal/atomicfile"
)

// Dir is a store in a folder, which is made when something is written.
type Dir string

// Read implements [Store].
func (d Dir) Read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(string(d), name)) }

// Write implements [Store].
func (d Dir) Write(name string, b []byte) error {
	dir := string(d)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := atomicfile.Sync(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return atomicfile.WriteBytes(filepath.Join(dir, name), b, 0o600)
}
