package apkdelta

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mios"
	"mios/format/bsdiff"
	"mios/internal/deflate"
)

// A file is an entry of an archive that a test makes.
type file struct {
	name  string
	data  []byte
	level int // of zlib; 0 is stored, goDeflate is what zlib never makes
}

const goDeflate = -1

// archiveOf returns a ZIP archive behind a prefix.
func archiveOf(t testing.TB, prefix string, files ...file) []byte {
	t.Helper()
	b := bytes.NewBufferString(prefix)
	z := zip.NewWriter(b)
	z.SetOffset(int64(len(prefix)))
	for _, f := range files {
		z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
			if f.level == goDeflate {
				return flate.NewWriter(w, 9)
			}
			return deflate.NewWriter(w, f.level)
		})
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if f.level == 0 {
			h.Method = zip.Store
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.SetComment("made for a test"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// text returns n bytes that compress to about a third.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x ", uint32(r.IntN(5000))*2654435761)
	}
	return b.Bytes()[:n]
}

// edited returns text with a few words that are others.
func edited(b []byte, every int) []byte {
	b = bytes.Clone(b)
	for i := every; i+4 < len(b); i += every {
		copy(b[i:], "edit")
	}
	return b
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// deltaOf returns the delta, and fails t if there is none.
func deltaOf(t testing.TB, old, new []byte) []byte {
	t.Helper()
	var d bytes.Buffer
	h, err := Make(t.Context(), bytes.NewReader(old), int64(len(old)), bytes.NewReader(new), int64(len(new)), &d, Options{})
	if err != nil {
		t.Fatalf("Make: %v", err)
	}
	want := Header{Old: mios.Sum(old), New: mios.Sum(new), OldSize: int64(len(old)), NewSize: int64(len(new)), Scratch: h.Scratch}
	if *h != want {
		t.Errorf("Make = %+v, want %+v", *h, want)
	}
	return d.Bytes()
}

func apply(t testing.TB, old, delta []byte, l Limits) ([]byte, error) {
	t.Helper()
	var out bytes.Buffer
	_, err := Apply(t.Context(), bytes.NewReader(old), int64(len(old)), bytes.NewReader(delta), &out, l)
	return out.Bytes(), err
}

func TestRoundTrip(t *testing.T) {
	code, res := text(1, 120_000), text(2, 30_000)
	code2 := edited(code, 12_000)
	old := archiveOf(t, "", file{"classes.dex", code, 1}, file{"res.xml", res, 6}, file{"raw", res[:5000], 0}, file{"same", text(9, 20_000), 9})
	for _, tt := range []struct {
		name     string
		old, new []byte
		most     int // bytes of the delta
	}{
		{"equal", old, old, 600},
		{"an entry edited", old, archiveOf(t, "", file{"classes.dex", code2, 1}, file{"res.xml", res, 6}, file{"raw", res[:5000], 0}, file{"same", text(9, 20_000), 9}), 1000},
		{"of other levels, in another order", old, archiveOf(t, "a prefix", file{"same", text(9, 20_000), 6}, file{"res.xml", res, 9}, file{"moved.dex", code2, 4}), 1500},
		{"stored before, packed now", old, archiveOf(t, "", file{"raw", edited(res[:5000], 900), 5}, file{"classes.dex", code2, 0}), 1500},
		{"not by zlib", archiveOf(t, "", file{"classes.dex", code, goDeflate}), archiveOf(t, "", file{"classes.dex", code2, goDeflate}), 4000},
		{"by zlib before", archiveOf(t, "", file{"classes.dex", code, 6}), archiveOf(t, "", file{"classes.dex", code2, goDeflate}), 1 << 20},
		{"no archive", code, code2, 1000},
		{"to nothing", old, nil, 600},
		{"from nothing", nil, old, len(old) + 600},
		{"nothing", nil, nil, 600},
		{"entries without a byte", archiveOf(t, "", file{"a", nil, 6}, file{"b", code, 6}), archiveOf(t, "", file{"a", nil, 1}, file{"b", code2, 6}, file{"c", nil, 9}), 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			delta := deltaOf(t, tt.old, tt.new)
			if tt.name == "an entry edited" && !bytes.Equal(delta, deltaOf(t, tt.old, tt.new)) {
				t.Error("Make made another delta of the same files")
			}
			if len(delta) > tt.most {
				t.Errorf("delta has %d bytes, want at most %d", len(delta), tt.most)
			}
			for name, l := range map[string]Limits{"memory": {NewSize: int64(len(tt.new))}, "file": {Scratch: scratch(t)}} {
				if got, err := apply(t, tt.old, delta, l); err != nil || !bytes.Equal(got, tt.new) {
					t.Errorf("Apply with scratch in %s: %d bytes, %v, want the new file of %d", name, len(got), err, len(tt.new))
				}
			}
		})
	}
}

