package fetch

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// TestBudget has bodies read side by side go up to the budget, and not over it.
func TestBudget(t *testing.T) {
	b := &Budget{Limit: 1000}
	var wg sync.WaitGroup
	var sum, refused atomic.Int64
	for range 8 {
		wg.Go(func() {
			r := b.Body(io.NopCloser(iotest.OneByteReader(bytes.NewReader(make([]byte, 200)))))
			n, err := io.Copy(io.Discard, r)
			sum.Add(n)
			if err == ErrBudget {
				refused.Add(1)
			} else if err != nil || n != 200 {
				t.Errorf("read %d bytes of 200, %v", n, err)
			}
		})
	}
	wg.Wait()
	// A reader that asks for more than it gets holds that meanwhile, so that
	// another may be refused early; none goes over.
	if sum.Load() > 1000 || b.Spent() != sum.Load() || refused.Load() == 0 {
		t.Errorf("read %d bytes of a budget of 1000, and spent %d; %d were refused", sum.Load(), b.Spent(), refused.Load())
	}
	if left, limited := b.Left(); !limited || left != 1000-sum.Load() {
		t.Errorf("Left = %d, %v", left, limited)
	}
}

func TestBudgetRest(t *testing.T) {
	b := &Budget{Limit: 100}
	b.Set(60)
	if err := b.Check(); err != nil {
		t.Errorf("Check with 40 bytes left = %v", err)
	}
	got, err := io.ReadAll(b.Body(io.NopCloser(bytes.NewReader(make([]byte, 41)))))
	if len(got) != 40 || err != ErrBudget || b.Check() != ErrBudget {
		t.Errorf("read %d bytes, %v, and Check = %v; want the 40 that are left", len(got), err, b.Check())
	}
	b.Set(500)
	if left, limited := b.Left(); left != 0 || !limited {
		t.Errorf("Left of an overspent budget = %d, %v", left, limited)
	}
	none := new(Budget)
	if got, err := io.ReadAll(none.Body(io.NopCloser(bytes.NewReader(make([]byte, 41))))); len(got) != 41 || err != nil || none.Spent() != 41 {
		t.Errorf("without a limit: %d bytes, %v, spent %d", len(got), err, none.Spent())
	}
	if _, limited := none.Left(); limited || none.Check() != nil {
		t.Error("a Budget without a limit is limited")
	}
}
