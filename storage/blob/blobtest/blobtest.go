// Package blobtest holds what every [blob.Store] must do.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"mios"
	"mios/storage/blob"
)

// Run tests stores. For each test fresh makes an empty one, and what it returns
// opens that, again and again, as other processes would.
func Run(t *testing.T, fresh func(t *testing.T) (open func() blob.Store)) {
	for name, test := range map[string]func(t *testing.T, open func() blob.Store){
		"Put": put, "Read": read, "List": list, "AtOnce": atOnce,
		"Upload": upload, "UploadBreaks": uploadBreaks, "UploadLimits": uploadLimits, "UploadExpires": uploadExpires, "UploadAtOnce": uploadAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// content returns n bytes that do not repeat.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

func get(t *testing.T, s blob.Store, d mios.Digest) []byte {
	t.Helper()
	f, err := s.Open(t.Context(), d)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil || int64(len(b)) != f.Size() {
		t.Errorf("read %d bytes, %v; the size is %d", len(b), err, f.Size())
	}
	return b
}

func put(t *testing.T, open func() blob.Store) {
	s := open()
	ctx := t.Context()
	for _, n := range []int{0, 1, 100_000, 5 << 20} {
		b := content(n)
		for _, want := range []mios.Digest{{}, mios.Sum(b)} { // the second is there already
			d, size, err := s.Put(ctx, bytes.NewReader(b), want)
			if err != nil || d != mios.Sum(b) || size != int64(n) {
				t.Fatalf("Put of %d bytes = %v, %d, %v", n, d, size, err)
			}
		}
		if got := get(t, open(), mios.Sum(b)); !bytes.Equal(got, b) {
			t.Errorf("of %d bytes came back %d others", n, len(got))
		}
	}
	other := mios.Sum([]byte("other"))
	if _, _, err := s.Put(ctx, strings.NewReader("x"), other); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Put of bytes with another digest = %v, want invalid", err)
	}
	for _, d := range []mios.Digest{other, mios.Sum([]byte("x"))} {
		if _, err := s.Open(ctx, d); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("Open of what was refused = %v, want not found", err)
		}
	}
	broken := errors.New("broken")
	if _, _, err := s.Put(ctx, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), mios.Digest{}); !errors.Is(err, broken) {
		t.Errorf("Put from a broken reader = %v", err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := s.Put(stopped, strings.NewReader("half"), mios.Digest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put when cancelled = %v", err)
	}
	if _, err := s.Open(ctx, mios.Sum([]byte("half"))); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Open of what was torn = %v, want not found", err)
	}
	gone := mios.Sum(content(1))
	for range 2 {
		if err := s.Delete(ctx, gone); err != nil {
			t.Errorf("Delete = %v", err)
		}
		if _, err := s.Open(ctx, gone); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("Open of what was deleted = %v, want not found", err)
		}
	}
}

func read(t *testing.T, open func() blob.Store) {
	b := content(300_000)
	d, _, err := open().Put(t.Context(), bytes.NewReader(b), mios.Digest{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := open().Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Size() != int64(len(b)) || time.Since(f.Modified()).Abs() > time.Hour {
		t.Errorf("size %d, modified %v", f.Size(), f.Modified())
	}
	half := make([]byte, 1000)
	for _, off := range []int64{0, 299_000, 5, 100_000} {
		if n, err := f.ReadAt(half, off); n != len(half) || !bytes.Equal(half, b[off:off+1000]) {
			t.Errorf("ReadAt(%d) = %d, %v", off, n, err)
		}
	}
	if n, err := f.ReadAt(half, 299_500); n != 500 || err != io.EOF || !bytes.Equal(half[:n], b[299_500:]) {
		t.Errorf("ReadAt over the end = %d, %v", n, err)
	}
	if n, err := f.ReadAt(half, 300_001); n != 0 || err != io.EOF {
		t.Errorf("ReadAt behind the end = %d, %v", n, err)
	}
	for _, tt := range []struct {
		off    int64
		whence int
		at     int64
	}{{0, io.SeekEnd, 300_000}, {10, io.SeekStart, 10}, {20, io.SeekCurrent, 1030}, {-1000, io.SeekEnd, 299_000}, {0, io.SeekStart, 0}} {
		if at, err := f.Seek(tt.off, tt.whence); err != nil || at != tt.at {
			t.Errorf("Seek(%d, %d) = %d, %v; want %d", tt.off, tt.whence, at, err, tt.at)
		}
		if n, err := io.ReadFull(f, half); tt.at < 300_000 && (err != nil || !bytes.Equal(half, b[tt.at:tt.at+1000])) {
			t.Errorf("after Seek to %d read %d, %v", tt.at, n, err)
		} else if tt.at == 300_000 && (n != 0 || err != io.EOF) {
			t.Errorf("at the end read %d, %v", n, err)
		}
	}
	if _, err := f.Seek(-1, io.SeekStart); err == nil {
		t.Error("Seek before the start: no error")
	}
}

func list(t *testing.T, open func() blob.Store) {
	s := open()
	var want []string
	for n := range 25 {
		d, _, err := s.Put(t.Context(), bytes.NewReader(content(n)), mios.Digest{})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d.String())
	}
	if _, err := s.Uploads().Create(t.Context(), options(5)); err != nil { // is none of them
		t.Fatal(err)
	}
	slices.Sort(want)
	var got []string
	total := int64(0)
	for info, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Digest.String())
		total += info.Size
		if time.Since(info.Modified).Abs() > time.Hour {
			t.Errorf("modified %v", info.Modified)
		}
	}
	if !slices.Equal(got, want) || total != 24*25/2 {
		t.Errorf("List = %v of %d bytes, want %v", got, total, want)
	}
	for range s.List(t.Context()) {
		break
	}
}

func atOnce(t *testing.T, open func() blob.Store) {
	b := content(50_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if d, _, err := open().Put(t.Context(), bytes.NewReader(b), mios.Digest{}); err != nil || d != mios.Sum(b) {
				t.Errorf("Put = %v, %v", d, err)
			}
		})
	}
	wg.Wait()
	if got := get(t, open(), mios.Sum(b)); !bytes.Equal(got, b) {
		t.Errorf("%d other bytes came back", len(got))
	}
}
