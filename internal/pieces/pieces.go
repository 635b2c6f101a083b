// Package pieces works on large things piece by piece, on all processors.
package pieces

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Size is how much one worker takes at once, in bytes.
const Size = 1 << 20

// Workers runs work once a processor. The first error ends the others, by the
// context that work is given, and is returned.
func Workers(ctx context.Context, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			if err := work(ctx); err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Each calls do for all pieces of [Size] of size bytes, several at a time: with
// a buffer of the piece's length, whose bytes are any, and its place. Progress,
// which may be nil, is told how many of all bytes are through, from several
// goroutines.
func Each(ctx context.Context, size int64, progress func(done, total int64), do func(p []byte, at int64) error) error {
	var taken, done atomic.Int64
	return Workers(ctx, func(ctx context.Context) error {
		buf := make([]byte, min(Size, size))
		for ctx.Err() == nil {
			at := taken.Add(Size) - Size
			if at >= size {
				return nil
			}
			p := buf[:min(Size, size-at)]
			if err := do(p, at); err != nil {
				return err
			}
			if n := done.Add(int64(len(p))); progress != nil {
				progress(n, size)
			}
		}
		return nil // the context says why
	})
}

// Items calls what newWork returns with 0 to n-1, in that order, on all
// processors: each has a work function, and what it needs, of its own. It stops
// at an error, or with ctx, and returns that of the lowest number.
func Items(ctx context.Context, n int, newWork func() (work func(i int) error)) error {
	var (
		next     atomic.Int64
		failed   atomic.Bool
		mu       sync.Mutex
		firstErr error
		firstBad int
		wg       sync.WaitGroup
	)
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			work := newWork()
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = work(i)
				}
				if err != nil {
					failed.Store(true)
					mu.Lock()
					if firstErr == nil || i < firstBad {
						firstErr, firstBad = err, i
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return firstErr
}
