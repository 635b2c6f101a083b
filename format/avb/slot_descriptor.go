package avb

import (
	"encoding/binary"
	"strings"
)

// rawDescriptor is one with a sound length.
type rawDescriptor struct {
	tag  uint64
	body []byte
}

// descriptorsOf returns the descriptors up to the first broken one, as libavb
// does; the header is sound.
func descriptorsOf(h *header, b []byte) (ds []rawDescriptor) {
	rest := b[HeaderSize+h.AuthSize:]
	if !h.Descriptors.within(uint64(len(rest))) {
		return nil
	}
	rest = h.Descriptors.of(rest)
	for len(rest) >= descriptorHeaderSize {
		tag, n := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
		rest = rest[descriptorHeaderSize:]
		if n%8 != 0 || n > uint64(len(rest)) {
			break
		}
		ds = append(ds, rawDescriptor{tag, rest[:n]})
		rest = rest[n:]
	}
	return ds
}

// followDescriptors does what the descriptors say. fatal says that nothing
// after them is to be done.
func (v *slotVerifier) followDescriptors(src vbmetaSource, name string, ds []rawDescriptor) (ret *SlotError, fatal bool) {
	for _, raw := range ds {
		if raw.tag == TagProperty || raw.tag > TagChainPartition {
			continue
		}
		d, err := laxDescriptor(raw)
		if err != nil {
			return refuse(SlotErrorInvalidMetadata, name, "%v", err), true
		}
		var sub *SlotError
		stopOn := func(*SlotError) bool { return true }
		switch d := d.(type) {
		case *HashDescriptor:
			sub = v.loadHashed(d)
			stopOn = func(e *SlotError) bool { return !v.allow || !e.Result.goesOn() }
		case *ChainPartitionDescriptor:
			if !src.top {
				return refuse(SlotErrorInvalidMetadata, name, "chain partition descriptor in an image that is not the top-level one"), true
			}
			sub = v.loadVBMeta(vbmetaSource{
				name: d.PartitionName, useAB: d.Flags&FlagDoNotUseAB == 0, chained: true,
				key: d.PublicKey, location: d.RollbackIndexLocation, topFlags: src.topFlags,
			})
			stopOn = func(e *SlotError) bool { return !e.Result.goesOn() }
		case *KernelCmdlineDescriptor:
			unless := CmdlineOnlyIfHashtreeDisabled
			if src.topFlags&FlagHashtreeDisabled != 0 {
				unless = CmdlineOnlyIfHashtreeEnabled
			}
			if d.Flags&unless == 0 {
				v.cmdline = append(v.cmdline, d.Cmdline)
			}
		case *HashtreeDescriptor:
			if len(d.RootDigest) == 0 {
				sub = v.substituteRootDigest(d, src.chained)
			}
		}
		if sub != nil {
			ret = sub
			if stopOn(sub) {
				return ret, true
			}
		}
	}
	return ret, false
}

// laxDescriptor parses a descriptor as libavb does, which does not look at
// padding and reserved fields.
func laxDescriptor(raw rawDescriptor) (Descriptor, error) {
	d, err := parseDescriptor(raw.tag, raw.body, 0)
	if err == nil {
		return d, nil
	}
	c := &cursor{b: raw.body, start: raw.body}
	text := func(field []byte) string { s, _, _ := strings.Cut(string(field), "\x00"); return s }
	switch raw.tag {
	case TagHashtree:
		var l hashtreeLayout
		c.fixed(&l)
		d = &HashtreeDescriptor{
			HashAlgorithm: text(l.HashAlgorithm[:]), PartitionName: c.name(l.NameLen),
			Salt: c.bytes(uint64(l.SaltLen)), RootDigest: c.bytes(uint64(l.DigestLen)), Flags: l.Flags,
		}
	case TagHash:
		var l hashLayout
		c.fixed(&l)
		d = &HashDescriptor{
			l.ImageSize, text(l.HashAlgorithm[:]),
			c.name(l.NameLen), c.bytes(uint64(l.SaltLen)), c.bytes(uint64(l.DigestLen)), l.Flags,
		}
	case TagKernelCmdline:
		var l cmdlineLayout
		c.fixed(&l)
		d = &KernelCmdlineDescriptor{l.Flags, c.name(l.Length)}
	case TagChainPartition:
		var l chainLayout
		c.fixed(&l)
		if l.RollbackIndexLocation == 0 {
			return nil, err
		}
		d = &ChainPartitionDescriptor{l.RollbackIndexLocation, c.name(l.NameLen), c.bytes(uint64(l.KeyLen)), l.Flags}
	}
	return d, c.err
}
