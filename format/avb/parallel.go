package avb

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls work for 0 to n-1, in that order, on all processors; each has
// a work function of its own, made by newWork. It stops at an error, and
// returns that of the lowest index.
func parallel(n int, newWork func() (work func(i int) error)) error {
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
				if err := work(i); err != nil {
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
