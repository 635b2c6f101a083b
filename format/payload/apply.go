package payload

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
	"io"

	"mios"
)

// An Applier writes a payload's partitions while it reads the payload. In
// memory it holds one operation's data (at most [MaxBlob]), a decoder with its
// window (at most [MaxWindow]), and the manifest.
type Applier struct {
	Metadata *Metadata
	// Keys are those that may sign payloads. With none the payload is applied
	// whoever made it: that is for tools, never for a device.
	Keys []*rsa.PublicKey
	// Target opens a partition by its name, for writing; it is called when the
	// first operation of it is due.
	Target func(partition string) (io.WriterAt, error)
	// Source opens the installed partition of that name, for reading; it is called
	// only for partitions with operations that need it. Nil means that there is
	// none: then only operations of full payloads are applied.
	Source func(partition string) (io.ReaderAt, error)
	// Done is called after each operation and after the payload's end, with
	// where to go on. An error from it ends the apply.
	Done func(Checkpoint) error
}

// A Checkpoint is how far a payload has been applied: a resumed Apply needs the
// payload from Offset on, and not a byte before it.
type Checkpoint struct {
	Operation int    `json:"operation"` // the next one, counted over all partitions
	Offset    int64  `json:"offset"`    // the next byte of the payload
	Signed    []byte `json:"signed"`    // SHA-256's state over what the payload signature is over
	File      []byte `json:"file"`      // and over all of the payload
	Finished  bool   `json:"finished"`  // all operations done, payload signature verified
}

// Start returns where an apply begins.
func (m *Metadata) Start() Checkpoint {
	signed, file := sha256.New(), sha256.New()
	signed.Write(m.raw)
	file.Write(m.raw)
	file.Write(m.sig)
	return Checkpoint{Offset: m.Size(), Signed: state(signed), File: state(file)}
}

// Digest returns the SHA-256 of the payload's bytes before Offset.
func (c Checkpoint) Digest() ([sha256.Size]byte, error) {
	h, err := restore(c.File)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func state(h hash.Hash) []byte {
	b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("payload: SHA-256 cannot save its state: " + err.Error()) // the standard library's can
	}
	return b
}

func restore(b []byte) (hash.Hash, error) {
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("checkpoint: %v: %w", err, mios.ErrInvalid)
	}
	return h, nil
}

// run is one call of Apply.
type run struct {
	*Applier
	ctx          context.Context
	r            io.Reader
	at           Checkpoint
	signed, file hash.Hash
	blob         []byte
	dec          decoders
}

// Apply goes on from a checkpoint (or from Metadata.Start) to the payload's
// end; r yields the payload from the checkpoint's Offset on. No byte is written
// before the metadata signature and the hash of the operation that it belongs to
// are verified. A payload signature that does not verify is an error at the
// end: what was written must not be booted then.
//
// Apply does not sync what it writes, nor read it back: see [VerifyPartition].
func (a *Applier) Apply(ctx context.Context, r io.Reader, from Checkpoint) (Checkpoint, error) {
	if err := a.Check(); err != nil {
		return from, err
	}
	if from.Finished {
		return from, nil
	}
	x := &run{Applier: a, ctx: ctx, r: r, at: from}
	var err error
	if x.signed, err = restore(from.Signed); err != nil {
		return from, err
	}
	if x.file, err = restore(from.File); err != nil {
		return from, err
	}
	if err := x.operations(); err != nil {
		return x.at, err
	}
	return x.at, x.finish()
}

// Check verifies the metadata signature, and that every operation is one that
// Apply does, in the order of its data and inside its partition. Apply calls it
// first.
func (a *Applier) Check() error {
	if len(a.Keys) > 0 {
		if err := a.Metadata.Verify(a.Keys); err != nil {
			return err
		}
	}
	m := a.Metadata.Manifest
	var next uint64
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if p.NewInfo == nil {
			return fmt.Errorf("partition %s: no new_partition_info: %w", p.Name, mios.ErrInvalid)
		}
		for j := range p.Operations {
			op := &p.Operations[j]
			if err := op.applicable(m.Block(), p.NewInfo.Size, next); err != nil {
				return fmt.Errorf("partition %s: operation %d (%v): %w", p.Name, j, op.Type, err)
			}
			next += op.DataLength
		}
	}
	switch {
	case m.SignaturesSize > 0 && m.SignaturesOffset != next:
		return fmt.Errorf("payload signature at %d, want it after the data, at %d: %w", m.SignaturesOffset, next, mios.ErrInvalid)
	case m.SignaturesSize == 0 && len(a.Keys) > 0:
		return fmt.Errorf("payload signature: there is none: %w", ErrSignature)
	}
	return nil
}

