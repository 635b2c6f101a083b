package sign

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"mios"
	"mios/build/fstree"
	"mios/format/avb"
	"mios/format/fsimage"
	"mios/format/targetfiles"
)

// verify opens what was written, and checks all of it: every entry can be read,
// every signature is the vendor's, images and trees hold the same, and no key is
// left that was to go.
func (s *signing) verify(name string) error {
	src, err := targetfiles.Open(name)
	if err != nil {
		return fmt.Errorf("what was written: %w", err)
	}
	defer src.Close()
	var list []*targetfiles.Entry
	for _, e := range src.Entries {
		if e.Mode.IsRegular() {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b *targetfiles.Entry) int { return cmp.Compare(b.Size, a.Size) }) // the largest first
	check := &verifier{s: s, src: src, left: map[Left]bool{}}
	check.find = newFinder(s.lost, s.trusted, check.note)
	step := s.counter("verify", int64(len(list)))
	err = parallel(s.ctx, list, func(e *targetfiles.Entry) error {
		defer step()
		if s.images[e.Name] != nil {
			return check.image(e)
		}
		return check.file(e)
	})
	if err != nil {
		return err
	}
	if err := check.chains(); err != nil {
		return err
	}
	return s.checkLeft(check.left)
}

// checkLeft refuses keys that are left, or notes them.
func (s *signing) checkLeft(left map[Left]bool) error {
	for l := range left {
		s.report.Left = append(s.report.Left, l)
	}
	slices.SortFunc(s.report.Left, func(a, b Left) int {
		return strings.Compare(a.Path+"\x00"+a.Key, b.Path+"\x00"+b.Key)
	})
	if len(left) == 0 || s.o.AllowTestKeys {
		return nil
	}
	var text strings.Builder
	for _, l := range s.report.Left {
		fmt.Fprintf(&text, "\n  %s: %s", l.Path, l.Key)
	}
	return fmt.Errorf("%w:%s\nsign what they are in with a key of yours, or take it out", ErrTestKeys, text.String())
}

// A verifier checks a result.
type verifier struct {
	s    *signing
	src  *targetfiles.Source
	find *finder
	left map[Left]bool
}

// note notes a key that is left.
func (v *verifier) note(where, key string) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.left[Left{where, key}] = true
}

// open opens an entry of the result: one that is compressed, by the file that it
// was made of, or as it was.
func (v *verifier) open(e *targetfiles.Entry) (readAtCloser, error) {
	if e.Stored() {
		return e.ReaderAt()
	}
	v.s.mu.Lock()
	c := v.s.contents[e.Name]
	v.s.mu.Unlock()
	if c != nil {
		return c.open()
	}
	return v.s.open(v.s.src.Entry(e.Name))
}

// whole reads all of an entry, so that its checksum is compared.
func (v *verifier) whole(e *targetfiles.Entry) error {
	r, err := e.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, &contextReader{v.s.ctx, r})
	return errors.Join(err, r.Close())
}

// file checks an entry that is no image.
func (v *verifier) file(e *targetfiles.Entry) error {
	r, err := e.Open()
	if err != nil {
		return err
	}
	if err := errors.Join(v.find.reader(e.Name, &contextReader{v.s.ctx, r}), r.Close()); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	if !isPacked(e.Name) {
		return nil
	}
	at, err := v.open(e)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := v.find.inside(e.Name, at, e.Size); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	return nil
}

// isPacked reports whether there is something in a file that its bytes do not
// show.
func isPacked(name string) bool {
	return targetfiles.IsApex(name) || targetfiles.IsMacPermissions(name) ||
		slices.Contains([]string{".apk", ".zip", ".jar", ".avbpubkey", ".img"}, path.Ext(name))
}

