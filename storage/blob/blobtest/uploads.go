package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"mios"
	"mios/storage/blob"
)

// options are of an upload of n bytes, or -1, and at most 10 MB.
func options(n int64) blob.UploadOptions {
	return blob.UploadOptions{Size: n, Max: 10_000_000, Expires: time.Now().Add(time.Hour)}
}

func begin(t *testing.T, s blob.Store, o blob.UploadOptions) string {
	t.Helper()
	id, err := s.Uploads().Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// none checks that there is no upload of that ID.
func none(t *testing.T, s blob.Store, id string) {
	t.Helper()
	ctx, u := t.Context(), s.Uploads()
	if _, err := u.Get(ctx, id); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Get(%q) = %v, want not found", id, err)
	}
	if _, err := u.Append(ctx, id, 0, strings.NewReader("x")); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Append(%q) = %v, want not found", id, err)
	}
	if _, _, err := u.Finish(ctx, id, mios.Digest{}); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Finish(%q) = %v, want not found", id, err)
	}
	if err := u.Remove(ctx, id); err != nil {
		t.Errorf("Remove(%q) = %v", id, err)
	}
}

// upload sends bytes in parts, each by another opening of the store.
func upload(t *testing.T, open func() blob.Store) {
	b := content(3_000_000)
	o := options(int64(len(b)))
	o.Meta = map[string]string{"name": "a/ü \"b\".apk", "empty": ""}
	id := begin(t, open(), o)
	if at, err := open().Uploads().Append(t.Context(), id, 0, bytes.NewReader(nil)); at != 0 || err != nil {
		t.Errorf("Append of nothing = %d, %v", at, err)
	}
	for off := 0; off < len(b); {
		end := min(off+1_100_000, len(b))
		at, err := open().Uploads().Append(t.Context(), id, int64(off), bytes.NewReader(b[off:end]))
		if err != nil || at != int64(end) {
			t.Fatalf("Append at %d = %d, %v", off, at, err)
		}
		up, err := open().Uploads().Get(t.Context(), id)
		if err != nil || up.Offset != at || up.ID != id || up.Size != o.Size || up.Max != o.Max || !maps.Equal(up.Meta, o.Meta) || !up.Expires.Equal(o.Expires) {
			t.Errorf("Get = %+v, %v; want %+v at %d", up, err, o, at)
		}
		off = end
	}
	if _, _, err := open().Uploads().Finish(t.Context(), id, mios.Sum([]byte("x"))); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Finish with another digest = %v, want invalid", err)
	}
	d, n, err := open().Uploads().Finish(t.Context(), id, mios.Sum(b))
	if err != nil || d != mios.Sum(b) || n != int64(len(b)) {
		t.Fatalf("Finish = %v, %d, %v", d, n, err)
	}
	if got := get(t, open(), d); !bytes.Equal(got, b) {
		t.Errorf("%d other bytes came back", len(got))
	}
	none(t, open(), id)
	// What is a blob already may be uploaded again; an empty one too.
	for _, b := range [][]byte{b[:10], b[:10], nil} {
		id := begin(t, open(), options(-1))
		if _, err := open().Uploads().Append(t.Context(), id, 0, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if d, _, err := open().Uploads().Finish(t.Context(), id, mios.Digest{}); err != nil || d != mios.Sum(b) {
			t.Errorf("Finish = %v, %v", d, err)
		}
		if got := get(t, open(), mios.Sum(b)); !bytes.Equal(got, b) {
			t.Errorf("%d other bytes came back", len(got))
		}
	}
}

