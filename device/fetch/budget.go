package fetch

import (
	"errors"
	"io"
	"sync/atomic"
)

// ErrBudget: no more bytes may be fetched.
var ErrBudget = errors.New("download budget used up")

// A Budget is how many bytes may be fetched for one thing, by readers side by
// side. Its methods may be called concurrently; Limit may not change after the
// first call. The zero value counts, and has no limit. A [Meter] counts all that
// is fetched in a period, and keeps that; what keeps a Budget is up to its user.
type Budget struct {
	Limit int64 // bytes; 0 means none
	spent atomic.Int64
}

// Spent returns how many bytes were fetched.
func (b *Budget) Spent() int64 { return b.spent.Load() }

// Set sets how many bytes were fetched, as they were kept.
func (b *Budget) Set(spent int64) { b.spent.Store(spent) }

// Left returns how many bytes may still be fetched, and whether there is a
// limit.
func (b *Budget) Left() (n int64, limited bool) {
	if b.Limit <= 0 {
		return 0, false
	}
	return max(b.Limit-b.spent.Load(), 0), true
}

// Check returns [ErrBudget] if nothing is left.
func (b *Budget) Check() error {
	if left, limited := b.Left(); limited && left == 0 {
		return ErrBudget
	}
	return nil
}

// take puts up to n bytes on the budget before they are read, and returns how
// many: readers must not go over it together.
func (b *Budget) take(n int64) int64 {
	for {
		spent := b.spent.Load()
		if b.Limit > 0 {
			n = min(n, max(b.Limit-spent, 0))
		}
		if b.spent.CompareAndSwap(spent, spent+n) {
			return n
		}
	}
}

// Body returns r, whose bytes are counted, and which fails with [ErrBudget]
// before the first one that is too much.
func (b *Budget) Body(r io.ReadCloser) io.ReadCloser { return &budgeted{r, b} }

type budgeted struct {
	io.ReadCloser
	b *Budget
}

func (r *budgeted) Read(p []byte) (int, error) {
	taken := r.b.take(int64(len(p)))
	if taken == 0 && len(p) > 0 {
		return 0, ErrBudget
	}
	n, err := r.ReadCloser.Read(p[:taken])
	r.b.spent.Add(int64(n) - taken)
	return n, err
}
