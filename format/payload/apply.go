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
// window (at most [MaxWindow]) or what a patch's format needs, and the manifest.
// Whoever has the payload as a file and cores to spare takes an [Extraction].
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
	// MaxData is the most data that an operation may have, in bytes; 0 stands
	// for [MaxBlob].
	MaxData uint64
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
	performer
}

// Apply goes on from a checkpoint (or from Metadata.Start) to the payload's
// end; r yields the payload from the checkpoint's Offset on. No byte is written
// before the metadata signature and the hashes of the operation that it belongs
// to, of its data and of what it reads, are verified; and none at all before
// every partition that is read has the hash that the manifest gives. A payload
// signature that does not verify is an error at the end: what was written must
// not be booted then.
//
// Apply does not sync what it writes, nor read it back: see [VerifyPartition].
func (a *Applier) Apply(ctx context.Context, r io.Reader, from Checkpoint) (Checkpoint, error) {
	if err := a.Check(); err != nil {
		return from, err
	}
	if from.Finished {
		return from, nil
	}
	x, err := a.start(ctx, r, from)
	if err != nil {
		return from, err
	}
	if from.Operation == 0 && a.Source != nil {
		if err := a.Metadata.Manifest.verifySources(ctx, nil, a.Source); err != nil {
			return from, err
		}
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
	m, o := a.Metadata.Manifest, policy{source: a.Source != nil, maxData: a.MaxData}
	if o.maxData == 0 {
		o.maxData = MaxBlob
	}
	if err := m.applicable(o, nil); err != nil {
		return err
	}
	if m.SignaturesSize == 0 && len(a.Keys) > 0 {
		return fmt.Errorf("payload signature: there is none: %w", ErrSignature)
	}
	return nil
}

// start returns the run that goes on from a checkpoint.
func (a *Applier) start(ctx context.Context, r io.Reader, from Checkpoint) (*run, error) {
	x := &run{Applier: a, ctx: ctx, r: r, at: from, performer: performer{block: a.Metadata.Manifest.Block()}}
	var err error
	if x.signed, err = restore(from.Signed); err != nil {
		return nil, err
	}
	if x.file, err = restore(from.File); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *run) operations() error {
	n, m := 0, x.Metadata.Manifest
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if n += len(p.Operations); n <= x.at.Operation {
			continue
		}
		if err := x.partition(p, n-len(p.Operations)); err != nil {
			return err
		}
	}
	return nil
}

// partition does those operations of a partition that are not done; first is
// the number of its first one.
func (x *run) partition(p *Partition, first int) error {
	from, to, err := p.open(x.Source, x.Target)
	if err != nil {
		return err
	}
	for j := x.at.Operation - first; j < len(p.Operations); j++ {
		if err := x.operation(from, to, &p.Operations[j]); err != nil {
			return p.failed(j, err)
		}
		if j == len(p.Operations)-1 {
			if err := p.writeVerity(x.block, to); err != nil {
				return fmt.Errorf("partition %s: %w", p.Name, err)
			}
		}
		x.at.Operation++
		if err := x.save(); err != nil {
			return err
		}
	}
	return nil
}

// operation reads an operation's data and does it.
func (x *run) operation(from io.ReaderAt, to io.WriterAt, op *Operation) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	blob, err := x.read(op.DataLength)
	if err != nil {
		return err
	}
	if err := x.do(x.ctx, op, blob, from, to); err != nil {
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
	s, err := x.signatures()
	if err != nil {
		return err
	}
	if s != nil && len(x.Keys) > 0 {
		if err := s.Verify([sha256.Size]byte(x.signed.Sum(nil)), x.Keys); err != nil {
			return fmt.Errorf("payload signature: %w", err)
		}
	}
	x.at.Finished = true
	return x.save()
}

// signatures reads the payload's signatures, nil if it has none.
func (x *run) signatures() (*Signatures, error) {
	m := x.Metadata.Manifest
	if m.SignaturesSize == 0 {
		return nil, nil
	}
	off := x.at.Offset
	b, err := x.read(m.SignaturesSize)
	if err != nil {
		return nil, fmt.Errorf("payload signature: %w", err)
	}
	return decodeSignatures(b, off)
}
