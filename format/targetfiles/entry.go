package targetfiles

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// An Entry is a file, folder or symbolic link.
type Entry struct {
	Name           string      // with slashes, without one at either end: "META/misc_info.txt"
	Mode           fs.FileMode // type and permissions
	Size           int64       // in bytes; of a link, of its target
	CompressedSize int64       // bytes in the zip; in a folder, Size
	Modified       time.Time

	zip  *zip.File
	raw  io.ReaderAt // of the zip
	root *os.Root    // of the folder
}

// Stored says whether the bytes lie there as they are, so that ReaderAt works.
func (e *Entry) Stored() bool {
	return e.Mode.IsRegular() && (e.zip == nil || e.zip.Method == zip.Store)
}

// Open opens a file to be read from its start. The checksum of a zip is checked
// at the end: the last Read fails if it is wrong.
func (e *Entry) Open() (io.ReadCloser, error) {
	switch {
	case e.Mode.IsDir():
		return nil, fmt.Errorf("targetfiles: %s: a folder", e.Name)
	case e.zip != nil:
		r, err := e.zip.Open()
		if err != nil {
			return nil, fmt.Errorf("targetfiles: %s: %w", e.Name, err)
		}
		return r, nil
	case e.Mode.Type() == fs.ModeSymlink:
		to, err := e.root.Readlink(e.Name)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(strings.NewReader(to)), nil
	}
	return e.root.Open(e.Name)
}

// ReaderAt opens a file to be read anywhere, without its checksum. The error
// wraps [ErrCompressed] if it must be unpacked first.
func (e *Entry) ReaderAt() (interface {
	io.ReaderAt
	io.Closer
}, error) {
	switch {
	case !e.Mode.IsRegular():
		return nil, fmt.Errorf("targetfiles: %s: not a file", e.Name)
	case e.zip == nil:
		return e.root.Open(e.Name)
	case !e.Stored():
		return nil, fmt.Errorf("targetfiles: %s: %w", e.Name, ErrCompressed)
	}
	off, err := e.zip.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("targetfiles: %s: %w", e.Name, err)
	}
	return section{io.NewSectionReader(e.raw, off, e.Size)}, nil
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// ReadAll returns the bytes of a file of at most limit bytes.
func (e *Entry) ReadAll(limit int64) ([]byte, error) {
	if e.Size > limit {
		return nil, &FormatError{File: e.Name, Msg: fmt.Sprintf("%d bytes, and at most %d are read", e.Size, limit)}
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("targetfiles: %s: %w", e.Name, err)
	}
	return b, nil
}

// maxLink is how long the target of a symbolic link may be: Linux's PATH_MAX.
const maxLink = 4096

// Link returns where a symbolic link leads to, as it stands there.
func (e *Entry) Link() (string, error) {
	if e.Mode.Type() != fs.ModeSymlink {
		return "", fmt.Errorf("targetfiles: %s: not a symbolic link", e.Name)
	}
	b, err := e.ReadAll(maxLink)
	return string(b), err
}

// OpenZip reads the directory of the target-files zip in the first size bytes
// of r. Errors in it are [*FormatError] or wrap those of archive/zip. Names
// that leave their folder, two entries of one name, entries below a link or a
// file, entries that overlap, encryption, and methods other than stored and
// deflated are refused.
func OpenZip(r io.ReaderAt, size int64) (*Source, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("targetfiles: %w", err)
	}
	s := &Source{index: make(map[string]*Entry)}
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, "/")
		e := &Entry{
			Name: name, Mode: f.Mode(), Size: int64(f.UncompressedSize64),
			CompressedSize: int64(f.CompressedSize64), Modified: f.Modified, zip: f, raw: r,
		}
		if msg := badHeader(&f.FileHeader, size); msg != "" {
			return nil, &FormatError{File: f.Name, Msg: msg}
		}
		if err := s.add(e); err != nil {
			return nil, err
		}
	}
	if err := s.checkFolders(); err != nil {
		return nil, err
	}
	if err := s.checkOverlap(); err != nil {
		return nil, err
	}
	return s, s.setLayout()
}

// checkFolders refuses entries below what is no folder: who unpacks them would
// follow a link out of where they belong.
func (s *Source) checkFolders() error {
	for _, e := range s.Entries {
		for dir := path.Dir(e.Name); dir != "."; dir = path.Dir(dir) {
			if up := s.index[dir]; up != nil && !up.Mode.IsDir() {
				return &FormatError{File: e.Name, Msg: "lies below " + dir + ", which is no folder"}
			}
		}
	}
	return nil
}

// badHeader says why an entry of a zip of size bytes is refused, or "".
func badHeader(h *zip.FileHeader, size int64) string {
	const encrypted = 1<<0 | 1<<6 | 1<<13
	const maxRatio = 1032 // of deflate
	t := h.Mode().Type()
	switch {
	case h.Flags&encrypted != 0:
		return "encrypted"
	case h.Method != zip.Store && h.Method != zip.Deflate:
		return fmt.Sprintf("compression method %d", h.Method)
	case h.CompressedSize64 > uint64(size):
		return fmt.Sprintf("%d bytes in a zip of %d", h.CompressedSize64, size)
	case h.Method == zip.Store && h.UncompressedSize64 != h.CompressedSize64,
		h.UncompressedSize64 > h.CompressedSize64*maxRatio+maxRatio:
		return fmt.Sprintf("%d bytes are said to be %d", h.CompressedSize64, h.UncompressedSize64)
	case t != 0 && t != fs.ModeDir && t != fs.ModeSymlink:
		return fmt.Sprintf("neither a file nor a folder nor a link: %v", h.Mode())
	case strings.HasSuffix(h.Name, "/") != (t == fs.ModeDir):
		return "its name and its mode disagree whether it is a folder"
	}
	return ""
}

// checkOverlap refuses entries that share bytes: a few would unpack to more
// than any disk holds.
func (s *Source) checkOverlap() error {
	type span struct{ from, to int64 }
	spans := make([]span, len(s.Entries))
	for i, e := range s.Entries {
		off, err := e.zip.DataOffset()
		if err != nil {
			return fmt.Errorf("targetfiles: %s: %w", e.Name, err)
		}
		spans[i] = span{off, off + e.CompressedSize}
	}
	slices.SortFunc(spans, func(a, b span) int {
		switch {
		case a.from != b.from:
			return int(min(max(a.from-b.from, -1), 1))
		}
		return int(min(max(a.to-b.to, -1), 1))
	})
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return &FormatError{Off: spans[i].from, Msg: "two entries overlap"}
		}
	}
	return nil
}

// openDir lists a folder.
func openDir(dir string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &Source{index: make(map[string]*Entry), closer: root}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if t := fi.Mode().Type(); t != 0 && t != fs.ModeDir && t != fs.ModeSymlink {
			return &FormatError{File: name, Msg: fmt.Sprintf("neither a file nor a folder nor a link: %v", fi.Mode())}
		}
		return s.add(&Entry{Name: name, Mode: fi.Mode(), Size: fi.Size(), CompressedSize: fi.Size(), Modified: fi.ModTime(), root: root})
	})
	if err == nil {
		err = s.setLayout()
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return s, nil
}
