package apk_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"mios/format/apk"
)

// allocated returns how many bytes f allocates, all together: its peak is not
// more.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// counter counts reads.
type counter struct {
	io.ReaderAt
	n int
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(p, off)
}

// TestManyEntries opens a package with as many entries as one can have: in
// little memory, and without a read for each.
func TestManyEntries(t *testing.T) {
	const entries = 1<<16 - 2
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	for i := range entries {
		if err := w.Add(fmt.Sprintf("res/drawable/entry_number_%d.png", i), apk.Store, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := &counter{ReaderAt: bytes.NewReader(b.Bytes())}
	var f *apk.File
	n := allocated(func() {
		var err error
		if f, err = apk.Open(r, int64(b.Len())); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d bytes of memory and %d reads for %d entries in %d bytes", n, r.n, entries, b.Len())
	if len(f.Entries) != entries || f.Entry("res/drawable/entry_number_777.png") == nil {
		t.Errorf("%d entries", len(f.Entries))
	}
	if n > 16<<20 {
		t.Errorf("%d bytes of memory, want no more than 16 MiB", n)
	}
	if r.n > entries/100 {
		t.Errorf("%d reads for %d entries", r.n, entries)
	}
}

// TestFarHeaders holds that entries with much data do not cost more than their
// headers.
func TestFarHeaders(t *testing.T) {
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	for i := range 20 {
		if err := w.Add(fmt.Sprint("data", i), apk.Store, bytes.NewReader(make([]byte, 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := &bytesCounter{ReaderAt: bytes.NewReader(b.Bytes())}
	if _, err := apk.Open(r, int64(b.Len())); err != nil {
		t.Fatal(err)
	}
	if r.n > 512<<10 {
		t.Errorf("%d bytes were read to open %d", r.n, b.Len())
	}
}

type bytesCounter struct {
	io.ReaderAt
	n int
}

func (c *bytesCounter) ReadAt(p []byte, off int64) (int, error) {
	c.n += len(p)
	return c.ReaderAt.ReadAt(p, off)
}
