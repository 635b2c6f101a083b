package sign

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"mios"
	"mios/build/fstree"
	"mios/format/avb"
	"mios/format/fsimage"
	"mios/format/sparse"
	"mios/format/targetfiles"
	"mios/internal/readat"
)

// An image is an image of a partition in target-files.
type image struct {
	name      string // of the entry
	partition string
	kind      string // ext4, erofs, boot, vendor_boot, vbmeta, super, or "" for another
	size      int64  // expanded, in bytes
	sparse    *sparse.Image

	meta   *avb.VBMeta // nil: none
	raw    []byte      // meta, encoded
	footer *avb.Footer // nil: the image is a vbmeta image, or has none
	key    *Key        // the vendor's, of an image that is signed

	small     bool // files in its ramdisks may change
	certified bool // the certificates of a generic kernel are made anew

	edits  map[string]*content // new content of files in its file system
	now    *avb.VBMeta         // the new vbmeta image
	rawNow []byte
	out    string // file with the new image, plain; "" if it does not change
	outLen int64  // its size, in bytes

	entry *targetfiles.Entry
}

// imageFolders are the folders of target-files that hold images.
var imageFolders = []string{"IMAGES", "PREBUILT_IMAGES", "BOOTABLE_IMAGES", "RADIO", "OTA"}

// isImage reports whether an entry is an image.
func (s *signing) isImage(e *targetfiles.Entry) bool {
	if !e.Mode.IsRegular() || !strings.HasSuffix(e.Name, ".img") {
		return false
	}
	if s.src.Layout == targetfiles.Images {
		return !strings.Contains(e.Name, "/")
	}
	dir := path.Dir(e.Name)
	for _, f := range imageFolders {
		if dir == f {
			return true
		}
	}
	return false
}

// surveyImage reads what an image is, and finds the key that it gets.
func (s *signing) surveyImage(e *targetfiles.Entry) error {
	m := &image{name: e.Name, entry: e, partition: strings.TrimSuffix(path.Base(e.Name), ".img"), edits: map[string]*content{}}
	err := s.withImage(m, func(r io.ReaderAt) error {
		if err := m.identify(r); err != nil {
			return err
		}
		return s.surveyVBMeta(m, r)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[m.name] = m
	return nil
}

// withImage calls fn with an image as it was, expanded.
func (s *signing) withImage(m *image, fn func(r io.ReaderAt) error) error {
	f, err := s.open(m.entry)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.expanded(f, fn)
}

// expanded calls fn with the image in f, expanded if it is sparse: a
// [*sparse.Image]. The first call, which nobody else may make, sets what m says of
// it.
func (m *image) expanded(f io.ReaderAt, fn func(r io.ReaderAt) error) (err error) {
	var head [4]byte
	if _, err := f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(head[:], []byte("\x3a\xff\x26\xed")) {
		if m.size == 0 {
			m.size = m.entry.Size
		}
		return fn(f)
	}
	img, err := sparse.Parse(f, m.entry.Size)
	if err != nil {
		return err
	}
	if m.sparse == nil {
		m.sparse, m.size = img, img.Size()
	}
	return fn(img)
}

// identify finds out what an image holds.
func (m *image) identify(r io.ReaderAt) error {
	var head [8]byte
	n, err := r.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case n < len(head):
		return nil
	case string(head[:]) == "ANDROID!":
		m.kind = "boot"
		return nil
	case string(head[:]) == "VNDRBOOT":
		m.kind = "vendor_boot"
		return nil
	case string(head[:4]) == "AVB0":
		m.kind = "vbmeta"
		return nil
	case isSuper(m.name):
		m.kind = "super"
		return nil
	}
	fs, err := fstree.Open(r, m.size)
	switch {
	case errors.Is(err, fstree.ErrKind):
		return nil
	case err != nil:
		return err
	}
	m.kind = fs.Kind
	return nil
}

// surveyVBMeta reads the vbmeta image.
func (s *signing) surveyVBMeta(m *image, r io.ReaderAt) error {
	if m.kind == "super" {
		return nil
	}
	raw, footer, err := avb.Read(r, m.size)
	if err != nil {
		if m.kind == "vbmeta" {
			return err
		}
		return nil // an image without AVB's footer
	}
	if m.meta, err = avb.Parse(raw); err != nil {
		return err
	}
	m.footer, m.raw = footer, raw
	if m.meta.Algorithm == avb.None {
		return nil
	}
	if m.key, err = s.ring.avb(m.partition, describe("", m.meta.PublicKey)); err != nil || m.key == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replaceAVB(m.meta.PublicKey, m.key)
}

// replaceAVB notes that a key, in AVB's encoding, is replaced. s.mu is held.
func (s *signing) replaceAVB(old []byte, key *Key) error {
	pub, err := key.avbKey()
	if err != nil {
		return err
	}
	if _, ok := s.avbKeys[string(old)]; !ok && len(old) > 0 {
		s.avbKeys[string(old)] = pub
		if was, err := avb.ParsePublicKey(old); err == nil {
			s.lose(was)
		}
	}
	s.trust(key)
	return nil
}

// trust notes that a key is the vendor's. s.mu is held.
func (s *signing) trust(key *Key) {
	if id, err := keyID(key.Signer.Public()); err == nil {
		s.trusted[id] = true
	}
}

// rsaPublic is the public key of a key for verified boot.
func rsaPublic(k *Key) (*rsa.PublicKey, error) {
	pub, ok := k.Signer.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key %s: verified boot takes RSA keys, this is %T: %w", k.Name, k.Signer.Public(), mios.ErrInvalid)
	}
	return pub, nil
}

