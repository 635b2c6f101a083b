package payload

import (
	"bytes"
	"crypto/sha256"

	"mios/internal/protowire"
)

// counts bounds how much larger than its bytes a manifest may become.
type counts struct{ operations, extents int }

// DecodeManifest reads a manifest strictly: what it accepts, Encode gives back
// byte for byte, fields that it does not know included.
func DecodeManifest(b []byte) (*Manifest, error) { return decodeManifest(b, 0) }

func decodeManifest(b []byte, off int64) (*Manifest, error) {
	if len(b) > MaxManifest {
		return nil, bad(off, "manifest of %d bytes, want at most %d", len(b), MaxManifest)
	}
	m := new(Manifest)
	if err := m.decode(b, off); err != nil {
		return nil, err
	}
	if err := same(b, m.Encode(), off); err != nil {
		return nil, err
	}
	return m, m.check(off)
}

// same refuses an encoding other than the one that AOSP's encoder writes.
func same(got, want []byte, off int64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	return bad(off+int64(i), "not in canonical encoding: a field twice, out of order, or in more bytes than it needs")
}

func (m *Manifest) decode(b []byte, off int64) error {
	d, c := decoder{&m.rest}, new(counts)
	return each(b, off, func(x field) error {
		switch x.num {
		case 1, 2:
			return bad(x.off, "field %d: an operation of major version 1", x.num)
		case 3:
			return number(d, &x, &m.BlockSize)
		case 4:
			return number(d, &x, &m.SignaturesOffset)
		case 5:
			return number(d, &x, &m.SignaturesSize)
		case 6, 7, 8, 9, 10, 11:
			m.images = append(m.images, x.raw...)
			return nil
		case 12:
			return number(d, &x, &m.MinorVersion)
		case 13:
			return messages(&x, &m.Partitions, func(p *Partition, b []byte, off int64) error { return p.decode(b, off, c) })
		case 14:
			return number(d, &x, &m.MaxTimestamp)
		case 15:
			return message(&x, &m.Dynamic, (*DynamicPartitions).decode)
		case 16:
			return boolean(d, &x, &m.PartialUpdate)
		case 17:
			return messages(&x, &m.Apexes, (*Apex).decode)
		case 18:
			return octets(d, &x, &m.SecurityPatch)
		}
		return d.keep(&x)
	})
}

func (p *Partition) decode(b []byte, off int64, c *counts) error {
	d := decoder{&p.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return octets(d, &x, &p.Name)
		case 2:
			return boolean(d, &x, &p.RunPostinstall)
		case 3:
			return octets(d, &x, &p.PostinstallPath)
		case 4:
			return octets(d, &x, &p.FilesystemType)
		case 5:
			return messages(&x, &p.NewSignatures, (*Signature).decode)
		case 6:
			return message(&x, &p.OldInfo, (*PartitionInfo).decode)
		case 7:
			return message(&x, &p.NewInfo, (*PartitionInfo).decode)
		case 8:
			if c.operations++; c.operations > MaxOperations {
				return bad(x.off, "more than %d operations", MaxOperations)
			}
			return messages(&x, &p.Operations, func(o *Operation, b []byte, off int64) error { return o.decode(b, off, c) })
		case 9:
			return boolean(d, &x, &p.PostinstallOptional)
		case 10:
			return message(&x, &p.HashTreeDataExtent, (*Extent).decode)
		case 11:
			return message(&x, &p.HashTreeExtent, (*Extent).decode)
		case 12:
			return octets(d, &x, &p.HashTreeAlgorithm)
		case 13:
			return octets(d, &x, &p.HashTreeSalt)
		case 14:
			return message(&x, &p.FECDataExtent, (*Extent).decode)
		case 15:
			return message(&x, &p.FECExtent, (*Extent).decode)
		case 16:
			return number(d, &x, &p.FECRoots)
		case 17:
			return octets(d, &x, &p.Version)
		case 18:
			if c.operations++; c.operations > MaxOperations {
				return bad(x.off, "more than %d operations", MaxOperations)
			}
			return messages(&x, &p.MergeOperations, (*MergeOperation).decode)
		case 19:
			return number(d, &x, &p.EstimateCowSize)
		case 20:
			return number(d, &x, &p.EstimateOpCountMax)
		}
		return d.keep(&x)
	})
}

