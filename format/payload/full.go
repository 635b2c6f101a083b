package payload

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"sync"

	"mios"
)

// ChunkSize is how many bytes of a partition one operation of a full payload
// writes, unless [Full.Chunk] says otherwise. It is also the window of the xz
// streams that are written, for which a device needs as much memory.
const ChunkSize = 2 << 20

// An Image is what a partition is to hold.
type Image struct {
	Name    string // without a slot suffix
	Content io.ReaderAt
	Size    int64  // bytes, a multiple of DefaultBlockSize
	Version string // of the partition, or ""
	// Header is what else the manifest is to say: what runs after the update.
	Header Partition
	// SHA256, if it is not zero, is what Content must hold.
	SHA256 [sha256.Size]byte
}

// Full describes a full payload: one that needs nothing of what is installed.
type Full struct {
	Images []Image // in this order
	Groups []Group // dynamic_partition_metadata; none if there are no logical partitions
	// Dynamic, if it is not nil, is all of dynamic_partition_metadata, in place of
	// Groups.
	Dynamic *DynamicPartitions
	Apexes  []Apex
	// PartialUpdate leaves the partitions that are not there as they are. As an
	// update_engine must know that, MinorVersion is then that of its payloads.
	PartialUpdate bool
	MinorVersion  uint32

	MaxTimestamp  int64 // the build's, in seconds since 1970
	SecurityPatch string
	Signers       []crypto.Signer // RSA; none leaves the payload unsigned

	// Chunk is how many bytes of a partition one operation writes, a multiple of
	// DefaultBlockSize up to MaxWindow; 0 means ChunkSize. Larger ones make a
	// smaller payload.
	Chunk int64
	// Progress, if set, is told how many of the images' bytes are compressed.
	Progress func(done, total int64)
	// Workers is how many cores to use: 0 means all. The result does not depend
	// on it.
	Workers int
}

// Write writes the payload to w. The manifest stands before the data in a
// payload and can only be written after it, so the data waits in spool, which is
// empty at first. The same images, timestamp and keys give the same bytes.
func (f *Full) Write(ctx context.Context, w io.Writer, spool io.ReadWriteSeeker) (Properties, error) {
	m := &Manifest{BlockSize: DefaultBlockSize, MaxTimestamp: f.MaxTimestamp, SecurityPatch: f.SecurityPatch,
		Dynamic: f.Dynamic, Apexes: f.Apexes, PartialUpdate: f.PartialUpdate, MinorVersion: f.MinorVersion}
	if m.Dynamic == nil && len(f.Groups) > 0 {
		m.Dynamic = &DynamicPartitions{Groups: f.Groups}
	}
	for _, img := range f.Images {
		if img.Size <= 0 || img.Size%DefaultBlockSize != 0 || img.Size >= far {
			return Properties{}, fmt.Errorf("partition %s: image of %d bytes, want a multiple of %d: %w",
				img.Name, img.Size, DefaultBlockSize, mios.ErrInvalid)
		}
		p := img.Header
		p.Name, p.Operations = img.Name, nil
		if img.Version != "" {
			p.Version = img.Version
		}
		m.Partitions = append(m.Partitions, p)
	}
	if err := m.check(0); err != nil {
		return Properties{}, err
	}
	if f.Chunk < 0 || f.Chunk > MaxWindow || f.Chunk%DefaultBlockSize != 0 {
		return Properties{}, fmt.Errorf("operations of %d bytes: %w: want a multiple of %d up to %d", f.Chunk, mios.ErrInvalid, DefaultBlockSize, MaxWindow)
	}
	if err := f.compress(ctx, m, spool); err != nil {
		return Properties{}, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return Properties{}, err
	}
	return Write(w, m, spool, f.Signers)
}

// Extents returns the operations that write an image of that many bytes, as far
// as they are known before it is compressed: what each of them writes.
func (f *Full) Extents(size int64) (ops []Operation) {
	step := cmp.Or(f.Chunk, ChunkSize)
	for off := int64(0); off < size && step > 0; off += step {
		ops = append(ops, Operation{Type: Replace, DstExtents: []Extent{{uint64(off) / DefaultBlockSize, uint64(min(step, size-off)) / DefaultBlockSize}}})
	}
	return ops
}

// A chunk is one operation to be.
type chunk struct {
	image int
	off   int64
	plain []byte
	typ   OpType
	data  []byte
	err   error
	done  chan struct{}
}

// compress fills in the partitions' operations and hashes and writes the
// operations' data, in order, whatever order the workers finish in.
func (f *Full) compress(ctx context.Context, m *Manifest, data io.Writer) error {
	workers := f.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	work, order := make(chan *chunk), make(chan *chunk, f.ahead(workers))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		defer close(order)
		if err := f.chunks(ctx, work, order); err != nil {
			cancel(err)
		}
	})
	for range workers {
		wg.Go(func() {
			var e Encoder
			for c := range work {
				c.typ, c.data, c.err = e.Encode(c.plain)
				c.data = bytes.Clone(c.data)
				close(c.done)
			}
		})
	}
	if err := f.collect(ctx, m, order, data); err != nil {
		cancel(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// ahead is how many chunks are read before those that are due are written:
// fewer of large ones, which take memory.
func (f *Full) ahead(workers int) int {
	if f.Chunk > 4*ChunkSize {
		return workers
	}
	return 2 * workers
}

// chunks reads the images and hands each chunk to a worker and to the one who
// collects them.
func (f *Full) chunks(ctx context.Context, work, order chan<- *chunk) error {
	step := cmp.Or(f.Chunk, ChunkSize)
	for i, img := range f.Images {
		for off := int64(0); off < img.Size; off += step {
			c := &chunk{image: i, off: off, plain: make([]byte, min(step, img.Size-off)), done: make(chan struct{})}
			if n, err := img.Content.ReadAt(c.plain, off); n < len(c.plain) {
				return fmt.Errorf("partition %s: image ends at %d, want %d bytes: %w", img.Name, off+int64(n), img.Size, err)
			}
			for _, to := range []chan<- *chunk{order, work} {
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	return nil
}

func (f *Full) collect(ctx context.Context, m *Manifest, order <-chan *chunk, data io.Writer) error {
	var done, total int64
	for _, img := range f.Images {
		total += img.Size
	}
	hash, next := sha256.New(), uint64(0)
	for c := range order {
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.err != nil {
			return c.err
		}
		p := &m.Partitions[c.image]
		if c.off == 0 {
			hash.Reset()
		}
		hash.Write(c.plain)
		sum := sha256.Sum256(c.data)
		p.Operations = append(p.Operations, Operation{
			Type: c.typ, DataOffset: next, DataLength: uint64(len(c.data)), DataHash: sum[:],
			DstExtents: []Extent{{uint64(c.off) / DefaultBlockSize, uint64(len(c.plain)) / DefaultBlockSize}},
		})
		if _, err := data.Write(c.data); err != nil {
			return err
		}
		next += uint64(len(c.data))
		done += int64(len(c.plain))
		if done == total || c.off+int64(len(c.plain)) == f.Images[c.image].Size {
			img := &f.Images[c.image]
			p.NewInfo = &PartitionInfo{Size: uint64(img.Size), Hash: hash.Sum(nil)}
			if img.SHA256 != [sha256.Size]byte{} && string(p.NewInfo.Hash) != string(img.SHA256[:]) {
				return fmt.Errorf("partition %s: its image is not what was built: %w: build it again", img.Name, mios.ErrInvalid)
			}
		}
		if f.Progress != nil {
			f.Progress(done, total)
		}
	}
	return ctx.Err()
}