// treeNames are where target-files may have a file of a partition's image.
func (s *signing) treeNames(partition, name string) []string {
	var out []string
	if partition == "system" {
		if rest, ok := strings.CutPrefix(name, "system/"); ok {
			out = append(out, "SYSTEM/"+rest)
		}
		out = append(out, "ROOT/"+name)
	}
	if p := targetfiles.FindPartition(partition); p != nil {
		for _, f := range p.Folders() {
			out = append(out, f+"/"+name)
		}
	}
	return out
}

// treeEntry is the entry of target-files with a file of a partition's image, or
// nil.
func (s *signing) treeEntry(partition, name string) *targetfiles.Entry {
	for _, n := range s.treeNames(partition, name) {
		if e := s.src.Entry(n); e != nil && e.Mode.IsRegular() {
			return e
		}
	}
	return nil
}

// surveyFiles looks for what must change in the file system of an image and is
// not in a tree of target-files, too.
func (s *signing) surveyFiles(m *image) error {
	return s.withFS(m, func(f *fstree.Image) error {
		root, err := f.Root()
		if err != nil {
			return err
		}
		return f.Walk("", root, func(name string, n fsimage.Node) error {
			if err := s.ctx.Err(); err != nil {
				return err
			}
			if !n.Info().Mode.IsRegular() || s.kindOf(name) == "" {
				return nil
			}
			if e := s.treeEntry(m.partition, name); e != nil {
				s.twins[e.Name] = append(s.twins[e.Name], twin{m, name})
				return nil
			}
			r, size := nodeReader(f.FS, n)
			_, err := f.Lookup(name+extIDSig, false)
			return s.surveyFile(&file{path: nested(m.name, name), image: m, inner: name, idsig: err == nil, verity: verityBeside(f, name)}, r, size)
		})
	})
}

// verityBeside is what lies beside a file of an image for fs-verity, or nil.
func verityBeside(f *fsImage, name string) []byte {
	n, err := f.Lookup(name+extVerity, false)
	if err != nil || !n.Info().Mode.IsRegular() || n.Info().Size > maxSmall {
		return nil
	}
	r, size := nodeReader(f.FS, n)
	b := make([]byte, size)
	if err := readat.Full(r, b, 0); err != nil {
		return nil
	}
	return b
}

// withFS calls fn with the file system of an image as it was.
func (s *signing) withFS(m *image, fn func(f *fstree.Image) error) error {
	return s.withImage(m, func(r io.ReaderAt) error {
		f, err := fstree.Open(r, m.size)
		if err != nil {
			return err
		}
		return fn(f)
	})
}

// expand writes the first size bytes of an image as it was to a file, plain.
func (s *signing) expand(m *image, name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.withImage(m, func(r io.ReaderAt) error {
		if img, ok := r.(*sparse.Image); ok {
			return errors.Join(img.Expand(s.ctx, f, nil), f.Truncate(size))
		}
		return copyData(&contextReader{s.ctx, io.NewSectionReader(r, 0, size)}, f, size)
	})
}

// copyData copies size bytes into a new file; long runs of zeros become holes.
func copyData(r io.Reader, f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	b := make([]byte, 1<<20)
	for off := int64(0); off < size; {
		n, err := io.ReadFull(r, b[:min(size-off, int64(len(b)))])
		if err != nil {
			return err
		}
		if !allZero(b[:n]) {
			if _, err := f.WriteAt(b[:n], off); err != nil {
				return err
			}
		}
		off += int64(n)
	}
	return nil
}

// zeros is what runs of zeros are compared with.
var zeros [64 << 10]byte

func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
