package debian

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"mios/internal/atomicfile"
	"mios/internal/digest"
)

// tarIndex reads files out of an uncompressed tar.
type tarIndex struct {
	f     *os.File
	files map[string]*io.SectionReader // regular files, by name without a leading "./"
}

// indexTar indexes the regular files of the tar at path.
func indexTar(path string) (*tarIndex, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	x := &tarIndex{f, make(map[string]*io.SectionReader)}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		off, err := f.Seek(0, io.SeekCurrent) // tar seeks over data: this is where it starts
		if err != nil {
			f.Close()
			return nil, err
		}
		x.files[strings.TrimPrefix(h.Name, "./")] = io.NewSectionReader(f, off, h.Size)
	}
}

// read returns a file of the tar.
func (x *tarIndex) read(name string) ([]byte, error) {
	s := x.files[name]
	if s == nil {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// unpackTar makes the uncompressed tar of a package's data at path, and beside
// it path.sum with its SHA-256, unless both are there and agree.
func unpackTar(members []arMember, path string) error {
	if sum, err := os.ReadFile(path + ".sum"); err == nil {
		if got, err := digest.File(path); err == nil && got.String() == strings.TrimSpace(string(sum)) {
			return nil
		}
	}
	r, err := openTar(members, "data.tar")
	if err != nil {
		return err
	}
	h := sha256.New()
	limited := &io.LimitedReader{R: r, N: maxTar + 1}
	if err := atomicfile.Write(path, io.TeeReader(limited, h), 0o644); err != nil {
		return fmt.Errorf("unpack data.tar: %w", err)
	}
	if limited.N == 0 {
		os.Remove(path)
		return fmt.Errorf("unpack data.tar: more than %d bytes", int64(maxTar))
	}
	return atomicfile.WriteBytes(path+".sum", []byte(hex.EncodeToString(h.Sum(nil))+"\n"), 0o644)
}