func scratch(t testing.TB) *os.File {
	f, err := os.Create(filepath.Join(t.TempDir(), "scratch"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// pair returns two archives and a delta that has a bit of everything.
func pair(t testing.TB) (old, new, delta []byte) {
	code := text(1, 30_000)
	old = archiveOf(t, "", file{"a", code, 1}, file{"b", text(2, 20_000), goDeflate}, file{"gone", text(4, 3000), 6})
	new = archiveOf(t, "", file{"a", edited(code, 5000), 1}, file{"b", edited(text(2, 20_000), 5000), goDeflate}, file{"c", text(3, 2000), 6})
	return old, new, deltaOf(t, old, new)
}

func TestWrongOld(t *testing.T) {
	old, _, delta := pair(t)
	other := bytes.Clone(old)
	other[100] ^= 1
	var wrong *WrongOldError
	out, err := apply(t, other, delta, Limits{})
	if !errors.As(err, &wrong) || wrong.Want != mios.Sum(old) || wrong.Got != mios.Sum(other) || !errors.Is(err, mios.ErrConflict) || len(out) > 0 {
		t.Errorf("Apply to another file = %d bytes, %v", len(out), err)
	}
	out, err = apply(t, old[1:], delta, Limits{})
	if !errors.As(err, &wrong) || wrong.WantSize != int64(len(old)) || wrong.GotSize != int64(len(old)-1) || len(out) > 0 {
		t.Errorf("Apply to a shorter file = %d bytes, %v", len(out), err)
	}
}

func TestLimits(t *testing.T) {
	old, new, delta := pair(t)
	if _, err := apply(t, old, delta, Limits{NewSize: int64(len(new)) - 1}); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Apply of a file that is larger than wanted = %v", err)
	}
	binary.LittleEndian.PutUint64(delta[len(magic)+4+2*8:], memoryScratch+1)
	if _, err := apply(t, old, delta, Limits{}); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "give it a file") {
		t.Errorf("Apply of what needs a scratch file = %v", err)
	}
	if _, err := Make(t.Context(), nil, MaxSize+1, nil, 0, io.Discard, Options{}); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Make of a file above MaxSize = %v", err)
	}
}

// TestDamaged cuts the delta at a byte, and changes it: each byte of the header
// and the plan, and many of the steps.
func TestDamaged(t *testing.T) {
	old, new, delta := pair(t)
	for i := 0; i < len(delta); i += 1 + i/(headerSize+60)*10 {
		var f *FormatError
		if _, err := apply(t, old, delta[:i], Limits{}); !errors.As(err, &f) {
			t.Errorf("delta cut at %d: %v, want a FormatError", i, err)
		}
		bad := bytes.Clone(delta)
		bad[i] ^= 0x41
		got, err := apply(t, old, bad, Limits{})
		if err == nil && !bytes.Equal(got, new) {
			t.Errorf("delta with byte %d changed makes another file, and no error", i)
		}
		if err != nil && !errors.Is(err, mios.ErrInvalid) && !errors.Is(err, mios.ErrConflict) && !errors.Is(err, errSize) {
			var corrupt flate.CorruptInputError
			if !errors.As(err, &corrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("delta with byte %d changed: %v, of no known kind", i, err)
			}
		}
	}
	if _, err := apply(t, old, append(bytes.Clone(delta), 0), Limits{}); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("delta with a byte more: %v", err)
	}
}

