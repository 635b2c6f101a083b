package pieces_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"mios/internal/pieces"
)

func TestEach(t *testing.T) {
	for _, size := range []int64{0, 1, pieces.Size - 1, pieces.Size, 5*pieces.Size + 7} {
		seen := make([]atomic.Int32, size/pieces.Size+1)
		var sum, most atomic.Int64
		progress := func(done, total int64) {
			if total != size || done > size {
				t.Errorf("progress %d of %d, want at most %d", done, total, size)
			}
			for m := most.Load(); done > m && !most.CompareAndSwap(m, done); m = most.Load() {
			}
		}
		err := pieces.Each(t.Context(), size, progress, func(p []byte, at int64) error {
			if at%pieces.Size != 0 || int64(len(p)) != min(pieces.Size, size-at) {
				t.Errorf("piece of %d bytes at %d of %d", len(p), at, size)
			}
			seen[at/pieces.Size].Add(1)
			sum.Add(int64(len(p)))
			return nil
		})
		if err != nil || sum.Load() != size || most.Load() != size {
			t.Errorf("Each of %d bytes: %v, %d bytes, progress to %d", size, err, sum.Load(), most.Load())
		}
		for i := range seen {
			if n := seen[i].Load(); n > 1 {
				t.Errorf("piece %d of %d bytes was taken %d times", i, size, n)
			}
		}
	}
}

func TestEachEnds(t *testing.T) {
	broken := errors.New("broken")
	var after atomic.Int32
	err := pieces.Each(t.Context(), 1000*pieces.Size, nil, func(_ []byte, at int64) error {
		if at == 3*pieces.Size {
			return broken
		}
		after.Add(1)
		return nil
	})
	if err != broken || after.Load() > 900 {
		t.Errorf("Each = %v after %d other pieces, want the error, and soon", err, after.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = pieces.Each(ctx, 10*pieces.Size, nil, func([]byte, int64) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Each = %v, want that of the context", err)
	}
}

func TestItems(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000} {
		var workers, sum atomic.Int64
		err := pieces.Items(t.Context(), n, func() func(int) error {
			workers.Add(1)
			return func(i int) error { sum.Add(int64(i) + 1); return nil }
		})
		if err != nil || sum.Load() != int64(n)*int64(n+1)/2 || workers.Load() > int64(n) {
			t.Errorf("Items of %d: %v, they sum up to %d, %d work functions", n, err, sum.Load(), workers.Load())
		}
	}
	broken, later := errors.New("broken"), errors.New("later")
	var done atomic.Int32
	err := pieces.Items(t.Context(), 100_000, func() func(int) error {
		return func(i int) error {
			done.Add(1)
			switch {
			case i == 3:
				return broken
			case i > 3:
				return later
			}
			return nil
		}
	})
	if err != broken || done.Load() > 1000 {
		t.Errorf("Items = %v after %d, want the lowest's error, and soon", err, done.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = pieces.Items(ctx, 100_000, func() func(int) error { return func(int) error { cancel(); return nil } })
	if err != context.Canceled {
		t.Errorf("Items = %v, want that of the context", err)
	}
}
