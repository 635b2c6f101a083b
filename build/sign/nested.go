package sign

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/targetfiles"
)

// surveyNested looks at an image that is a file of a tree, such as that of a
// virtual machine's vendor partition. It is signed with the key of the
// partition that it is in, if it is signed.
func (s *signing) surveyNested(f *file, r io.ReaderAt, size int64) (keep bool, err error) {
	meta := nestedVBMeta(r, size)
	if meta == nil || meta.Algorithm == avb.None {
		return true, nil
	}
	partition := s.partitionOf(f)
	if f.key, err = s.ring.avb(partition, describe("", meta.PublicKey)); err != nil || f.key == nil {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return false, s.replaceAVB(meta.PublicKey, f.key)
}

// nestedVBMeta is the vbmeta image of an image with a footer, or nil.
func nestedVBMeta(r io.ReaderAt, size int64) *avb.VBMeta {
	raw, footer, err := avb.Read(r, size)
	if err != nil || footer == nil {
		return nil
	}
	m, err := avb.Parse(raw)
	if err != nil {
		return nil
	}
	return m
}

// partitionOf is the partition that a file is in.
func (s *signing) partitionOf(f *file) string {
	if f.image != nil {
		return f.image.partition
	}
	if p, _ := targetfiles.PartitionOf(f.entry.Name); p != "" {
		return p
	}
	top, _, _ := strings.Cut(f.entry.Name, "/")
	return strings.ToLower(top)
}

// signNested signs an image in a tree anew. Its file system does not change
// (releasetools, ReplaceKeyInAvbHashtreeFooter).
func (s *signing) signNested(f *file, r io.ReaderAt, size int64) (*content, error) {
	name := s.work.name(f.path)
	raw, footer, err := avb.Read(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	meta, err := avb.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	m := &image{name: f.path, size: size, meta: meta, footer: footer, raw: raw, key: f.key}
	m.partition = nestedPartition(meta)
	o, err := m.footerOptions()
	if err == nil {
		err = s.setContent(&o.Content, m)
	}
	if m.tight() {
		o.PartitionSize = 0
	}
	if err == nil {
		err = writeFile(name, &contextReader{s.ctx, io.NewSectionReader(r, 0, m.original())})
	}
	if err == nil && m.tree() != nil {
		_, err = avbtool.AddHashtree(s.ctx, name, o, nil)
	} else if err == nil {
		_, err = avbtool.AddHash(s.ctx, name, o, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	pub, err := f.key.avbKey()
	if err != nil {
		return nil, err
	}
	s.change(Change{What: "vbmeta", Path: f.path, Old: describe("", meta.PublicKey), New: describe(f.key.Name, pub), Key: f.key.Name})
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	return &content{file: name, size: fi.Size()}, nil
}

// nestedPartition is the partition that the image's descriptor names.
func nestedPartition(m *avb.VBMeta) string {
	for _, d := range m.Descriptors {
		switch d := d.(type) {
		case *avb.HashtreeDescriptor:
			return d.PartitionName
		case *avb.HashDescriptor:
			return d.PartitionName
		}
	}
	return ""
}

// isNested reports whether a file may be an image in something.
func isNested(name string) bool { return path.Ext(name) == ".img" }
