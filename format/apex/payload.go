package apex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"mios/format/avb"
	"mios/format/erofs"
	"mios/format/ext4"
	"mios/format/fsimage"
)

// ErrUnsupported is the error of a payload whose file system this package does
// not read: f2fs.
var ErrUnsupported = errors.New("a file system that is neither ext4 nor erofs")

// A VerifyError says in what a payload is not what its key vouches for.
type VerifyError struct {
	Msg string
	Err error // the cause, or nil
}

func (e *VerifyError) Error() string {
	if e.Err == nil {
		return "apex: " + e.Msg
	}
	return "apex: " + e.Msg + ": " + e.Err.Error()
}

func (e *VerifyError) Unwrap() error { return e.Err }

// A Payload is the file system image of an APEX, with what vouches for it.
type Payload struct {
	*io.SectionReader       // all of the image: file system, hash tree, vbmeta, footer
	Offset            int64 // of the image in the package, in bytes
	Footer            *avb.Footer
	VBMeta            *avb.VBMeta
	Tree              *avb.HashtreeDescriptor // over the file system; of several the first, as for apexd
	KeyName           string                  // of KeyProperty: what the key was made for; "" if it is not said

	raw  []byte // the vbmeta image
	file *File
}

// Payload reads the footer and the vbmeta of the payload. It verifies nothing:
// see Verify and VerifySignature. The error wraps [ErrCompressed] if f is
// compressed; errors in the payload are [*FormatError], or those of format/avb.
func (f *File) Payload() (*Payload, error) {
	if f.Compressed {
		return nil, ErrCompressed
	}
	e := f.Entry(PayloadName)
	p := &Payload{SectionReader: io.NewSectionReader(f.r, e.DataOff, e.Size), Offset: e.DataOff, file: f}
	var err error
	if p.raw, p.Footer, err = avb.Read(p, e.Size); err != nil {
		return nil, fmt.Errorf("apex: %s: %w", PayloadName, err)
	}
	switch {
	case p.Footer == nil:
		return nil, &FormatError{PayloadName, e.Size, "no AVB footer"}
	case len(p.raw) > maxVBMeta:
		return nil, &FormatError{PayloadName, int64(p.Footer.VBMetaOffset), fmt.Sprintf("a vbmeta image of %d bytes; apexd takes %d", len(p.raw), maxVBMeta)}
	}
	if p.VBMeta, err = avb.Parse(p.raw); err != nil {
		return nil, fmt.Errorf("apex: %s: %w", PayloadName, err)
	}
	for _, d := range p.VBMeta.Descriptors {
		switch d := d.(type) {
		case *avb.HashtreeDescriptor:
			if p.Tree == nil {
				p.Tree = d
			}
		case *avb.PropertyDescriptor:
			if d.Key == KeyProperty {
				p.KeyName = string(d.Value)
			}
		}
	}
	if p.Tree == nil {
		return nil, &FormatError{PayloadName, int64(p.Footer.VBMetaOffset), "no hash tree descriptor"}
	}
	return p, nil
}

// VerifySignature checks the payload's vbmeta against the key beside it,
// apex_pubkey, and that the manifests in- and outside of the payload are the
// same, as apexd does. It reads no more than those. A [*VerifyError] says what
// is wrong.
func (p *Payload) VerifySignature() error {
	res, key := avb.VerifyVBMeta(p.raw)
	switch {
	case res != avb.VerifyOK:
		return &VerifyError{Msg: fmt.Sprintf("the payload's vbmeta does not verify: %v", res)}
	case p.file.PublicKey == nil:
		return &VerifyError{Msg: "no " + PublicKeyName + " to verify the payload with"}
	case !bytes.Equal(key, p.file.PublicKey):
		return &VerifyError{Msg: "the payload is signed by another key than " + PublicKeyName}
	}
	if err := p.Tree.Check(p.Size()); err != nil && p.Tree.TreeSize != 0 {
		return &VerifyError{Msg: "the payload's hash tree", Err: err}
	}
	return p.compareManifests()
}

