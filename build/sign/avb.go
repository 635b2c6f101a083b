package sign

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"slices"

	"mios"
	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/targetfiles"
)

// sibling is the image of another partition in the same folder, or nil.
func (s *signing) sibling(m *image, partition string) *image {
	dir := path.Dir(m.name)
	if dir == "." {
		return s.images[partition+".img"]
	}
	return s.images[dir+"/"+partition+".img"]
}

// vbmetas are the vbmeta images of their own, sorted by name.
func (s *signing) vbmetas() []*image {
	var out []*image
	for _, m := range s.images {
		if m.kind == "vbmeta" {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *image) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return out
}

// remakeVBMeta makes a vbmeta image anew: the descriptors of images that were
// rebuilt, the keys of chains, the vendor's signature.
func (s *signing) remakeVBMeta(m *image) error {
	now, err := avb.Parse(m.raw)
	if err != nil {
		return err
	}
	for i, d := range now.Descriptors {
		if now.Descriptors[i], err = s.descriptor(m, d); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if index, ok := s.o.Rollback[m.partition]; ok {
		now.RollbackIndex = index
	}
	raw, err := signVBMeta(now, m.key)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if len(raw) > avb.MaxVBMetaSize {
		return fmt.Errorf("%s: a vbmeta image of %d bytes; loaders take %d: %w", m.name, len(raw), avb.MaxVBMetaSize, mios.ErrInvalid)
	}
	if bytes.Equal(raw, m.raw) {
		return nil
	}
	m.now, m.rawNow = now, raw
	size := max(m.size, (int64(len(raw))+avb.BlockSize-1)/avb.BlockSize*avb.BlockSize)
	m.out, m.outLen = s.work.name(m.name), size
	if err := os.WriteFile(m.out, append(raw[:len(raw):len(raw)], make([]byte, size-int64(len(raw)))...), 0o600); err != nil {
		return err
	}
	return s.noteVBMeta(m)
}

// descriptor is what becomes of a descriptor of a vbmeta image.
func (s *signing) descriptor(m *image, d avb.Descriptor) (avb.Descriptor, error) {
	switch d := d.(type) {
	case *avb.PropertyDescriptor:
		return &avb.PropertyDescriptor{Key: d.Key, Value: []byte(s.property(d))}, nil
	case *avb.ChainPartitionDescriptor:
		return s.chain(m, d)
	case *avb.HashDescriptor:
		if o := s.sibling(m, d.PartitionName); o != nil && o.now != nil {
			for _, n := range o.now.Descriptors {
				if n, ok := n.(*avb.HashDescriptor); ok && n.PartitionName == d.PartitionName {
					return n, nil
				}
			}
		}
	case *avb.HashtreeDescriptor:
		if o := s.sibling(m, d.PartitionName); o != nil && o.now != nil {
			if n := ownTree(o.now, d.PartitionName); n != nil {
				return n, nil
			}
		}
	case *avb.KernelCmdlineDescriptor:
		return s.cmdline(m, d), nil
	}
	return d, nil
}

// cmdline is a kernel command line with the new hash tree, if it is that of one.
func (s *signing) cmdline(m *image, d *avb.KernelCmdlineDescriptor) avb.Descriptor {
	for _, o := range s.images {
		if o.now == nil || o.meta == nil || path.Dir(o.name) != path.Dir(m.name) {
			continue
		}
		was, is := o.tree(), ownTree(o.now, o.partition)
		if was == nil || is == nil {
			continue
		}
		now := avbtool.RootfsCmdlines(is)
		for i, r := range avbtool.RootfsCmdlines(was) {
			if *r.(*avb.KernelCmdlineDescriptor) == *d {
				return now[i]
			}
		}
		old, root := []byte(hex.EncodeToString(was.RootDigest)), []byte(hex.EncodeToString(is.RootDigest))
		if len(old) > 0 && bytes.Contains([]byte(d.Cmdline), old) {
			return &avb.KernelCmdlineDescriptor{Flags: d.Flags, Cmdline: string(bytes.ReplaceAll([]byte(d.Cmdline), old, root))}
		}
	}
	return d
}

// chain is the descriptor of a chain partition with the vendor's key: that of
// the partition's image, or, without one, of what the key has signed.
func (s *signing) chain(m *image, d *avb.ChainPartitionDescriptor) (*avb.ChainPartitionDescriptor, error) {
	now := *d
	if o := s.sibling(m, d.PartitionName); o != nil && o.meta != nil {
		if o.key == nil {
			return &now, nil
		}
		var err error
		now.PublicKey, err = o.key.avbKey()
		return &now, err
	}
	pub, err := s.chainKey(d)
	if pub != nil {
		now.PublicKey = pub
	}
	return &now, err
}

// chainKey is the key that a chain gets whose image is not there, or nil if it
// stays.
func (s *signing) chainKey(d *avb.ChainPartitionDescriptor) ([]byte, error) {
	_, named := s.o.AVB[d.PartitionName]
	_, test := targetfiles.TestAVBKey(d.PublicKey)
	if !named && !test && s.avbKeys[string(d.PublicKey)] == nil {
		return nil, nil
	}
	k, err := s.ring.avb(d.PartitionName, describe("", d.PublicKey))
	if k == nil || err != nil {
		return nil, err
	}
	return k.avbKey()
}

// surveyChains finds the keys of chains whose images are not there.
func (s *signing) surveyChains() error {
	for _, m := range s.images {
		if m.meta == nil {
			continue
		}
		for _, d := range m.meta.Descriptors {
			d, ok := d.(*avb.ChainPartitionDescriptor)
			if !ok {
				continue
			}
			if o := s.sibling(m, d.PartitionName); o != nil && o.meta != nil {
				continue
			}
			if _, err := s.chainKey(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// vbmetaDigest is the digest over the vbmeta image and those chained to it, as
// avbtool calculate_vbmeta_digest has it; nil without a vbmeta image.
func (s *signing) vbmetaDigest() ([]byte, error) {
	top := s.images[s.src.ImageName("vbmeta")]
	if top == nil || top.meta == nil {
		return nil, nil
	}
	raws := [][]byte{top.current()}
	meta := top.meta
	if top.now != nil {
		meta = top.now
	}
	for _, d := range meta.Descriptors {
		if d, ok := d.(*avb.ChainPartitionDescriptor); ok {
			o := s.sibling(top, d.PartitionName)
			if o == nil || o.meta == nil {
				return nil, nil
			}
			raws = append(raws, o.current())
		}
	}
	return avb.VBMetaDigest("sha256", raws...)
}

// current is the image's vbmeta image, the new one if there is one.
func (m *image) current() []byte {
	if m.rawNow != nil {
		return m.rawNow
	}
	return m.raw
}

// replaceKeys returns b with keys in AVB's encoding replaced that others take the
// place of, or nil if there are none.
func (s *signing) replaceKeys(b []byte) []byte {
	var out []byte
	for old, now := range s.avbKeys {
		if len(old) != len(now) || old == string(now) || !bytes.Contains(b, []byte(old)) {
			continue
		}
		if out == nil {
			out = bytes.Clone(b)
		}
		out = bytes.ReplaceAll(out, []byte(old), now)
	}
	return out
}
