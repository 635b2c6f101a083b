// Package targetfiles reads and writes what a build of AOSP hands to those who
// sign it: a target_files.zip, the folder of it, or a bare folder of images. It
// knows the files of META that AOSP's releasetools read (build/make/tools/
// releasetools: common.py, sign_target_files_apks.py), which folder and image
// belong to which partition, which keys of misc_info.txt are whose, and AOSP's
// public test keys by digest. It signs nothing: that is build/sign's.
//
// Text files are kept as they are: comments, order, and lines that say nothing
// to this package are written back byte for byte.
package targetfiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Names of files in META.
const (
	MiscInfo           = "META/misc_info.txt"
	DynamicPartitions  = "META/dynamic_partitions_info.txt"
	ApkCertsName       = "META/apkcerts.txt"
	ApexKeysName       = "META/apexkeys.txt"
	ABPartitions       = "META/ab_partitions.txt"
	OTAKeys            = "META/otakeys.txt"
	UpdateEngineConfig = "META/update_engine_config.txt"
	VBMetaDigest       = "META/vbmeta_digest.txt"
	CareMap            = "META/care_map.pb"
	ApexInfo           = "META/apex_info.pb"
)

// ErrCompressed is the error of ReaderAt for an entry that must be unpacked
// first.
var ErrCompressed = errors.New("the entry is compressed: unpack it first")

// maxText is how long a text file of META, a build.prop or an XML may be.
const maxText = 16 << 20

// maxEntries bounds the files of one target-files.
const maxEntries = 4 << 20

// A FormatError says where a file breaks its format, and how.
type FormatError struct {
	File string // in the target-files, or the kind of file; may be ""
	Off  int64  // in bytes from the start of that file
	Msg  string
}

func (e *FormatError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("targetfiles: offset %#x: %s", e.Off, e.Msg)
	}
	return fmt.Sprintf("targetfiles: %s: offset %#x: %s", e.File, e.Off, e.Msg)
}

// In gives the error of a parser of texts the name of the file that it read, if
// it has none. Of nil it is nil.
func In(file string, err error) error {
	if f, ok := errors.AsType[*FormatError](err); ok && f.File == "" {
		return &FormatError{file, f.Off, f.Msg}
	}
	return err
}

// A Layout says what a Source is.
type Layout int

// The layouts.
const (
	TargetFiles Layout = iota // META, IMAGES, SYSTEM ...
	Images                    // boot.img, vbmeta.img ... in one folder, without META
)

func (l Layout) String() string {
	if l == Images {
		return "images"
	}
	return "target-files"
}

// A Source is an opened target-files zip or folder.
type Source struct {
	Layout  Layout
	Entries []*Entry // in the order of the zip's directory; of a folder, sorted by path, folders first

	index  map[string]*Entry
	closer io.Closer
}

// Open opens the zip or the folder of that path. It must be closed.
func Open(name string) (*Source, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return openDir(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	s, err := OpenZip(f, fi.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	s.closer = f
	return s, nil
}

// Close closes what Open opened. Entries cannot be read after it.
func (s *Source) Close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

// Entry returns the entry of that name, without a slash at its end, or nil.
func (s *Source) Entry(name string) *Entry { return s.index[name] }

// Has says whether there is a file, folder or link of that name.
func (s *Source) Has(name string) bool { return s.index[name] != nil }

// HasDir says whether something lies below that folder.
func (s *Source) HasDir(name string) bool {
	for _, e := range s.Entries {
		if strings.HasPrefix(e.Name, name+"/") {
			return true
		}
	}
	return false
}

// ReadFile returns the bytes of a file of at most 16 MiB, as META's are. If it
// is not there the error wraps [fs.ErrNotExist]. A symbolic link is followed
// within the folder that it is in or above, but not out of the source.
func (s *Source) ReadFile(name string) ([]byte, error) {
	for range 40 {
		e := s.index[name]
		if e == nil {
			return nil, fmt.Errorf("targetfiles: %s: %w", name, fs.ErrNotExist)
		}
		if e.Mode.Type() != fs.ModeSymlink {
			return e.ReadAll(maxText)
		}
		to, err := e.Link()
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(to, "/") {
			return nil, fmt.Errorf("targetfiles: %s: a link to %s, which is a path on a device", name, to)
		}
		name = path.Join(path.Dir(name), to)
	}
	return nil, fmt.Errorf("targetfiles: %s: too many links", name)
}

// add puts an entry into the index, or says why not.
func (s *Source) add(e *Entry) error {
	switch {
	case !fs.ValidPath(e.Name) || e.Name == ".":
		return &FormatError{File: e.Name, Msg: "a name that leaves the folder, or is absolute or empty"}
	case s.index[e.Name] != nil:
		return &FormatError{File: e.Name, Msg: "two entries of this name"}
	case len(s.Entries) == maxEntries:
		return &FormatError{File: e.Name, Msg: fmt.Sprintf("more than %d entries", maxEntries)}
	}
	s.index[e.Name] = e
	s.Entries = append(s.Entries, e)
	return nil
}

// setLayout sees what the source is, once all entries are there.
func (s *Source) setLayout() error {
	if s.Has(MiscInfo) {
		return nil
	}
	for _, e := range s.Entries {
		if e.Mode.IsRegular() && strings.HasSuffix(e.Name, ".img") && !strings.Contains(e.Name, "/") {
			s.Layout = Images
			return nil
		}
	}
	return &FormatError{Msg: "neither " + MiscInfo + " nor images such as boot.img: not what a build hands out to be signed"}
}
