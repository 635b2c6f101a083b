// Package apk reads and writes Android packages: the ZIP file, strictly; its
// AndroidManifest.xml, binary and as text; its resource table, resources.arsc,
// from which it chooses as Android does; and sets of split packages.
//
// It does not judge signatures: package apksig does, and its Inspect gives the
// facts of a package together with who signed it. It does not read DEX files:
// package dex does. It writes no resource tables, and passes over what lies
// between the elements of XML documents and over the styles of strings.
package apk

import (
	"cmp"
	"fmt"
	"io"
)

// A FormatError says where a package breaks the format, and how.
type FormatError struct {
	Off int64  // in bytes from the start of the file, or of the entry that Msg begins with
	Msg string // what is wrong there
	Odd bool   // Android reads the package all the same, in one way: as its central directory says
}

func (e *FormatError) Error() string { return fmt.Sprintf("apk: offset %#x: %s", e.Off, e.Msg) }

func bad(off int64, format string, args ...any) error {
	return &FormatError{Off: off, Msg: fmt.Sprintf(format, args...)}
}

// Info is what a package says of itself. Nothing of it is proven: see
// apksig.Inspect.
type Info struct {
	Manifest
	ABIs []string // folders below lib/, sorted; empty: the package runs anywhere
}

// Inspect reads the facts of the package in the first size bytes of r.
func Inspect(r io.ReaderAt, size int64) (*Info, error) {
	f, err := Open(r, size)
	if err != nil {
		return nil, err
	}
	return f.Info()
}

// Info reads the facts of the package, once; the result must not be changed. It
// does not resolve references that stand for texts, which needs the resource
// table: see [File.Badging].
func (f *File) Info() (*Info, error) {
	f.infoOnce.Do(func() { f.info, f.infoErr = f.readInfo() })
	return f.info, f.infoErr
}

func (f *File) readInfo() (*Info, error) {
	root, err := f.ReadXML(ManifestName)
	if err != nil {
		return nil, err
	}
	r := &badgingReader{f: f, want: Device{}.Config()}
	m, err := newManifest(root, &manifestReader{numbers: r.value, texts: func(v Value) Value { return v }})
	if err = cmp.Or(r.err, err); err != nil {
		return nil, err
	}
	return &Info{Manifest: *m, ABIs: f.abis()}, nil
}

// Resources reads the package's resource table, which it reads once. Without one
// the error wraps [mios.ErrNotFound].
func (f *File) Resources() (*Resources, error) {
	f.resOnce.Do(func() {
		var b []byte
		if b, f.resErr = f.ReadFile(ResourcesName, MaxResources); f.resErr != nil {
			return
		}
		if f.res, f.resErr = ParseResources(b); f.resErr != nil {
			f.resErr = fmt.Errorf("%s: %w", ResourcesName, f.resErr)
		}
	})
	return f.res, f.resErr
}

// ReadXML reads the binary XML document of that name, such as a drawable.
func (f *File) ReadXML(name string) (*Element, error) {
	b, err := f.ReadFile(name, MaxManifest)
	if err != nil {
		return nil, err
	}
	root, err := ParseXML(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return root, nil
}
