package payload

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
)

// VerifyFile reads a whole payload and verifies both signatures and the hash of
// every operation's data. It returns the SHA-256 of the payload. With no keys
// the signatures are not verified; progress, if not nil, is told how many bytes
// are read.
func (m *Metadata) VerifyFile(ctx context.Context, r io.ReaderAt, keys []*rsa.PublicKey, progress func(done, total int64)) ([sha256.Size]byte, error) {
	var none [sha256.Size]byte
	a := &Applier{Metadata: m, Keys: keys, MaxData: maxFileData, Source: func(string) (io.ReaderAt, error) { return nil, nil }}
	if err := a.Check(); err != nil {
		return none, err
	}
	from := m.Start()
	x := &run{Applier: a, ctx: ctx, r: io.NewSectionReader(r, from.Offset, m.PayloadSize()-from.Offset), at: from}
	var err error
	if x.signed, err = restore(from.Signed); err != nil {
		return none, err
	}
	if x.file, err = restore(from.File); err != nil {
		return none, err
	}
	for i := range m.Manifest.Partitions {
		p := &m.Manifest.Partitions[i]
		for j := range p.Operations {
			if err := x.data(&p.Operations[j]); err != nil {
				return none, p.failed(j, err)
			}
			if progress != nil {
				progress(x.at.Offset, m.PayloadSize())
			}
		}
	}
	if err := x.finish(); err != nil {
		return none, err
	}
	return x.at.Digest()
}

// data reads an operation's data for nothing but its hashes, in pieces.
func (x *run) data(op *Operation) error {
	h := sha256.New()
	for left := op.DataLength; left > 0; {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		b, err := x.read(min(left, copySize))
		if err != nil {
			return err
		}
		h.Write(b)
		x.signed.Write(b)
		left -= uint64(len(b))
	}
	if sum := h.Sum(nil); len(op.DataHash) > 0 && string(sum) != string(op.DataHash) {
		return fmt.Errorf("data has SHA-256 %x, want %x: %w", sum, op.DataHash, ErrData)
	}
	return nil
}