func (p *Payload) compareManifests() error {
	files, err := p.FS()
	if err != nil {
		if errors.Is(err, ErrUnsupported) {
			return nil // what is in it is for its kernel to say
		}
		return err
	}
	in, err := fs.ReadFile(files.FS, ManifestName)
	if err != nil {
		return &VerifyError{Msg: "the manifest inside the payload", Err: err}
	}
	out, err := p.file.ReadFile(ManifestName, maxManifest)
	if err != nil {
		return err
	}
	if !bytes.Equal(in, out) {
		return &VerifyError{Msg: "the " + ManifestName + " inside the payload is not the one beside it"}
	}
	return nil
}

// Verify checks all that VerifySignature does, and every block of the payload
// against its hash tree.
func (p *Payload) Verify() error {
	if err := p.VerifySignature(); err != nil {
		return err
	}
	if p.Tree.TreeSize == 0 {
		return p.verifyRoot()
	}
	if err := avb.VerifyHashtree(p, p.Tree); err != nil {
		return &VerifyError{Msg: "the payload's hash tree", Err: err}
	}
	return nil
}

// verifyRoot checks a payload whose tree was left out (apexer --no_hashtree):
// the device makes it before the first use.
func (p *Payload) verifyRoot() error {
	size := int64(p.Tree.ImageSize)
	if size <= 0 || size > p.Size() {
		return &VerifyError{Msg: fmt.Sprintf("the payload's hash tree is of %d bytes, and the payload has %d", p.Tree.ImageSize, p.Size())}
	}
	root, err := avb.WriteHashtree(discard{}, p, size, p.Tree.HashAlgorithm, p.Tree.Salt)
	if err != nil {
		return err
	}
	if !bytes.Equal(root, p.Tree.RootDigest) {
		return &VerifyError{Msg: fmt.Sprintf("the payload's root digest is %x, and its vbmeta says %x", root, p.Tree.RootDigest)}
	}
	return nil
}

type discard struct{}

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// FS is a payload's file system.
type FS struct {
	*fsimage.FS
	Type string // "ext4", "erofs"
}

// FS opens the file system of the payload. The error wraps [ErrUnsupported] if
// it is of another type.
func (p *Payload) FS() (*FS, error) { return OpenFS(p, int64(p.Footer.OriginalImageSize)) }

// OpenFS opens the file system of a payload: that in the first size bytes of r.
func OpenFS(r io.ReaderAt, size int64) (*FS, error) {
	var head [4]byte
	if _, err := r.ReadAt(head[:], 1024); err == nil && bytes.Equal(head[:], []byte("\xe2\xe1\xf5\xe0")) {
		f, err := erofs.Open(r, size)
		if err != nil {
			return nil, fmt.Errorf("apex: %s: %w", PayloadName, err)
		}
		return &FS{f.FS, "erofs"}, nil
	}
	if _, err := r.ReadAt(head[:2], 1024+0x38); err != nil || !bytes.Equal(head[:2], []byte("\x53\xef")) {
		return nil, fmt.Errorf("apex: %s: %w", PayloadName, ErrUnsupported)
	}
	f, err := ext4.Open(r, size)
	if err != nil {
		return nil, fmt.Errorf("apex: %s: %w", PayloadName, err)
	}
	return &FS{f.FS, "ext4"}, nil
}

// An App is an app inside the payload.
type App struct {
	Path string // "app/Foo/Foo.apk"
	Size int64  // bytes
	Node fsimage.Node
}

// Apps lists the files of the payload that are apps by their name, sorted by
// path.
func (f *FS) Apps() ([]App, error) {
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	var out []App
	err = f.Walk("", root, func(name string, n fsimage.Node) error {
		if i := n.Info(); i.Mode.IsRegular() && strings.HasSuffix(name, ".apk") {
			out = append(out, App{name, i.Size, n})
		}
		return nil
	})
	return out, err
}
