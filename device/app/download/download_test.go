package download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"mios"
	"mios/api/repo"
)

var errBroken = errors.New("the line broke")

// mirrors brings a file from several, of which each has bytes of its own.
type mirrors struct {
	files  [][]byte
	now    int
	breaks int     // connections that end in the middle
	asked  []int64 // offsets
}

func (m *mirrors) Distrust() { m.now = (m.now + 1) % len(m.files) }

func (m *mirrors) Open(_ context.Context, _ string, off, n int64) (io.ReadCloser, error) {
	m.asked = append(m.asked, off)
	r := io.Reader(bytes.NewReader(m.files[m.now][off:]))
	if m.breaks > 0 {
		m.breaks--
		r = io.MultiReader(io.LimitReader(r, max(1, n/10)), iotest.ErrReader(errBroken))
	}
	return io.NopCloser(r), nil
}

// testFile returns bytes and the target that they are.
func testFile(size int) ([]byte, repo.Target) {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b, repo.Target{Path: "apps/a.b_1.apk", Length: int64(size), SHA256: mios.Sum(b)}
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

func silent(int64) {}

// TestBreaks breaks the line twenty times: each time what came stays, and the
// next start goes on at that byte.
func TestBreaks(t *testing.T) {
	b, target := testFile(100_000)
	m := &mirrors{files: [][]byte{b}, breaks: 20}
	dir := t.TempDir()
	var had int64
	for i := range 20 {
		d := Dir{Path: dir, Fetch: m} // as after a restart
		if _, err := d.Get(t.Context(), target, silent); !errors.Is(err, errBroken) {
			t.Fatalf("break %d: %v", i, err)
		}
		if now := d.Has(target); now <= had {
			t.Fatalf("after break %d there are %d bytes, before there were %d", i, now, had)
		} else if m.asked[i] != had {
			t.Errorf("start %d went on at byte %d, want %d", i, m.asked[i], had)
		} else {
			had = now
		}
	}
	var told []int64
	d := Dir{Path: dir, Fetch: m}
	path, err := d.Get(t.Context(), target, func(n int64) { told = append(told, n) })
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if told[0] != had || told[len(told)-1] != target.Length || !slices.IsSorted(told) {
		t.Errorf("told %v, want from %d to %d", told, had, target.Length)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	asked := len(m.asked)
	if again, err := d.Get(t.Context(), target, silent); err != nil || again != path || len(m.asked) != asked {
		t.Errorf("once more: %s, %v; asked %d times", again, err, len(m.asked)-asked)
	}
}

// TestWrongBytes has mirrors that lie, and files that a power cut damaged.
func TestWrongBytes(t *testing.T) {
	good, target := testFile(5000)
	bad := flipped(good)
	for _, tt := range []struct {
		name  string
		files [][]byte
		there []byte // of the part
		asked []int64
		err   error
	}{
		{"the first mirror lies", [][]byte{bad, good}, nil, []int64{0, 0}, nil},
		{"all mirrors lie", [][]byte{bad, bad}, nil, []int64{0, 0}, repo.ErrHash},
		{"what was there is damaged", [][]byte{good}, bad[:4000], []int64{4000, 0}, nil},
		{"what was there is damaged, and the mirror lies", [][]byte{bad}, bad[:4000], []int64{4000, 0}, repo.ErrHash},
		{"what was there is whole", [][]byte{good}, good, nil, nil},
		{"what was there is whole and wrong", [][]byte{good}, bad, []int64{0}, nil},
		{"what was there is longer", [][]byte{good}, append(bytes.Clone(good), 1), []int64{0}, nil},
		{"too short", [][]byte{good[:4999]}, nil, []int64{0}, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &mirrors{files: tt.files}
			d := Dir{Path: t.TempDir(), Fetch: m}
			if tt.there != nil {
				if err := os.WriteFile(d.file(target.SHA256)+part, tt.there, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			path, err := d.Get(t.Context(), target, silent)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("Get = %v, want %v", err, tt.err)
			}
			if !slices.Equal(m.asked, tt.asked) {
				t.Errorf("asked for bytes from %v, want %v", m.asked, tt.asked)
			}
			if tt.err == nil {
				if got, err := os.ReadFile(path); !bytes.Equal(got, good) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			} else if errors.Is(tt.err, repo.ErrHash) && d.Has(target) != 0 {
				t.Errorf("%d wrong bytes are kept", d.Has(target))
			}
		})
	}
}

func TestMakeAndKeep(t *testing.T) {
	good, target := testFile(3000)
	other, second := testFile(3001)
	d := Dir{Path: t.TempDir(), Fetch: &mirrors{files: [][]byte{other}}}
	write := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(b); return err }
	}
	if _, err := d.Make(target, write(flipped(good))); !errors.Is(err, repo.ErrHash) {
		t.Errorf("Make of another file = %v", err)
	}
	if _, err := d.Make(target, func(io.Writer) error { return errBroken }); !errors.Is(err, errBroken) {
		t.Errorf("Make that fails = %v", err)
	}
	if left, err := os.ReadDir(d.Path); len(left) != 0 || err != nil {
		t.Errorf("a Make that failed left %v, %v", left, err)
	}
	for range 2 {
		path, err := d.Make(target, write(good))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); !bytes.Equal(got, good) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if _, err := d.Get(t.Context(), second, silent); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Path, "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wanted := map[mios.Digest]bool{target.SHA256: true, second.SHA256: true}
	names := func() (list []string) {
		entries, err := os.ReadDir(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	if err := os.Chtimes(d.file(second.SHA256), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := d.Keep(wanted, time.Now().Add(-2*time.Hour)); err != nil || len(names()) != 2 {
		t.Errorf("Keep leaves %v, %v", names(), err)
	}
	if err := d.Keep(wanted, time.Now().Add(-30*time.Minute)); err != nil || !slices.Equal(names(), []string{target.SHA256.String()}) {
		t.Errorf("Keep of the new ones leaves %v, %v", names(), err)
	}
	if err := d.Keep(nil, time.Time{}); err != nil || len(names()) != 0 {
		t.Errorf("Keep of none leaves %v, %v", names(), err)
	}
	if err := (&Dir{Path: filepath.Join(d.Path, "none")}).Keep(nil, time.Time{}); err != nil {
		t.Errorf("Keep in a folder that is not there: %v", err)
	}
}
