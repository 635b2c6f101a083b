package payload

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
)

// A File is what reading all of a payload gives.
type File struct {
	SHA256     [sha256.Size]byte
	Signed     [sha256.Size]byte // what the payload signature is over
	Signatures *Signatures       // at its end; nil without any
}

// ReadFile reads a whole payload and verifies the hash of every operation's
// data, and no signature. Progress, if not nil, is told how many bytes are read.
func (m *Metadata) ReadFile(ctx context.Context, r io.ReaderAt, progress func(done, total int64)) (*File, error) {
	a := &Applier{Metadata: m, MaxData: maxFileData, Source: func(string) (io.ReaderAt, error) { return nil, nil }}
	if err := a.Check(); err != nil {
		return nil, err
	}
	from := m.Start()
	x, err := a.start(ctx, io.NewSectionReader(r, from.Offset, m.PayloadSize()-from.Offset), from)
	if err != nil {
		return nil, err
	}
	for i := range m.Manifest.Partitions {
		p := &m.Manifest.Partitions[i]
		for j := range p.Operations {
			if err := x.data(&p.Operations[j]); err != nil {
				return nil, p.failed(j, err)
			}
			if progress != nil {
				progress(x.at.Offset, m.PayloadSize())
			}
		}
	}
	f := &File{Signed: [sha256.Size]byte(x.signed.Sum(nil))}
	if f.Signatures, err = x.signatures(); err != nil {
		return nil, err
	}
	f.SHA256 = [sha256.Size]byte(x.file.Sum(nil))
	return f, nil
}

// VerifyFile is ReadFile with both signatures verified, unless there are no keys.
// It returns the SHA-256 of the payload.
func (m *Metadata) VerifyFile(ctx context.Context, r io.ReaderAt, keys []*rsa.PublicKey, progress func(done, total int64)) ([sha256.Size]byte, error) {
	if len(keys) > 0 {
		if err := m.Verify(keys); err != nil {
			return [sha256.Size]byte{}, err
		}
	}
	f, err := m.ReadFile(ctx, r, progress)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	if len(keys) > 0 {
		if err := f.Signatures.Verify(f.Signed, keys); err != nil {
			return f.SHA256, fmt.Errorf("payload signature: %w", err)
		}
	}
	return f.SHA256, nil
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
