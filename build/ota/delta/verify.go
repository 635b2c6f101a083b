package delta

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"mios"
	"mios/format/payload"
)

// Verify applies the payload in the first size bytes of r to the old images,
// and compares each byte that it writes with the new ones. Nothing is stored.
// Progress, if set, is told how many of the new images' bytes are compared.
func Verify(ctx context.Context, r io.ReaderAt, size int64, partitions []Partition, progress func(done, total int64)) error {
	m, err := payload.ReadMetadata(io.NewSectionReader(r, 0, size))
	if err != nil {
		return err
	}
	byName := map[string]*comparison{}
	for i := range partitions {
		p := &partitions[i]
		byName[p.Header.Name] = &comparison{p: p, seen: make([]bool, p.New.Size/block)}
	}
	x := &payload.Extraction{
		Metadata: m, Progress: progress,
		Source: func(name string) (io.ReaderAt, error) {
			c := byName[name]
			if c == nil || c.p.Old.ReaderAt == nil {
				return nil, fmt.Errorf("partition %s: no old image: %w", name, mios.ErrNotFound)
			}
			return io.NewSectionReader(c.p.Old, 0, c.p.Old.Size), nil
		},
		Target: func(name string) (io.WriterAt, error) {
			if byName[name] == nil {
				return nil, fmt.Errorf("partition %s: no new image: %w", name, mios.ErrNotFound)
			}
			return byName[name], nil
		},
	}
	if err := x.Run(ctx, r); err != nil {
		return err
	}
	for i := range partitions {
		c := byName[partitions[i].Header.Name]
		for b, seen := range c.seen {
			if !seen {
				return fmt.Errorf("partition %s: nothing writes block %d: %w", c.p.Header.Name, b, mios.ErrInvalid)
			}
		}
	}
	return nil
}

// A comparison is a target that holds the new image already, and refuses to
// become another.
type comparison struct {
	p    *Partition
	mu   sync.Mutex
	seen []bool // blocks
}

// ReadAt implements [io.ReaderAt]: what was written is what is there.
func (c *comparison) ReadAt(b []byte, off int64) (int, error) { return c.p.New.ReadAt(b, off) }

// WriteAt implements [io.WriterAt].
func (c *comparison) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > c.p.New.Size {
		return 0, fmt.Errorf("partition %s: %d bytes written at %d, its size is %d: %w", c.p.Header.Name, len(b), off, c.p.New.Size, mios.ErrInvalid)
	}
	want := make([]byte, len(b))
	if err := readFull(c.p.New, want, off); err != nil {
		return 0, err
	}
	if !bytes.Equal(b, want) {
		i := 0
		for b[i] == want[i] {
			i++
		}
		return 0, fmt.Errorf("partition %s: byte %d would become %#x, want %#x: %w", c.p.Header.Name, off+int64(i), b[i], want[i], mios.ErrInvalid)
	}
	c.mu.Lock()
	for at := off / block; at < (off+int64(len(b))+block-1)/block; at++ {
		c.seen[at] = true
	}
	c.mu.Unlock()
	return len(b), nil
}