// image checks an image: its own vbmeta image, its files against the trees, its
// hash or hash tree, and what keys are in it.
func (v *verifier) image(e *targetfiles.Entry) error {
	if !e.Stored() {
		if err := v.whole(e); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	old := v.s.images[e.Name]
	m := &image{name: e.Name, partition: old.partition, entry: e, edits: old.edits}
	err := v.with(m, func(r io.ReaderAt) error {
		if err := m.identify(r); err != nil {
			return err
		}
		if err := v.find.image(m, r, m.size); err != nil {
			return err
		}
		if err := v.own(m, old, r); err != nil {
			return err
		}
		switch m.kind {
		case "boot", "vendor_boot":
			return v.boot(m, r)
		case "ext4", "erofs":
			return v.edited(m, r)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	return nil
}

// with calls fn with an image of the result, expanded.
func (v *verifier) with(m *image, fn func(r io.ReaderAt) error) error {
	f, err := v.open(m.entry)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.expanded(f, fn)
}

// own checks the image's own vbmeta image, and its descriptor of the image.
func (v *verifier) own(m, old *image, r io.ReaderAt) error {
	if old.meta == nil {
		return nil
	}
	raw, footer, err := avb.Read(r, m.size)
	if err != nil {
		return err
	}
	if m.meta, err = avb.Parse(raw); err != nil {
		return err
	}
	m.footer, m.raw = footer, raw
	if err := v.signature(old, raw); err != nil {
		return err
	}
	if footer == nil {
		return nil
	}
	return checkDescriptor(m, r)
}

// signature checks who has signed a vbmeta image.
func (v *verifier) signature(old *image, raw []byte) error {
	result, pub := avb.VerifyVBMeta(raw)
	switch {
	case result != avb.VerifyOK && result != avb.VerifyOKNotSigned:
		return fmt.Errorf("its vbmeta image does not verify: %v: %w", result, mios.ErrDenied)
	case old.key == nil && pub != nil || old.key != nil && !old.key.equalKey(pub):
		return fmt.Errorf("its vbmeta image is signed with another key than it was to be: %w", mios.ErrDenied)
	case !bytes.Equal(raw, old.current()):
		return fmt.Errorf("its vbmeta image is not the one that was made: %w", mios.ErrDenied)
	}
	return nil
}

// checkDescriptor compares an image with the descriptor in its vbmeta image.
func checkDescriptor(m *image, r io.ReaderAt) error {
	if t := m.tree(); t != nil {
		if t.TreeSize == 0 && t.ImageSize > avb.BlockSize {
			return nil // the device makes it
		}
		return avb.VerifyHashtree(r, t)
	}
	h := m.hash()
	if h == nil || len(h.Digest) == 0 {
		return nil
	}
	sum, err := avb.NewHash(h.HashAlgorithm)
	if err != nil {
		return err
	}
	sum.Write(h.Salt)
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, int64(h.ImageSize))); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), h.Digest) {
		return fmt.Errorf("its digest is not the one that was signed: %w", mios.ErrDenied)
	}
	return nil
}

// boot looks into the ramdisks of a boot image.
func (v *verifier) boot(m *image, r io.ReaderAt) error {
	b, err := readBootFrom(m, r)
	if err != nil {
		return err
	}
	return v.find.boot(m.name, b)
}

// edited compares the files that were put into an image with what they are.
func (v *verifier) edited(m *image, r io.ReaderAt) error {
	if len(m.edits) == 0 {
		return nil
	}
	f, err := fstree.Open(r, m.size)
	if err != nil {
		return err
	}
	for name, c := range m.edits {
		if err := sameFile(f.FS, name, c); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func sameFile(f *fsimage.FS, name string, c *content) error {
	n, err := f.Lookup(name, false)
	if err != nil {
		return err
	}
	want, err := c.open()
	if err != nil {
		return err
	}
	defer want.Close()
	r, size := nodeReader(f, n)
	same, err := equal(io.NewSectionReader(r, 0, size), io.NewSectionReader(want, 0, c.size))
	if err == nil && !same {
		err = fmt.Errorf("it does not hold what was put there: %w", mios.ErrDenied)
	}
	return err
}

// equal reports whether two readers yield the same.
func equal(a, b io.Reader) (bool, error) {
	p, q := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, errA := io.ReadFull(a, p)
		k, errB := io.ReadFull(b, q)
		if n != k || !bytes.Equal(p[:n], q[:k]) {
			return false, nil
		}
		end := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
		switch {
		case end(errA) && end(errB):
			return true, nil
		case errA != nil && !end(errA):
			return false, errA
		case errB != nil && !end(errB):
			return false, errB
		case errA != nil || errB != nil:
			return false, nil
		}
	}
}

// chains checks that each vbmeta image says of the images beside it what these
// say of themselves, and of chains the keys that have signed them.
func (v *verifier) chains() error {
	for _, m := range v.s.vbmetas() {
		meta := m.meta
		if m.now != nil {
			meta = m.now
		}
		for _, d := range meta.Descriptors {
			if err := v.agrees(m, d); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
	}
	return nil
}

func (v *verifier) agrees(m *image, d avb.Descriptor) error {
	differ := func(partition string) error {
		return fmt.Errorf("its descriptor of %s is not that of the image: %w", partition, mios.ErrDenied)
	}
	switch d := d.(type) {
	case *avb.ChainPartitionDescriptor:
		if o := v.s.sibling(m, d.PartitionName); o != nil && o.key != nil && !o.key.equalKey(d.PublicKey) {
			return differ(d.PartitionName)
		}
	case *avb.HashDescriptor:
		o := v.s.sibling(m, d.PartitionName)
		if o == nil || o.meta == nil || o.footer == nil {
			return nil
		}
		if h := (&image{meta: o.newest(), partition: o.partition}).hash(); h == nil || !bytes.Equal(h.Digest, d.Digest) || h.ImageSize != d.ImageSize {
			return differ(d.PartitionName)
		}
	case *avb.HashtreeDescriptor:
		o := v.s.sibling(m, d.PartitionName)
		if o == nil || o.meta == nil || o.footer == nil {
			return nil
		}
		if t := ownTree(o.newest(), d.PartitionName); t == nil || !bytes.Equal(t.RootDigest, d.RootDigest) || t.ImageSize != d.ImageSize {
			return differ(d.PartitionName)
		}
	}
	return nil
}

// newest is the image's vbmeta image, the new one if there is one.
func (m *image) newest() *avb.VBMeta {
	if m.now != nil {
		return m.now
	}
	return m.meta
}
