package payload

import "crypto/sha256"

// far is beyond any offset of a payload or a partition, in bytes: 1 PiB. Sums
// of what is below it do not overflow.
const far = 1 << 50

// check refuses a manifest whose numbers cannot be meant. Whether this package
// can apply it is another question: see [Applier].
func (m *Manifest) check(off int64) error {
	block := m.Block()
	if m.BlockSize == 0 && m.explicit&(1<<3) != 0 || block&(block-1) != 0 || block > 1<<20 {
		return bad(off, "block size %d, want a power of two up to 1 MiB", m.BlockSize)
	}
	if m.SignaturesOffset >= far || m.SignaturesSize > MaxSignatures {
		return bad(off, "payload signature of %d bytes at %d", m.SignaturesSize, m.SignaturesOffset)
	}
	seen := map[string]bool{}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		switch {
		case !validName(p.Name):
			return bad(off, "partition %d: name %q, want letters, digits, _ and -", i, p.Name)
		case seen[p.Name]:
			return bad(off, "partition %s is there twice", p.Name)
		}
		seen[p.Name] = true
		for _, info := range []*PartitionInfo{p.OldInfo, p.NewInfo} {
			switch {
			case info == nil:
			case info.Size >= far:
				return bad(off, "partition %s: size %d", p.Name, info.Size)
			case len(info.Hash) != sha256.Size:
				return bad(off, "partition %s: hash of %d bytes, want %d", p.Name, len(info.Hash), sha256.Size)
			}
		}
		for _, x := range []*Extent{p.HashTreeDataExtent, p.HashTreeExtent, p.FECDataExtent, p.FECExtent} {
			if x != nil && !x.near(block) {
				return bad(off, "partition %s: extent of the hash tree or its parity is empty or beyond any partition", p.Name)
			}
		}
		for j := range p.Operations {
			if msg := p.Operations[j].check(block); msg != "" {
				return bad(off, "partition %s: operation %d: %s", p.Name, j, msg)
			}
		}
	}
	return nil
}

func (o *Operation) check(block uint64) string {
	if o.DataOffset >= far || o.DataLength >= far {
		return "data beyond any payload"
	}
	for _, x := range o.DstExtents {
		if !x.near(block) {
			return "destination extent is empty or beyond any partition"
		}
	}
	for _, x := range o.SrcExtents {
		if !x.near(block) {
			return "source extent is empty or beyond any partition"
		}
	}
	return ""
}

// near reports whether the extent has blocks and ends where sums are safe.
func (x *Extent) near(block uint64) bool {
	return x.NumBlocks > 0 && x.StartBlock < far/block && x.NumBlocks < far/block
}

// validName keeps names from meaning anything but a partition.
func validName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}
