package payload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"mios"
)

// VerifyPartition reads a partition back and compares it with the hash in the
// manifest.
func (m *Manifest) VerifyPartition(ctx context.Context, name string, r io.ReaderAt) error {
	p := m.Partition(name)
	if p == nil || p.NewInfo == nil {
		return fmt.Errorf("partition %s: not in the payload: %w", name, mios.ErrNotFound)
	}
	return p.NewInfo.verify(ctx, name, r, mios.ErrInvalid)
}

// verify compares what r holds with the hash; a difference is a kind.
func (i *PartitionInfo) verify(ctx context.Context, name string, r io.ReaderAt, kind error) error {
	h := sha256.New()
	src := &ctxReader{ctx, io.NewSectionReader(r, 0, int64(i.Size))}
	n, err := io.CopyBuffer(h, src, make([]byte, copySize))
	if err != nil {
		return fmt.Errorf("partition %s: %w", name, err)
	}
	if sum := h.Sum(nil); uint64(n) != i.Size || string(sum) != string(i.Hash) {
		return fmt.Errorf("partition %s: has SHA-256 %x over %d bytes, want %x over %d: %w", name, sum, n, i.Hash, i.Size, kind)
	}
	return nil
}

// verifySources compares all installed partitions that the wanted ones are made
// from; nil wants all.
func (m *Manifest) verifySources(ctx context.Context, wanted []string, open func(string) (io.ReaderAt, error)) error {
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if !p.hasSource() || wanted != nil && !slices.Contains(wanted, p.Name) {
			continue
		}
		r, err := open(p.Name)
		if err != nil {
			return fmt.Errorf("partition %s: %w", p.Name, err)
		}
		if err := p.OldInfo.verify(ctx, p.Name, r, ErrSource); err != nil {
			return err
		}
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