// uploadBreaks breaks the connection in each part.
func uploadBreaks(t *testing.T, open func() blob.Store) {
	b := content(900_000)
	id := begin(t, open(), options(-1))
	broken := errors.New("broken")
	at := int64(0)
	for at < int64(len(b)) {
		end := min(at+100_000, int64(len(b)))
		now, err := open().Uploads().Append(t.Context(), id, at, io.MultiReader(bytes.NewReader(b[at:end]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || now != end {
			t.Fatalf("Append at %d = %d, %v; want %d, broken", at, now, err, end)
		}
		at = now
		for _, off := range []int64{at - 1, at + 1, 0} {
			if now, err := open().Uploads().Append(t.Context(), id, off, strings.NewReader("x")); !errors.Is(err, mios.ErrConflict) || now != at {
				t.Errorf("Append at %d when it is at %d = %d, %v, want conflict", off, at, now, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open().Uploads().Append(ctx, id, at, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Append when cancelled = %v", err)
	}
	if d, _, err := open().Uploads().Finish(t.Context(), id, mios.Sum(b)); err != nil || !bytes.Equal(get(t, open(), d), b) {
		t.Errorf("Finish = %v, %v", d, err)
	}
}

func uploadLimits(t *testing.T, open func() blob.Store) {
	s := open()
	ctx, u := t.Context(), s.Uploads()
	for i, o := range []blob.UploadOptions{
		{Size: 1, Expires: time.Now()}, {Size: -2, Max: 1, Expires: time.Now()}, {Size: 2, Max: 1, Expires: time.Now()}, {Size: 1, Max: 1},
		{Size: 1, Max: 1, Expires: time.Now(), Meta: map[string]string{"a": strings.Repeat("a", 16<<10)}},
	} {
		if _, err := u.Create(ctx, o); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Create of options %d = %v, want invalid", i, err)
		}
	}
	for _, o := range []blob.UploadOptions{options(1000), {Size: -1, Max: 1000, Expires: time.Now().Add(time.Hour)}} {
		id := begin(t, s, o)
		if at, err := u.Append(ctx, id, 0, bytes.NewReader(content(999))); at != 999 || err != nil {
			t.Errorf("Append = %d, %v", at, err)
		}
		if o.Size > 0 {
			if _, _, err := u.Finish(ctx, id, mios.Digest{}); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "999 of 1000 bytes") {
				t.Errorf("Finish when a byte is missing = %v, want invalid", err)
			}
		}
		// A body without an end is read no further than it may be.
		if at, err := u.Append(ctx, id, 999, endless{}); at != 1000 || !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Append of too much = %d, %v; want 1000, invalid", at, err)
		}
		if _, n, err := u.Finish(ctx, id, mios.Digest{}); n != 1000 || err != nil {
			t.Errorf("Finish = %d, %v", n, err)
		}
	}
	for _, id := range []string{"", ".", "../x", blob.NewID(), strings.Repeat("a", 27), "INFO"} {
		none(t, s, id)
	}
	id := begin(t, s, options(5))
	if err := u.Remove(ctx, id); err != nil {
		t.Error(err)
	}
	none(t, s, id)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func uploadExpires(t *testing.T, open func() blob.Store) {
	s := open()
	keep := begin(t, s, options(5))
	o := options(5)
	o.Expires = time.Now().Add(-time.Second)
	id := begin(t, s, o)
	if _, err := s.Uploads().Append(t.Context(), id, 0, strings.NewReader("x")); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Append to what has expired = %v, want not found", err)
	}
	if n, err := s.Uploads().Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v; want 1", n, err)
	}
	if n, err := s.Uploads().Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep again = %d, %v; want none", n, err)
	}
	none(t, s, id)
	if _, err := s.Uploads().Get(t.Context(), keep); err != nil {
		t.Errorf("Get of what has not expired = %v", err)
	}
}

// uploadAtOnce lets several append at one place: one of them does.
func uploadAtOnce(t *testing.T, open func() blob.Store) {
	id := begin(t, open(), options(-1))
	const length = 10_000
	for round := range 3 {
		var wg sync.WaitGroup
		var won atomic.Int32
		for i := range 4 {
			wg.Go(func() {
				at, err := open().Uploads().Append(t.Context(), id, int64(round*length), bytes.NewReader(content(length)))
				switch {
				case err == nil && at == int64(round+1)*length:
					won.Add(1)
				case !errors.Is(err, mios.ErrConflict):
					t.Errorf("Append by %d = %d, %v", i, at, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d have appended in round %d, want 1", won.Load(), round)
		}
	}
	want := bytes.Repeat(content(length), 3)
	if d, n, err := open().Uploads().Finish(t.Context(), id, mios.Digest{}); err != nil || d != mios.Sum(want) {
		t.Errorf("Finish = %v, %d, %v", d, n, err)
	}
}