type failing struct{ n int }

var errFull = errors.New("no space left")

func (f *failing) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func (f *failing) Read([]byte) (int, error)          { return 0, errFull }
func (f *failing) ReadAt([]byte, int64) (int, error) { return 0, errFull }

func TestErrors(t *testing.T) {
	old, new, delta := pair(t)
	r := bytes.NewReader(old)
	for n := 0; n < len(new); n += 1000 {
		if _, err := Apply(t.Context(), r, r.Size(), bytes.NewReader(delta), &failing{n}, Limits{}); !errors.Is(err, errFull) {
			t.Errorf("Apply to a writer that takes %d bytes: %v", n, err)
		}
	}
	for n := 0; n < len(delta); n += 20 {
		broken := io.MultiReader(bytes.NewReader(delta[:n]), &failing{})
		if _, err := Apply(t.Context(), r, r.Size(), broken, io.Discard, Limits{}); !errors.Is(err, errFull) || errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Apply of a delta that breaks at %d: %v, want the reader's error", n, err)
		}
	}
	if _, err := Apply(t.Context(), &failing{}, r.Size(), bytes.NewReader(delta), io.Discard, Limits{}); !errors.Is(err, errFull) {
		t.Errorf("Apply to an old file that cannot be read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Apply(ctx, r, r.Size(), bytes.NewReader(delta), io.Discard, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply after its context's end: %v", err)
	}
	if _, err := Make(ctx, r, r.Size(), r, r.Size(), io.Discard, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Make after its context's end: %v", err)
	}
	for n := 0; n < len(delta); n += 100 {
		if _, err := Make(t.Context(), r, r.Size(), bytes.NewReader(new), int64(len(new)), &failing{n}, Options{}); !errors.Is(err, errFull) {
			t.Errorf("Make to a writer that takes %d bytes: %v", n, err)
		}
	}
}

// A meter looks at what is in use while a file is made.
type meter struct {
	n, most int
	peak    uint64
}

func (m *meter) Write(b []byte) (int, error) {
	if m.n += len(b); m.n > m.most {
		m.most += 4 << 20
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		m.peak = max(m.peak, s.HeapAlloc)
	}
	return len(b), nil
}

// TestMemory applies a delta of files that are much larger than what Apply may
// take.
func TestMemory(t *testing.T) {
	old := random(12 << 20) // takes two parts
	new := edited(old, 5000)
	dir := t.TempDir()
	write := func(name string, b []byte) *os.File {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	// As Make writes it, without the time that comparing takes.
	var d bytes.Buffer
	want := Header{Old: mios.Sum(old), New: mios.Sum(new), OldSize: int64(len(old)), NewSize: int64(len(new))}
	d.Write(want.appendTo(nil))
	mk := &maker{w: &packer{w: &d}, old: old, new: new, matches: []bsdiff.Match{{Len: 7 << 20}, {New: 9 << 20, Old: 9 << 20, Len: 3 << 20}}}
	if err := errors.Join(mk.w.write(plan{}.appendTo(plan{}.appendTo(nil))), mk.run(t.Context())); err != nil {
		t.Fatal(err)
	}
	mk = nil
	oldFile, delta, size := write("old", old), write("delta", d.Bytes()), int64(len(old))
	old, new, d = nil, nil, bytes.Buffer{}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	m := &meter{}
	h, err := Apply(t.Context(), oldFile, size, delta, m, Limits{Scratch: scratch(t)})
	if err != nil {
		t.Fatal(err)
	}
	const most = 16 << 20 // of steps alone; both files have 24 MiB
	t.Logf("peak %d MiB", (m.peak-before.HeapAlloc)>>20)
	if used := int64(m.peak) - int64(before.HeapAlloc); used > most || int64(m.n) != h.NewSize {
		t.Errorf("Apply of %d bytes to %d holds %d, want at most %d", m.n, size, used, most)
	}
}
