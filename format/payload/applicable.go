package payload

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"mios"
)

// A policy is what an apply takes.
type policy struct {
	source  bool   // there is an installed system
	maxData uint64 // of an operation, in bytes
}

// applicable says why the manifest cannot be applied. It is all that can be
// known without data and source.
func (m *Manifest) applicable(o policy, partitions []string) error {
	var next uint64
	for i := range m.Partitions {
		p := &m.Partitions[i]
		wanted := partitions == nil || slices.Contains(partitions, p.Name)
		if wanted {
			if err := p.applicable(m.Block(), o); err != nil {
				return fmt.Errorf("partition %s: %w", p.Name, err)
			}
		}
		for j := range p.Operations {
			op := &p.Operations[j]
			if op.DataLength > 0 && op.DataOffset != next {
				return p.failed(j, fmt.Errorf("data at %d, want it at %d, in the operations' order: %w", op.DataOffset, next, mios.ErrInvalid))
			}
			next += op.DataLength // DataOffset is below far, and so is the sum before each
		}
	}
	if m.SignaturesSize > 0 && m.SignaturesOffset != next {
		return fmt.Errorf("payload signature at %d, want it after the data, at %d: %w", m.SignaturesOffset, next, mios.ErrInvalid)
	}
	return nil
}

// open opens what the partition's operations read, if any of them does, and what
// they write.
func (p *Partition) open(source func(string) (io.ReaderAt, error), target func(string) (io.WriterAt, error)) (from io.ReaderAt, to io.WriterAt, err error) {
	if to, err = target(p.Name); err == nil && p.hasSource() {
		from, err = source(p.Name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("partition %s: %w", p.Name, err)
	}
	return from, to, nil
}

// failed names the operation in its error.
func (p *Partition) failed(j int, err error) error {
	return fmt.Errorf("partition %s: operation %d (%v): %w", p.Name, j, p.Operations[j].Type, err)
}

func (p *Partition) applicable(block uint64, o policy) error {
	if p.NewInfo == nil {
		return fmt.Errorf("no new_partition_info: %w", mios.ErrInvalid)
	}
	for j := range p.Operations {
		op := &p.Operations[j]
		if err := op.applicable(p, block, o); err != nil {
			return fmt.Errorf("operation %d (%v): %w", j, op.Type, err)
		}
	}
	if err := p.overlap(); err != nil {
		return err
	}
	return p.checkVerity(block)
}

// applicable says why the operation cannot be applied.
func (op *Operation) applicable(p *Partition, block uint64, o policy) error {
	switch op.Type {
	case Replace, ReplaceBZ, ReplaceXZ:
		if len(op.DataHash) != sha256.Size {
			return fmt.Errorf("no data_sha256_hash: %w", mios.ErrInvalid)
		}
	case SourceBSDiff, BrotliBSDiff, Puffdiff, LZ4DiffBSDiff, LZ4DiffPuff:
		if len(op.DataHash) != sha256.Size || op.DataLength == 0 {
			return fmt.Errorf("no data, or no data_sha256_hash: %w", mios.ErrInvalid)
		}
	case Zero, Discard, SourceCopy:
		if op.DataLength != 0 {
			return fmt.Errorf("has data: %w", mios.ErrInvalid)
		}
	case Move, BSDiff:
		return fmt.Errorf("writes over what it reads, as payloads of minor version 1 did, and is not applied: %w: make the payload for slots", mios.ErrInvalid)
	case Zucchini:
		return fmt.Errorf("not one that is applied: %w: make the payload without Zucchini", mios.ErrInvalid)
	default:
		return fmt.Errorf("no operation of update_engine: %w", mios.ErrInvalid)
	}
	if op.DataLength > o.maxData {
		return fmt.Errorf("%d bytes of data, want at most %d: %w", op.DataLength, o.maxData, mios.ErrInvalid)
	}
	if err := inside("destination", op.DstExtents, p.NewInfo.Size, block); err != nil {
		return err
	}
	return op.checkSource(p, block, o)
}

// checkSource says what is wrong with what the operation reads.
func (op *Operation) checkSource(p *Partition, block uint64, o policy) error {
	if !op.Type.hasSource() {
		if len(op.SrcExtents) > 0 {
			return fmt.Errorf("has a source, and reads none: %w", mios.ErrInvalid)
		}
		return nil
	}
	if !o.source {
		return fmt.Errorf("needs the installed partition, and there is none; only what a full payload has is applied here: %w", mios.ErrInvalid)
	}
	if p.OldInfo == nil {
		return fmt.Errorf("no old_partition_info: %w", mios.ErrInvalid)
	}
	if err := inside("source", op.SrcExtents, p.OldInfo.Size, block); err != nil {
		return err
	}
	// More than once around the partition is no patch that anybody made.
	all := p.OldInfo.Size / block
	src := blocksOf(op.SrcExtents, all)
	if src > all {
		return fmt.Errorf("source of more than the partition's %d blocks: %w", all, mios.ErrInvalid)
	}
	if dst := blocksOf(op.DstExtents, p.NewInfo.Size/block); op.Type == SourceCopy && src != dst {
		return fmt.Errorf("source of %d blocks, destination of %d: %w", src, dst, mios.ErrInvalid)
	}
	return nil
}

// inside refuses extents beyond a partition's size; [Manifest.check] has seen to
// it that the sums do not overflow.
func inside(what string, xs []Extent, size, block uint64) error {
	if len(xs) == 0 {
		return fmt.Errorf("no %s: %w", what, mios.ErrInvalid)
	}
	for _, x := range xs {
		if (x.StartBlock+x.NumBlocks)*block > size {
			return fmt.Errorf("%s: blocks %d to %d are beyond the partition's %d bytes: %w",
				what, x.StartBlock, x.StartBlock+x.NumBlocks, size, mios.ErrInvalid)
		}
	}
	return nil
}

// overlap refuses a partition with a block that is written twice.
func (p *Partition) overlap() error {
	type owned struct {
		Extent
		op int
	}
	var all []owned
	for j := range p.Operations {
		for _, x := range p.Operations[j].DstExtents {
			all = append(all, owned{x, j})
		}
	}
	slices.SortFunc(all, func(a, b owned) int { return cmp.Compare(a.StartBlock, b.StartBlock) })
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.StartBlock+a.NumBlocks > b.StartBlock {
			first, second := min(a.op, b.op), max(a.op, b.op)
			return fmt.Errorf("operation %d (%v): destination: block %d is written by operation %d too: %w",
				second, p.Operations[second].Type, b.StartBlock, first, mios.ErrInvalid)
		}
	}
	return nil
}
