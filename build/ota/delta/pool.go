package delta

import (
	"context"
	"io"
	"sync"

	"mios/format/bsdiff"
	"mios/format/payload"
)

// A job is a unit at work.
type job struct {
	u    *unit
	cost int64
	out  []encoded
	err  error
	done chan struct{}
}

// units encodes all units on all cores, within the memory that there is, and
// hands what they become to emit in their order.
func (r *run) units(ctx context.Context, e encoder, units []*unit, emit func(encoded) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, order := make(chan *job), make(chan *job, 4*r.workers())
	room := newBudget(r.memory())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		defer close(order)
		for _, u := range units {
			j := &job{u: u, cost: u.cost(), done: make(chan struct{})}
			if !room.take(ctx, j.cost) {
				return
			}
			for _, to := range []chan<- *job{order, work} {
				select {
				case to <- j:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	for range r.workers() {
		wg.Go(func() {
			e := e
			e.full = payload.Encoder{} // its tables are one goroutine's
			for j := range work {
				j.out, j.err = e.encode(ctx, j.u)
				room.give(j.cost)
				close(j.done)
			}
		})
	}
	err := r.collect(ctx, order, emit)
	if err != nil {
		cancel(err)
	}
	room.close()
	wg.Wait()
	return context.Cause(ctx)
}

func (r *run) collect(ctx context.Context, order <-chan *job, emit func(encoded) error) error {
	for j := range order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if j.err != nil {
			return j.err
		}
		for _, e := range j.out {
			if err := emit(e); err != nil {
				return err
			}
		}
		r.progress(int64(j.u.dst.n) * block)
	}
	return ctx.Err()
}

// cost is about what encoding a unit takes of memory, in bytes.
func (u *unit) cost() int64 {
	old, new := int64(u.src.n)*block, int64(u.dst.n)*block
	if room := int64(maxSrc * block); old < room {
		old = min(room, old+4*new) // what may be added for its looks
	}
	if u.packed {
		old, new = int64(u.src.expanded), int64(u.dst.expanded)
	}
	return bsdiff.Memory(old) + 2*(old+new)
}

// A budget is memory that is shared.
type budget struct {
	mu     sync.Mutex
	cond   *sync.Cond
	size   int64
	left   int64
	closed bool
}

func newBudget(size int64) *budget {
	b := &budget{size: size, left: size}
	b.cond = sync.NewCond(&b.mu)
	return b
}

// take waits until there is room for n bytes, or for no more than one at once
// that wants more than there is. It reports whether there is.
func (b *budget) take(ctx context.Context, n int64) bool {
	n = min(n, b.size)
	stop := context.AfterFunc(ctx, b.close)
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left < n && !b.closed {
		b.cond.Wait()
	}
	b.left -= n
	return !b.closed
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.left += min(n, b.size)
	b.mu.Unlock()
	b.cond.Broadcast()
}

func (b *budget) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cond.Broadcast()
}

// copyExtents writes the bytes of extents of an image to w.
func copyExtents(w io.Writer, img Image, extents []payload.Extent) error {
	buf := make([]byte, 1<<20)
	for _, x := range extents {
		for off, end := int64(x.StartBlock)*block, int64(x.StartBlock+x.NumBlocks)*block; off < end; off += int64(len(buf)) {
			b := buf[:min(int64(len(buf)), end-off)]
			if err := readFull(img, b, off); err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
	return nil
}
