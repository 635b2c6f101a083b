package payload

import (
	"fmt"
	"io"

	"mios"
	"mios/format/avb"
)

// ReadWriterAt is a target of partitions whose hash tree or parity the manifest
// leaves to who applies it: that is computed from what was written.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// hasVerity reports whether hash tree or parity are to be computed.
func (p *Partition) hasVerity() bool { return p.HashTreeExtent != nil || p.FECExtent != nil }

// checkVerity refuses what the manifest cannot mean.
func (p *Partition) checkVerity(block uint64) error {
	if p.hasVerity() && (block != avb.BlockSize || len(p.Operations) == 0) {
		return fmt.Errorf("hash tree of blocks of %d bytes, after %d operations: %w", block, len(p.Operations), mios.ErrInvalid)
	}
	if x := p.HashTreeExtent; x != nil {
		if p.HashTreeDataExtent == nil || p.HashTreeDataExtent.StartBlock != 0 {
			return fmt.Errorf("hash_tree_data_extent: want one from block 0 on: %w", mios.ErrInvalid)
		}
		if err := inside("hash tree", []Extent{*x, *p.HashTreeDataExtent}, p.NewInfo.Size, block); err != nil {
			return err
		}
		want, err := avb.HashtreeSize(int64(p.HashTreeDataExtent.NumBlocks*block), p.HashTreeAlgorithm)
		if err != nil {
			return fmt.Errorf("hash tree: %v: %w", err, mios.ErrInvalid)
		}
		if uint64(want) != x.NumBlocks*block || x.StartBlock < p.HashTreeDataExtent.NumBlocks {
			return fmt.Errorf("hash tree of %d bytes at block %d, want %d bytes after the data: %w", x.NumBlocks*block, x.StartBlock, want, mios.ErrInvalid)
		}
	}
	if x := p.FECExtent; x != nil {
		roots := p.fecRoots()
		if p.FECDataExtent == nil || p.FECDataExtent.StartBlock != 0 || roots < 1 || roots > 24 {
			return fmt.Errorf("fec_data_extent with %d roots: want one from block 0 on, and 1 to 24 roots: %w", roots, mios.ErrInvalid)
		}
		if err := inside("FEC", []Extent{*x, *p.FECDataExtent}, p.NewInfo.Size, block); err != nil {
			return err
		}
		want := avb.FECSize(int64(p.FECDataExtent.NumBlocks*block), roots)
		if uint64(want) != x.NumBlocks*block || x.StartBlock < p.FECDataExtent.NumBlocks {
			return fmt.Errorf("FEC of %d bytes at block %d, want %d bytes after the data: %w", x.NumBlocks*block, x.StartBlock, want, mios.ErrInvalid)
		}
	}
	return p.verityAlone(block)
}

// verityAlone refuses operations that write where tree or parity go.
func (p *Partition) verityAlone(block uint64) error {
	for _, v := range []*Extent{p.HashTreeExtent, p.FECExtent} {
		if v == nil {
			continue
		}
		for j := range p.Operations {
			for _, x := range p.Operations[j].DstExtents {
				if x.StartBlock < v.StartBlock+v.NumBlocks && v.StartBlock < x.StartBlock+x.NumBlocks {
					return fmt.Errorf("operation %d (%v): destination: block %d is of the hash tree or its parity: %w",
						j, p.Operations[j].Type, max(x.StartBlock, v.StartBlock), mios.ErrInvalid)
				}
			}
		}
	}
	return nil
}

// fecRoots returns the manifest's number of roots; the schema's default is 2.
func (p *Partition) fecRoots() int {
	if p.FECRoots == 0 && p.explicit&(1<<16) == 0 {
		return 2
	}
	return int(min(p.FECRoots, 255))
}

// writeVerity computes the hash tree and its parity from what all operations of
// the partition wrote, as update_engine's verity writer does.
func (p *Partition) writeVerity(block uint64, to io.WriterAt) error {
	if !p.hasVerity() {
		return nil
	}
	rw, ok := to.(ReadWriterAt)
	if !ok {
		return fmt.Errorf("hash tree: the target cannot be read: %w", mios.ErrInvalid)
	}
	if x := p.HashTreeExtent; x != nil {
		size := int64(p.HashTreeDataExtent.NumBlocks * block)
		if _, err := avb.WriteHashtree(io.NewOffsetWriter(rw, int64(x.StartBlock*block)), rw, size, p.HashTreeAlgorithm, p.HashTreeSalt); err != nil {
			return fmt.Errorf("hash tree: %w", err)
		}
	}
	if x := p.FECExtent; x != nil {
		size := int64(p.FECDataExtent.NumBlocks * block)
		if err := avb.WriteFEC(io.NewOffsetWriter(rw, int64(x.StartBlock*block)), rw, size, p.fecRoots()); err != nil {
			return fmt.Errorf("FEC: %w", err)
		}
	}
	return nil
}
