package payload

// Encode returns the manifest in AOSP's canonical encoding: fields in the order
// of their numbers, those that this package does not know last.
func (m *Manifest) Encode() []byte {
	e := encoder{r: &m.rest}
	e.uint(3, uint64(m.BlockSize))
	e.uint(4, m.SignaturesOffset)
	e.uint(5, m.SignaturesSize)
	e.b = append(e.b, m.images...)
	e.uint(12, uint64(m.MinorVersion))
	for i := range m.Partitions {
		e.put(13, m.Partitions[i].encode())
	}
	e.uint(14, uint64(m.MaxTimestamp))
	if m.Dynamic != nil {
		e.put(15, m.Dynamic.encode())
	}
	e.bool(16, m.PartialUpdate)
	for i := range m.Apexes {
		e.put(17, m.Apexes[i].encode())
	}
	e.string(18, m.SecurityPatch)
	return e.end()
}

func (p *Partition) encode() []byte {
	e := encoder{r: &p.rest}
	e.string(1, p.Name)
	e.bool(2, p.RunPostinstall)
	e.string(3, p.PostinstallPath)
	e.string(4, p.FilesystemType)
	for i := range p.NewSignatures {
		e.put(5, p.NewSignatures[i].encode())
	}
	if p.OldInfo != nil {
		e.put(6, p.OldInfo.encode())
	}
	if p.NewInfo != nil {
		e.put(7, p.NewInfo.encode())
	}
	for i := range p.Operations {
		e.put(8, p.Operations[i].encode())
	}
	e.bool(9, p.PostinstallOptional)
	e.extent(10, p.HashTreeDataExtent)
	e.extent(11, p.HashTreeExtent)
	e.string(12, p.HashTreeAlgorithm)
	e.bytes(13, p.HashTreeSalt)
	e.extent(14, p.FECDataExtent)
	e.extent(15, p.FECExtent)
	e.uint(16, uint64(p.FECRoots))
	e.string(17, p.Version)
	for i := range p.MergeOperations {
		e.put(18, p.MergeOperations[i].encode())
	}
	e.uint(19, p.EstimateCowSize)
	e.uint(20, p.EstimateOpCountMax)
	return e.end()
}

func (o *Operation) encode() []byte {
	// The type is required, and update_engine takes an operation without
	// data_offset or data_length to have no data.
	r := o.rest
	r.explicit |= 1 << 1
	if o.Type.hasData() || o.DataLength > 0 {
		r.explicit |= 1<<2 | 1<<3
	}
	e := encoder{r: &r}
	e.uint(1, uint64(o.Type))
	e.uint(2, o.DataOffset)
	e.uint(3, o.DataLength)
	for i := range o.SrcExtents {
		e.extent(4, &o.SrcExtents[i])
	}
	e.uint(5, o.SrcLength)
	for i := range o.DstExtents {
		e.extent(6, &o.DstExtents[i])
	}
	e.uint(7, o.DstLength)
	e.bytes(8, o.DataHash)
	e.bytes(9, o.SrcHash)
	return e.end()
}

func (x *Extent) encode() []byte {
	e := encoder{r: &rest{explicit: 1<<1 | 1<<2}}
	e.uint(1, x.StartBlock)
	e.uint(2, x.NumBlocks)
	return e.end()
}

func (p *PartitionInfo) encode() []byte {
	e := encoder{r: &p.rest}
	e.uint(1, p.Size)
	e.bytes(2, p.Hash)
	return e.end()
}

func (o *MergeOperation) encode() []byte {
	e := encoder{r: &o.rest}
	e.uint(1, uint64(o.Type))
	e.extent(2, o.SrcExtent)
	e.extent(3, o.DstExtent)
	e.uint(4, uint64(o.SrcOffset))
	return e.end()
}

func (p *DynamicPartitions) encode() []byte {
	e := encoder{r: &p.rest}
	for i := range p.Groups {
		e.put(1, p.Groups[i].encode())
	}
	e.bool(2, p.SnapshotEnabled)
	e.bool(3, p.VABCEnabled)
	e.string(4, p.VABCCompressionParam)
	e.uint(5, uint64(p.CowVersion))
	if p.VABCFeatures != nil {
		e.put(6, p.VABCFeatures.encode())
	}
	e.uint(7, p.CompressionFactor)
	return e.end()
}

func (f *VABCFeatures) encode() []byte {
	e := encoder{r: &f.rest}
	e.bool(1, f.Threaded)
	e.bool(2, f.BatchWrites)
	return e.end()
}

func (g *Group) encode() []byte {
	e := encoder{r: &g.rest}
	e.string(1, g.Name)
	e.uint(2, g.Size)
	for _, p := range g.Partitions {
		e.put(3, []byte(p))
	}
	return e.end()
}

func (a *Apex) encode() []byte {
	e := encoder{r: &a.rest}
	e.string(1, a.Package)
	e.uint(2, uint64(a.Version))
	e.bool(3, a.Compressed)
	e.uint(4, uint64(a.DecompressedSize))
	return e.end()
}

// Encode returns the message in AOSP's canonical encoding.
func (s *Signatures) Encode() []byte {
	e := encoder{r: &s.rest}
	for i := range s.Signatures {
		e.put(1, s.Signatures[i].encode())
	}
	return e.end()
}

func (s *Signature) encode() []byte {
	e := encoder{r: &s.rest}
	e.uint(1, uint64(s.Version))
	e.bytes(2, s.Data)
	e.fixed32(3, s.UnpaddedSize)
	return e.end()
}