func (o *Operation) decode(b []byte, off int64, c *counts) error {
	d, seen := decoder{&o.rest}, uint32(0)
	extents := func(x *field, to *[]Extent) error {
		if c.extents++; c.extents > MaxExtents {
			return bad(x.off, "more than %d extents", MaxExtents)
		}
		return messages(x, to, (*Extent).decode)
	}
	err := each(b, off, func(x field) error {
		if x.num < 32 {
			seen |= 1 << uint(x.num)
		}
		switch x.num {
		case 1:
			return number(d, &x, &o.Type)
		case 2:
			return number(d, &x, &o.DataOffset)
		case 3:
			return number(d, &x, &o.DataLength)
		case 4:
			return extents(&x, &o.SrcExtents)
		case 5:
			return number(d, &x, &o.SrcLength)
		case 6:
			return extents(&x, &o.DstExtents)
		case 7:
			return number(d, &x, &o.DstLength)
		case 8:
			return octets(d, &x, &o.DataHash)
		case 9:
			return octets(d, &x, &o.SrcHash)
		}
		return d.keep(&x)
	})
	const data = 1<<2 | 1<<3
	switch {
	case err != nil:
		return err
	case seen&(1<<1) == 0:
		return bad(off, "operation without a type")
	case o.Type.hasData() && seen&data != data:
		return bad(off, "%v operation without data_offset or data_length", o.Type)
	case len(o.DataHash) != 0 && len(o.DataHash) != sha256.Size:
		return bad(off, "data_sha256_hash of %d bytes, want %d", len(o.DataHash), sha256.Size)
	}
	return nil
}

func (e *Extent) decode(b []byte, off int64) error {
	seen, d := 0, decoder{new(rest)}
	err := each(b, off, func(x field) error {
		seen++
		switch x.num {
		case 1:
			return number(d, &x, &e.StartBlock)
		case 2:
			return number(d, &x, &e.NumBlocks)
		}
		return bad(x.off, "extent with field %d", x.num)
	})
	if err == nil && seen != 2 {
		return bad(off, "extent without start_block or num_blocks")
	}
	return err
}

func (p *PartitionInfo) decode(b []byte, off int64) error {
	d := decoder{&p.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return number(d, &x, &p.Size)
		case 2:
			return octets(d, &x, &p.Hash)
		}
		return d.keep(&x)
	})
}

func (o *MergeOperation) decode(b []byte, off int64) error {
	d := decoder{&o.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return number(d, &x, &o.Type)
		case 2:
			return message(&x, &o.SrcExtent, (*Extent).decode)
		case 3:
			return message(&x, &o.DstExtent, (*Extent).decode)
		case 4:
			return number(d, &x, &o.SrcOffset)
		}
		return d.keep(&x)
	})
}

func (p *DynamicPartitions) decode(b []byte, off int64) error {
	d := decoder{&p.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return messages(&x, &p.Groups, (*Group).decode)
		case 2:
			return boolean(d, &x, &p.SnapshotEnabled)
		case 3:
			return boolean(d, &x, &p.VABCEnabled)
		case 4:
			return octets(d, &x, &p.VABCCompressionParam)
		case 5:
			return number(d, &x, &p.CowVersion)
		case 6:
			return message(&x, &p.VABCFeatures, (*VABCFeatures).decode)
		case 7:
			return number(d, &x, &p.CompressionFactor)
		}
		return d.keep(&x)
	})
}

func (f *VABCFeatures) decode(b []byte, off int64) error {
	d := decoder{&f.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return boolean(d, &x, &f.Threaded)
		case 2:
			return boolean(d, &x, &f.BatchWrites)
		}
		return d.keep(&x)
	})
}

func (g *Group) decode(b []byte, off int64) error {
	d := decoder{&g.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return octets(d, &x, &g.Name)
		case 2:
			return number(d, &x, &g.Size)
		case 3:
			if err := x.want(protowire.Bytes); err != nil {
				return err
			}
			g.Partitions = append(g.Partitions, string(x.b))
			return nil
		}
		return d.keep(&x)
	})
}

func (a *Apex) decode(b []byte, off int64) error {
	d := decoder{&a.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return octets(d, &x, &a.Package)
		case 2:
			return number(d, &x, &a.Version)
		case 3:
			return boolean(d, &x, &a.Compressed)
		case 4:
			return number(d, &x, &a.DecompressedSize)
		}
		return d.keep(&x)
	})
}

// DecodeSignatures reads a Signatures message strictly.
func DecodeSignatures(b []byte) (*Signatures, error) { return decodeSignatures(b, 0) }

func decodeSignatures(b []byte, off int64) (*Signatures, error) {
	if len(b) > MaxSignatures {
		return nil, bad(off, "signatures of %d bytes, want at most %d", len(b), MaxSignatures)
	}
	s := new(Signatures)
	d := decoder{&s.rest}
	err := each(b, off, func(x field) error {
		if x.num == 1 {
			return messages(&x, &s.Signatures, (*Signature).decode)
		}
		return d.keep(&x)
	})
	if err != nil {
		return nil, err
	}
	return s, same(b, s.Encode(), off)
}

func (s *Signature) decode(b []byte, off int64) error {
	d := decoder{&s.rest}
	return each(b, off, func(x field) error {
		switch x.num {
		case 1:
			return number(d, &x, &s.Version)
		case 2:
			return octets(d, &x, &s.Data)
		case 3:
			if err := x.want(protowire.Fixed32); err != nil {
				return err
			}
			s.UnpaddedSize = uint32(x.u)
			d.note(&x, x.u == 0)
			return nil
		}
		return d.keep(&x)
	})
}
