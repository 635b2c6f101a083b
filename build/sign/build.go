package sign

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"

	"mios"
	"mios/build/fstree"
	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/fsimage"
	"mios/format/sparse"
	"mios/format/targetfiles"
	"mios/internal/readat"
)

// rebuild makes an image anew, if anything of it changes: its files, its
// ramdisks, or what AVB puts behind it. Vbmeta images and super come later.
func (s *signing) rebuild(m *image) error {
	if m.kind == "vbmeta" || m.kind == "super" {
		return nil
	}
	var err error
	switch {
	case m.kind == "boot" || m.kind == "vendor_boot":
		m.out, err = s.remakeBoot(m)
	case m.partition == "pvmfw":
		m.out, err = s.remakeFirmware(m)
	case len(m.edits) > 0:
		m.out, err = s.editImage(m)
	}
	if err == nil && (m.out != "" || s.footerChanges(m)) {
		err = s.addFooter(m)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if m.out == "" {
		return nil
	}
	fi, err := os.Stat(m.out)
	if err != nil {
		return err
	}
	m.outLen = fi.Size()
	return nil
}

// original is the size of an image without what AVB puts behind it, in bytes.
func (m *image) original() int64 {
	if m.footer != nil {
		return int64(m.footer.OriginalImageSize)
	}
	return m.size
}

// editImage writes the image's file system with the new files to a file.
func (s *signing) editImage(m *image) (string, error) {
	name := s.work.name(m.name)
	if err := s.expand(m, name, m.original()); err != nil {
		return "", err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var o fsimage.EditOptions
	if !s.mayGrow(m) {
		if o.MaxSize, err = m.room(); err != nil {
			return "", err
		}
	}
	_, err = fstree.EditFile(s.ctx, f, m.original(), func(e fsimage.Editor) error {
		for _, inner := range slices.Sorted(maps.Keys(m.edits)) {
			if err := replace(e, inner, m.edits[inner]); err != nil {
				return err
			}
			s.change(Change{What: "file", Path: nested(m.name, inner)})
		}
		return nil
	}, o)
	if errors.Is(err, fsimage.ErrNoSpace) {
		err = fmt.Errorf("%w: the partition is too small for what signing adds: enlarge it in the build", err)
	}
	return name, err
}

// room is how large the file system may become, in bytes.
func (m *image) room() (int64, error) {
	if m.footer == nil {
		return m.size, nil
	}
	o, err := m.footerOptions()
	if err != nil {
		return 0, err
	}
	return o.MaxImageSize(m.tree() != nil)
}

// mayGrow reports whether an image may become larger: that of a partition in
// super, whose size is that of its image.
func (s *signing) mayGrow(m *image) bool {
	if s.misc != nil {
		return slices.Contains(s.misc.Fields("dynamic_partition_list"), m.partition)
	}
	p := targetfiles.FindPartition(m.partition)
	return p != nil && p.Super
}

// tree is the descriptor of the image's own hash tree, or nil.
func (m *image) tree() *avb.HashtreeDescriptor { return ownTree(m.meta, m.partition) }

func ownTree(m *avb.VBMeta, partition string) *avb.HashtreeDescriptor {
	for _, d := range m.Descriptors {
		if d, ok := d.(*avb.HashtreeDescriptor); ok && (d.PartitionName == partition || d.PartitionName == "") {
			return d
		}
	}
	return nil
}

// hash is the descriptor of the image's own digest, or nil.
func (m *image) hash() *avb.HashDescriptor {
	for _, d := range m.meta.Descriptors {
		if d, ok := d.(*avb.HashDescriptor); ok && (d.PartitionName == m.partition || d.PartitionName == "") {
			return d
		}
	}
	return nil
}

// footerOptions are those with which the image's footer was made.
func (m *image) footerOptions() (avbtool.FooterOptions, error) {
	var o avbtool.FooterOptions
	switch t, h := m.tree(), m.hash(); {
	case t != nil:
		o = footerOptions(m.meta, t)
	case h != nil:
		o = avbtool.FooterOptions{
			Content: contentOf(m.meta), PartitionName: h.PartitionName, HashAlgorithm: h.HashAlgorithm, Salt: orEmpty(h.Salt),
			Flags: h.Flags, PersistentDigest: len(h.Digest) == 0,
		}
	default:
		return o, fmt.Errorf("its vbmeta image has no descriptor of %s: %w", m.partition, errors.ErrUnsupported)
	}
	o.PartitionSize = m.size
	for _, d := range m.meta.Descriptors {
		switch d := d.(type) {
		case *avb.HashDescriptor:
			if d.PartitionName != o.PartitionName {
				return o, fmt.Errorf("its vbmeta image has a descriptor of %s, too: %w", d.PartitionName, errors.ErrUnsupported)
			}
		case *avb.HashtreeDescriptor:
			if d.PartitionName != o.PartitionName {
				return o, fmt.Errorf("its vbmeta image has a descriptor of %s, too: %w", d.PartitionName, errors.ErrUnsupported)
			}
		case *avb.KernelCmdlineDescriptor:
			switch t := m.tree(); {
			case t != nil && isRootfs(d, t):
				o.SetupAsRootfs = true
			case d.Flags == 0:
				o.Cmdlines = append(o.Cmdlines, d.Cmdline)
			default:
				return o, fmt.Errorf("its vbmeta image has a kernel command line that is not of its hash tree: %w", errors.ErrUnsupported)
			}
		}
	}
	return o, nil
}

// isRootfs reports whether a kernel command line is one that mounts a partition
// by its hash tree.
func isRootfs(d *avb.KernelCmdlineDescriptor, t *avb.HashtreeDescriptor) bool {
	return slices.ContainsFunc(avbtool.RootfsCmdlines(t), func(r avb.Descriptor) bool {
		return *r.(*avb.KernelCmdlineDescriptor) == *d
	})
}

// footerChanges reports whether what AVB puts behind an image changes although
// the image does not.
func (s *signing) footerChanges(m *image) bool {
	if m.meta == nil || m.footer == nil {
		return false
	}
	if m.key != nil {
		return true
	}
	_, set := s.o.Rollback[m.partition]
	return set || s.propertiesChange(m.meta)
}

// propertiesChange reports whether a vbmeta image has a fingerprint that changes.
func (s *signing) propertiesChange(m *avb.VBMeta) bool {
	return slices.ContainsFunc(m.Descriptors, func(d avb.Descriptor) bool {
		p, ok := d.(*avb.PropertyDescriptor)
		return ok && s.property(p) != string(p.Value)
	})
}

// property is a property of a vbmeta image with the tags changed.
func (s *signing) property(p *avb.PropertyDescriptor) string {
	if path.Ext(p.Key) != ".fingerprint" {
		return string(p.Value)
	}
	return rewriteFingerprint(string(p.Value), s.o.Tags)
}

// addFooter puts a hash or hash tree, a vbmeta image and a footer behind the new
// image as the old one had them, with the vendor's key.
func (s *signing) addFooter(m *image) error {
	if m.out == "" {
		m.out = s.work.name(m.name)
		if err := s.expand(m, m.out, m.original()); err != nil {
			return err
		}
	}
	if m.meta == nil || m.footer == nil {
		return s.fillUp(m)
	}
	o, err := m.footerOptions()
	if err != nil {
		return err
	}
	if err := s.setContent(&o.Content, m); err != nil {
		return err
	}
	fi, err := os.Stat(m.out)
	if err != nil {
		return err
	}
	hashtree := m.tree() != nil
	switch most, err := o.MaxImageSize(hashtree); {
	case s.mayGrow(m) && (m.tight() || err != nil || fi.Size() > most):
		o.PartitionSize = 0
	case err != nil:
		return err
	case fi.Size() > most:
		return fmt.Errorf("%d bytes are more than the %d that fit the partition: %w: enlarge it in the build", fi.Size(), most, mios.ErrInvalid)
	}
	tell := func(done, total int64) { s.say("hash "+m.partition, done, total) }
	if hashtree {
		_, err = avbtool.AddHashtree(s.ctx, m.out, o, tell)
	} else {
		_, err = avbtool.AddHash(s.ctx, m.out, o, tell)
	}
	if err != nil {
		return err
	}
	meta, err := avbtool.Read(m.out)
	if err != nil {
		return err
	}
	m.now, m.rawNow = meta.VBMeta, meta.Raw
	return s.noteVBMeta(m)
}

// tight reports whether the image is as large as it must be, and no larger.
func (m *image) tight() bool {
	end := m.footer.VBMetaOffset + m.footer.VBMetaSize
	return (end+avb.BlockSize-1)/avb.BlockSize*avb.BlockSize+avb.BlockSize == uint64(m.size)
}

// fillUp makes an image without a footer as long as it was.
func (s *signing) fillUp(m *image) error {
	fi, err := os.Stat(m.out)
	if err != nil || fi.Size() >= m.size {
		return err
	}
	return os.Truncate(m.out, m.size)
}

// setContent changes what a vbmeta image says to what the vendor's says.
func (s *signing) setContent(c *avbtool.Content, m *image) error {
	if m.key != nil {
		var err error
		if c.Algorithm, err = algorithmFor(m.meta.Algorithm, m.key); err != nil {
			return err
		}
		c.Key = m.key.Signer
	}
	if index, ok := s.o.Rollback[m.partition]; ok {
		c.RollbackIndex = index
	}
	for i, p := range c.Properties {
		c.Properties[i] = &avb.PropertyDescriptor{Key: p.Key, Value: []byte(s.property(p))}
	}
	for i, d := range c.Chains {
		now, err := s.chain(m, d)
		if err != nil {
			return err
		}
		c.Chains[i] = now
	}
	return nil
}

// noteVBMeta tells of an image's new vbmeta image.
func (s *signing) noteVBMeta(m *image) error {
	c := Change{What: "vbmeta", Path: m.name}
	if m.key == nil {
		c.What = "image"
		s.change(c)
		return nil
	}
	pub, err := m.key.avbKey()
	if err != nil {
		return err
	}
	c.Old, c.New, c.Key = describe("", m.meta.PublicKey), describe(m.key.Name, pub), m.key.Name
	s.change(c)
	return nil
}

// finish makes the entry of an image of the new image: sparse, if it was.
func (s *signing) finish(m *image) error {
	if m.out == "" {
		return nil
	}
	c := &content{file: m.out, size: m.outLen}
	if m.sparse != nil {
		name := s.work.name(m.name)
		if err := s.sparsely(m, name); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		var err error
		if c, err = fileContent(name); err != nil {
			return err
		}
	}
	s.set(m.name, c)
	return nil
}

// sparsely writes the new image to a file as an Android sparse image. Holes of
// the old one, whose content does not matter, stay holes where there are zeros.
func (s *signing) sparsely(m *image, name string) error {
	return withFile(m.out, func(r io.ReaderAt, size int64) error {
		block := m.sparse.BlockSize
		img, err := sparse.Scan(s.ctx, r, size, block, nil)
		if err != nil {
			return err
		}
		chunks, err := keepHoles(r, img.Chunks, holes(m.sparse.Chunks))
		if err != nil {
			return err
		}
		if img, err = sparse.Compose(r, block, chunks); err != nil {
			return err
		}
		return create(name, func(w *os.File) error { return img.Encode(s.ctx, w, nil) })
	})
}

// holes are the chunks of an image that are holes.
func holes(chunks []sparse.Chunk) []sparse.Chunk {
	return slices.DeleteFunc(slices.Clone(chunks), func(c sparse.Chunk) bool { return c.Kind != sparse.Hole })
}

// keepHoles returns the chunks of the plain image r, with holes where there are
// fills with zeros and were holes.
func keepHoles(r io.ReaderAt, chunks, old []sparse.Chunk) ([]sparse.Chunk, error) {
	var out []sparse.Chunk
	for _, c := range chunks {
		if c.Kind != sparse.Fill {
			out = append(out, c)
			continue
		}
		var b [4]byte
		if err := readat.Full(r, b[:], c.Off); err != nil {
			return nil, err
		}
		if binary.LittleEndian.Uint32(b[:]) != 0 {
			out = append(out, c)
			continue
		}
		out = append(out, cutFill(c, old)...)
	}
	return out, nil
}

// cutFill cuts a fill with zeros where there were holes.
func cutFill(c sparse.Chunk, old []sparse.Chunk) []sparse.Chunk {
	var out []sparse.Chunk
	at, end := c.Start, c.Start+c.Blocks
	add := func(kind sparse.Kind, to uint32) {
		if to > at {
			out = append(out, sparse.Chunk{Kind: kind, Start: at, Blocks: to - at, Off: c.Off})
			at = to
		}
	}
	i, _ := slices.BinarySearchFunc(old, at, func(h sparse.Chunk, at uint32) int { return cmp.Compare(h.Start+h.Blocks, at+1) })
	for ; i < len(old) && old[i].Start < end; i++ {
		add(sparse.Fill, max(at, old[i].Start))
		add(sparse.Hole, min(end, old[i].Start+old[i].Blocks))
	}
	add(sparse.Fill, end)
	return out
}

// remakeFirmware puts the new key of the virtual machines' APEX into the firmware
// that verifies them, where the old one stands.
func (s *signing) remakeFirmware(m *image) (string, error) {
	if m.original() > maxBoot {
		return "", fmt.Errorf("%d bytes; at most %d are read: %w", m.original(), maxBoot, mios.ErrInvalid)
	}
	b := make([]byte, m.original())
	err := s.withImage(m, func(r io.ReaderAt) error { return readat.Full(r, b, 0) })
	if err != nil {
		return "", err
	}
	now := s.replaceKeys(b)
	if now == nil {
		return "", nil
	}
	s.change(Change{What: "image", Path: m.name})
	name := s.work.name(m.name)
	return name, os.WriteFile(name, now, 0o600)
}
