package payload

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"mios"
	"mios/internal/readat"
)

// maxFileData is how much data an operation may have for an [Extraction]: it
// lies in a file, which is as long as it claims.
const maxFileData = 256 << 20

// An Extraction applies a payload that lies in a file, or partitions of it, its
// operations side by side: none depends on another, as none reads what another
// writes. It verifies the metadata signature and the hashes of all operations,
// but not the payload signature, which is over partitions that may not be
// wanted: see [Metadata.VerifyFile].
type Extraction struct {
	Metadata *Metadata
	// Keys are those that may sign payloads; none takes any.
	Keys []*rsa.PublicKey
	// Partitions are those wanted; nil wants all.
	Partitions []string
	// Source and Target are as an Applier's. They are called once a partition, by
	// one goroutine; what they return is used by several at once.
	Source func(partition string) (io.ReaderAt, error)
	Target func(partition string) (io.WriterAt, error)
	// Finish, if set, is called when all of a partition is written.
	Finish func(partition string) error
	// From is how many operations, counted over the wanted partitions in the
	// manifest's order, are not to be done again. Done, if set, is told such a
	// number, by one goroutine: all that it counts are written.
	From int
	Done func(operations int) error
	// Progress, if set, is told how many of the partitions' bytes are written.
	Progress func(done, total int64)
	Workers  int // cores to use; 0 means all
}

// A task is one operation to do.
type task struct {
	p        *Partition
	j        int
	from     io.ReaderAt
	to       io.WriterAt
	finished chan error // of 1
}

// Run extracts from the payload in r. If there is a Source, every partition that
// is read is first compared with the hash that the manifest gives.
func (x *Extraction) Run(ctx context.Context, r io.ReaderAt) error {
	if err := x.check(ctx); err != nil {
		return err
	}
	workers := x.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, order := make(chan *task), make(chan *task, 4*workers)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		defer close(order)
		if err := x.feed(ctx, work, order); err != nil {
			cancel(err)
		}
	})
	for range workers {
		wg.Go(func() {
			p, blob := &performer{block: x.Metadata.Manifest.Block()}, []byte(nil)
			for t := range work {
				var err error
				if blob, err = x.do(ctx, p, t, r, blob); err != nil {
					cancel(err)
				}
				t.finished <- err
			}
		})
	}
	if err := x.collect(ctx, order); err != nil {
		cancel(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// wants reports whether a partition is to be extracted.
func (x *Extraction) wants(name string) bool {
	return x.Partitions == nil || slices.Contains(x.Partitions, name)
}

func (x *Extraction) check(ctx context.Context) error {
	m := x.Metadata.Manifest
	for _, name := range x.Partitions {
		if m.Partition(name) == nil {
			return fmt.Errorf("partition %s: not in the payload: %w", name, mios.ErrNotFound)
		}
	}
	if len(x.Keys) > 0 {
		if err := x.Metadata.Verify(x.Keys); err != nil {
			return err
		}
	}
	if err := m.applicable(policy{source: x.Source != nil, maxData: maxFileData}, x.Partitions); err != nil {
		return err
	}
	if x.Source == nil || x.From > 0 {
		return nil
	}
	return m.verifySources(ctx, x.Partitions, x.Source)
}

// feed opens the partitions and hands each operation to a worker and to the one
// who waits for them in order.
func (x *Extraction) feed(ctx context.Context, work, order chan<- *task) error {
	n := 0
	for i := range x.Metadata.Manifest.Partitions {
		p := &x.Metadata.Manifest.Partitions[i]
		if !x.wants(p.Name) {
			continue
		}
		from, to, err := p.open(x.Source, x.Target)
		if err != nil {
			return err
		}
		for j := range p.Operations {
			t := &task{p: p, j: j, from: from, to: to, finished: make(chan error, 1)}
			if n++; n <= x.From {
				t.finished <- nil
			}
			if !send(ctx, order, t) || n > x.From && !send(ctx, work, t) {
				return ctx.Err()
			}
		}
		if len(p.Operations) == 0 && !send(ctx, order, &task{p: p, to: to}) {
			return ctx.Err()
		}
	}
	return nil
}

func send(ctx context.Context, to chan<- *task, t *task) bool {
	select {
	case to <- t:
		return true
	case <-ctx.Done():
		return false
	}
}

// do does one operation, with a buffer for its data that it may replace.
func (x *Extraction) do(ctx context.Context, p *performer, t *task, r io.ReaderAt, blob []byte) ([]byte, error) {
	op := &t.p.Operations[t.j]
	b, err := readData(r, x.Metadata.Size(), op, blob)
	if err == nil {
		err = p.do(ctx, op, b, t.from, t.to)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return b, err // another one's failure
	}
	if err != nil {
		return b, t.p.failed(t.j, err)
	}
	return b, nil
}

// readData reads the data of an operation into blob if it fits. Its last byte is
// read first, so that memory is taken only for what is there.
func readData(r io.ReaderAt, base int64, op *Operation, blob []byte) ([]byte, error) {
	n := int(op.DataLength)
	if n == 0 {
		return blob[:0], nil
	}
	off := base + int64(op.DataOffset)
	if cap(blob) < n {
		var last [1]byte
		if err := readat.Full(r, last[:], off+int64(n)-1); err != nil {
			return blob, short(err, bad(off, "the payload ends, want %d bytes", n))
		}
		blob = make([]byte, n)
	}
	blob = blob[:n]
	if err := readat.Full(r, blob, off); err != nil {
		return blob, short(err, bad(off, "the payload ends, want %d bytes", n))
	}
	return blob, nil
}

// collect waits for the operations in order, and finishes each partition.
func (x *Extraction) collect(ctx context.Context, order <-chan *task) error {
	var done, total int64
	m := x.Metadata.Manifest
	for i := range m.Partitions {
		if p := &m.Partitions[i]; x.wants(p.Name) {
			total += int64(p.NewInfo.Size)
		}
	}
	for n := 0; ; {
		var t *task
		select {
		case t = <-order:
		case <-ctx.Done():
			return ctx.Err()
		}
		if t == nil {
			return nil
		}
		if t.finished != nil {
			select {
			case err := <-t.finished:
				if err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
			done += int64(blocksOf(t.p.Operations[t.j].DstExtents, far/m.Block()) * m.Block())
			n++
		}
		if x.Progress != nil {
			x.Progress(min(done, total), total)
		}
		if t.finished == nil || t.j == len(t.p.Operations)-1 {
			if err := x.finish(t, n); err != nil {
				return err
			}
		}
		if x.Done != nil && n > x.From {
			if err := x.Done(n); err != nil {
				return err
			}
		}
	}
}

// finish ends a partition after its last operation, the n-th of all.
func (x *Extraction) finish(t *task, n int) error {
	if n >= x.From {
		if err := t.p.writeVerity(x.Metadata.Manifest.Block(), t.to); err != nil {
			return fmt.Errorf("partition %s: %w", t.p.Name, err)
		}
	}
	if x.Finish == nil {
		return nil
	}
	if err := x.Finish(t.p.Name); err != nil {
		return fmt.Errorf("partition %s: %w", t.p.Name, err)
	}
	return nil
}