// applicable says why the operation cannot be applied; next is where its data
// must stand.
func (o *Operation) applicable(block, size, next uint64) error {
	switch o.Type {
	case Replace, ReplaceBZ, ReplaceXZ:
		if len(o.DataHash) != sha256.Size {
			return fmt.Errorf("no data_sha256_hash: %w", mios.ErrInvalid)
		}
	case Zero, Discard:
		if o.DataLength != 0 {
			return fmt.Errorf("has data: %w", mios.ErrInvalid)
		}
	default:
		return fmt.Errorf("not one that a full payload has; only REPLACE, REPLACE_BZ, REPLACE_XZ, ZERO and DISCARD are applied: %w", mios.ErrInvalid)
	}
	if o.DataLength > MaxBlob {
		return fmt.Errorf("%d bytes of data, want at most %d: %w", o.DataLength, MaxBlob, mios.ErrInvalid)
	}
	if o.DataLength > 0 && o.DataOffset != next {
		return fmt.Errorf("data at %d, want it at %d, in the operations' order: %w", o.DataOffset, next, mios.ErrInvalid)
	}
	if len(o.DstExtents) == 0 {
		return fmt.Errorf("no destination: %w", mios.ErrInvalid)
	}
	for _, x := range o.DstExtents {
		if (x.StartBlock+x.NumBlocks)*block > size {
			return fmt.Errorf("blocks %d to %d are beyond the partition's %d bytes: %w",
				x.StartBlock, x.StartBlock+x.NumBlocks, size, mios.ErrInvalid)
		}
	}
	return nil
}

func (x *run) operations() error {
	n := 0
	for i := range x.Metadata.Manifest.Partitions {
		p := &x.Metadata.Manifest.Partitions[i]
		var to io.WriterAt
		for j := range p.Operations {
			if n++; n <= x.at.Operation {
				continue
			}
			if to == nil {
				var err error
				if to, err = x.Target(p.Name); err != nil {
					return fmt.Errorf("partition %s: %w", p.Name, err)
				}
			}
			if err := x.operation(to, &p.Operations[j]); err != nil {
				return fmt.Errorf("partition %s: operation %d (%v): %w", p.Name, j, p.Operations[j].Type, err)
			}
			x.at.Operation = n
			if err := x.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// operation reads an operation's data, verifies its hash, and only then writes.
func (x *run) operation(to io.WriterAt, op *Operation) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	blob, err := x.read(op.DataLength)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(blob); op.Type.hasData() && string(sum[:]) != string(op.DataHash) {
		return fmt.Errorf("data has SHA-256 %x, want %x: %w", sum, op.DataHash, ErrData)
	}
	w := &extentWriter{to: to, extents: op.DstExtents, block: x.Metadata.Manifest.Block()}
	if err := x.dec.decode(x.ctx, w, op.Type, blob); err != nil {
		return err
	}
	x.signed.Write(blob)
	return nil
}

// read returns the next n bytes of the payload, in a buffer that is used again.
func (x *run) read(n uint64) ([]byte, error) {
	if uint64(cap(x.blob)) < n {
		x.blob = make([]byte, n)
	}
	b := x.blob[:n]
	if k, err := io.ReadFull(x.r, b); err != nil {
		return nil, short(err, bad(x.at.Offset+int64(k), "the payload ends, want %d more bytes", int(n)-k))
	}
	x.file.Write(b)
	x.at.Offset += int64(n)
	return b, nil
}

func (x *run) save() error {
	x.at.Signed, x.at.File = state(x.signed), state(x.file)
	if x.Done == nil {
		return nil
	}
	return x.Done(x.at)
}

// finish verifies the payload signature.
func (x *run) finish() error {
	m := x.Metadata.Manifest
	if m.SignaturesSize > 0 {
		off := x.at.Offset
		b, err := x.read(m.SignaturesSize)
		if err != nil {
			return fmt.Errorf("payload signature: %w", err)
		}
		s, err := decodeSignatures(b, off)
		if err != nil {
			return err
		}
		if len(x.Keys) > 0 {
			if err := s.Verify([sha256.Size]byte(x.signed.Sum(nil)), x.Keys); err != nil {
				return fmt.Errorf("payload signature: %w", err)
			}
		}
	}
	x.at.Finished = true
	return x.save()
}

// VerifyPartition reads a partition back and compares it with the hash in the
// manifest.
func (m *Manifest) VerifyPartition(ctx context.Context, name string, r io.ReaderAt) error {
	p := m.Partition(name)
	if p == nil || p.NewInfo == nil {
		return fmt.Errorf("partition %s: not in the payload: %w", name, mios.ErrNotFound)
	}
	h := sha256.New()
	src := &ctxReader{ctx, io.NewSectionReader(r, 0, int64(p.NewInfo.Size))}
	n, err := io.CopyBuffer(h, src, make([]byte, 256<<10))
	if err != nil {
		return fmt.Errorf("partition %s: %w", name, err)
	}
	if sum := h.Sum(nil); uint64(n) != p.NewInfo.Size || string(sum) != string(p.NewInfo.Hash) {
		return fmt.Errorf("partition %s: has SHA-256 %x over %d bytes, want %x over %d: %w",
			name, sum, n, p.NewInfo.Hash, p.NewInfo.Size, mios.ErrInvalid)
	}
	return nil
}

// ctxReader ends reading when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
