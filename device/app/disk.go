package app

import (
	"io"
	"io/fs"
	"os"

	"mios/internal/atomicfile"
)

// A disk is what changes files. Tests put one in between that loses power.
type disk interface {
	Mkdir(path string, perm fs.FileMode) error // no error if it is there
	Create(path string, perm fs.FileMode) (diskFile, error)
	Link(from, to string) error
	Rename(from, to string) error
	RemoveAll(path string) error
	Chown(path string, id int) error // uid and gid
	SyncDir(path string) error
}

type diskFile interface {
	io.ReaderAt
	io.WriteCloser
	Sync() error
}

// osDisk is the machine's own.
type osDisk struct{}

func (osDisk) Mkdir(path string, perm fs.FileMode) error {
	if err := os.MkdirAll(path, perm); err != nil {
		return err
	}
	return os.Chmod(path, perm) // whatever the umask is
}

func (osDisk) Create(path string, perm fs.FileMode) (diskFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (osDisk) Link(from, to string) error      { return os.Link(from, to) }
func (osDisk) Rename(from, to string) error    { return os.Rename(from, to) }
func (osDisk) RemoveAll(path string) error     { return os.RemoveAll(path) }
func (osDisk) Chown(path string, id int) error { return os.Lchown(path, id, id) }
func (osDisk) SyncDir(path string) error       { return atomicfile.Sync(path) }
