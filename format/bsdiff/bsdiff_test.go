package bsdiff

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"mios"
	"mios/internal/bzip2"
	"mios/internal/tool"
)

// pair is two versions of something.
type pair struct {
	name     string
	old, new []byte
}

// program returns bytes like those of a program, and of its next version:
// addresses are others, and parts come and go.
func program(seed uint64, size int) pair {
	rnd := rand.New(rand.NewPCG(seed, 2))
	var old []byte
	for len(old) < size {
		if from := len(old) - 1 - rnd.IntN(1<<16); from > 0 && rnd.IntN(3) > 0 {
			old = append(old, old[from:min(from+rnd.IntN(60), len(old))]...)
		}
		old = binary.LittleEndian.AppendUint32(old, uint32(rnd.IntN(1<<18)))
	}
	var next []byte
	for i := 0; i < len(old); {
		n := min(rnd.IntN(20000), len(old)-i)
		switch rnd.IntN(6) {
		case 0:
		case 1:
			next = fmt.Appendf(next, "what is new is %d", rnd.Int())
		default:
			at := len(next)
			next = append(next, old[i:i+n]...)
			for k := at; k+4 < len(next); k += 40 + rnd.IntN(200) {
				next[k] += 16
			}
		}
		i += n
	}
	return pair{fmt.Sprintf("program%d", seed), old, next}
}

func pairs() []pair {
	p := program(1, 300_000)
	return []pair{
		{"empty", nil, nil}, {"from nothing", nil, []byte("new")}, {"to nothing", []byte("old"), nil},
		{"one byte", []byte{1}, []byte{2}}, {"same", p.old, p.old}, {"zeros", make([]byte, 1<<20), make([]byte, 3<<20)},
		{"unlike", []byte("abcdefgh"), bytes.Repeat([]byte{0xff}, 99)},
		{"swapped", append(bytes.Clone(p.old[5000:]), p.old[:5000]...), p.old},
		p, program(2, 2_000_000),
	}
}

func apply(tb testing.TB, old, patch []byte) ([]byte, error) {
	tb.Helper()
	p, err := Parse(bytes.NewReader(patch), int64(len(patch)))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.Apply(context.Background(), &b, bytes.NewReader(old), int64(len(old)))
	return b.Bytes(), err
}

func diff(tb testing.TB, p pair, o Options) []byte {
	tb.Helper()
	patch, err := Diff(context.Background(), p.old, p.new, o)
	if err != nil {
		tb.Fatal(err)
	}
	return patch
}

func TestDiff(t *testing.T) {
	for _, p := range pairs() {
		for _, o := range []Options{{Quality: 5}, {Legacy: true}, {Quality: 9, Memory: 1}} {
			patch := diff(t, p, o)
			got, err := apply(t, p.old, patch)
			if err != nil || !bytes.Equal(got, p.new) {
				t.Errorf("%s, %+v: %d bytes, want %d: %v", p.name, o, len(got), len(p.new), err)
			}
			t.Logf("%s, %+v: %d and %d bytes: %d", p.name, o, len(p.old), len(p.new), len(patch))
		}
	}
}

// TestDeterministic makes a patch of several parts with one processor and with
// more.
func TestDeterministic(t *testing.T) {
	p := program(3, 7_000_000)
	if len(p.new) <= part {
		t.Fatalf("%d bytes are one part", len(p.new))
	}
	many := diff(t, p, Options{Quality: 5})
	if got, err := apply(t, p.old, many); err != nil || !bytes.Equal(got, p.new) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(p.new), err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if one := diff(t, p, Options{Quality: 5}); !bytes.Equal(one, many) {
		t.Errorf("one processor makes %d bytes, %d others", len(one), len(many))
	}
}

// TestAgainstBsdiff has Debian's bspatch apply our patches and applies those of
// its bsdiff: ours are never 3 % larger, and BSDF2 ones not 1 %.
func TestAgainstBsdiff(t *testing.T) {
	bsdiff, err := tool.Look("bsdiff")
	if err != nil {
		t.Fatal(err)
	}
	bspatch, err := tool.Look("bspatch")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range pairs() {
		if len(p.old) == 0 || len(p.new) == 0 || p.name == "zeros" {
			continue // Debian's bsdiff cannot map an empty file, and takes a minute for zeros
		}
		ours := diff(t, p, Options{Legacy: true})
		write("old", p.old)
		write("new", p.new)
		write("patch", ours)
		run(bspatch, file("old"), file("got"), file("patch"))
		if got, err := os.ReadFile(file("got")); err != nil || !bytes.Equal(got, p.new) {
			t.Errorf("%s: bspatch makes %d bytes of our patch, want %d: %v", p.name, len(got), len(p.new), err)
		}
		run(bsdiff, file("old"), file("new"), file("theirs"))
		theirs, err := os.ReadFile(file("theirs"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := apply(t, p.old, theirs); err != nil || !bytes.Equal(got, p.new) {
			t.Errorf("%s: %d bytes of their patch, want %d: %v", p.name, len(got), len(p.new), err)
		}
		if len(ours) > len(theirs)+len(theirs)*3/100+8 {
			t.Errorf("%s: our patch has %d bytes, theirs %d", p.name, len(ours), len(theirs))
		}
		small := diff(t, p, Options{})
		if len(small) > len(theirs)+len(theirs)/100 {
			t.Errorf("%s: our BSDF2 patch has %d bytes, theirs %d", p.name, len(small), len(theirs))
		}
		t.Logf("%s: BSDF2 %d, BSDIFF40 %d, bsdiff's %d", p.name, len(small), len(ours), len(theirs))
	}
}

// patchOf returns a patch with these control entries, uncompressed, or in bzip2.
func patchOf(kind Compression, newSize int64, diff, extra []byte, entries ...int64) []byte {
	var control []byte
	for _, v := range entries {
		control = appendInt(control, v)
	}
	b := append([]byte(magicBSDF2), byte(kind), 0, 0)
	if kind == Bzip2 {
		var z bytes.Buffer
		w := bzip2.NewWriter(&z)
		w.Write(control)
		w.Close()
		control = z.Bytes()
	}
	b = appendInt(appendInt(appendInt(b, int64(len(control))), int64(len(diff))), newSize)
	return append(append(append(b, control...), diff...), extra...)
}

func TestApplyRefuses(t *testing.T) {
	old := []byte("0123456789")
	header := func(control, diff, size int64) []byte {
		return appendInt(appendInt(appendInt([]byte(magicLegacy), control), diff), size)
	}
	for _, tt := range []struct {
		name  string
		patch []byte
		off   int64
	}{
		{"empty", nil, 0},
		{"short", make([]byte, 31), 0},
		{"magic", make([]byte, 40), 0},
		{"compression", append([]byte("BSDF2\x01\x03\x01"), make([]byte, 24)...), 6},
		{"control length", header(1, 0, 0), 8},
		{"negative control length", header(-1, 0, 0), 8},
		{"diff length", header(0, 1, 0), 16},
		{"lengths that overflow", header(0, math.MaxInt64, 0), 16},
		{"new size", header(0, 0, -1), 24},
		{"no control", header(0, 0, 1), 0},
		{"control is cut off", patchOf(None, 4, nil, nil, 4), 8},
		{"adds less than nothing", patchOf(None, 4, nil, nil, -1, 0, 0), 0},
		{"inserts less than nothing", patchOf(None, 4, nil, nil, 0, -1, 0), 0},
		{"adds too much", patchOf(None, 4, make([]byte, 5), nil, 5, 0, 0), 0},
		{"inserts too much", patchOf(None, 4, nil, make([]byte, 5), 0, 5, 0), 0},
		{"sum that overflows", patchOf(None, 4, nil, nil, 3, math.MaxInt64, 0), 0},
		{"beyond old", patchOf(None, 11, make([]byte, 11), nil, 11, 0, 0), 0},
		{"before old", patchOf(None, 2, make([]byte, 2), nil, 1, 0, -2, 1, 0, 0), 24},
		{"far beyond", patchOf(None, 2, make([]byte, 2), nil, 1, 0, math.MaxInt64-1, 1, 0, 0), 24},
		{"seek that overflows", patchOf(None, 2, make([]byte, 2), nil, 1, 0, math.MaxInt64, 1, 0, 0), 0},
		{"seek that overflows down", patchOf(None, 2, nil, make([]byte, 2), 0, 1, -math.MaxInt64, 0, 0, -2, 0, 1, 0), 24},
		{"diff is cut off", patchOf(None, 4, make([]byte, 3), nil, 4, 0, 0), 3},
		{"extra is cut off", patchOf(None, 4, nil, make([]byte, 3), 0, 4, 0), 3},
		{"entries for nothing", patchOf(Bzip2, 4, nil, nil, make([]int64, 30_000_000/24*3)...), 24 * (maxIdle + 1)},
		{"bad bzip2", append(header(4, 0, 1), "BZh!"...), 0},
		{"bad brotli", append(appendInt(appendInt(appendInt([]byte("BSDF2\x02\x02\x02"), 4), 0), 1), 0xff, 0xff, 0xff, 0xff), 0},
		{"claims much", patchOf(None, 1<<60, nil, nil, 0, 1<<60, 0), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := apply(t, old, tt.patch)
			var f *FormatError
			if !errors.As(err, &f) || f.Off != tt.off || !errors.Is(err, mios.ErrInvalid) {
				t.Errorf("error is %v, want one at %#x", err, tt.off)
			}
		})
	}
}

// failing fails whatever is asked.
type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }
func (f failing) Write([]byte) (int, error)         { return 0, f.err }

// TestErrors sees to it that errors of others are not taken for the patch's.
func TestErrors(t *testing.T) {
	p := pair{"", []byte("0123456789"), []byte("012345678X")}
	patch := diff(t, p, Options{})
	ctx, broken := context.Background(), errors.New("broken")
	parsed, err := Parse(bytes.NewReader(patch), int64(len(patch)))
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Apply(ctx, io.Discard, failing{broken}, 10); !errors.Is(err, broken) {
		t.Errorf("old cannot be read: %v", err)
	}
	if err := parsed.Apply(ctx, failing{broken}, bytes.NewReader(p.old), 10); !errors.Is(err, broken) {
		t.Errorf("new cannot be written: %v", err)
	}
	parsed.r = failing{broken}
	if err := parsed.Apply(ctx, io.Discard, bytes.NewReader(p.old), 10); !errors.Is(err, broken) || errors.Is(err, mios.ErrInvalid) {
		t.Errorf("patch cannot be read: %v", err)
	}
	if _, err := Parse(failing{broken}, 99); !errors.Is(err, broken) {
		t.Errorf("header cannot be read: %v", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := Diff(stopped, p.old, p.new, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Diff goes on: %v", err)
	}
	if _, err := Diff(ctx, nil, nil, Options{Quality: 12}); err == nil {
		t.Error("quality 12 is taken")
	}
}

func FuzzApply(f *testing.F) {
	p := program(4, 2000)
	for _, o := range []Options{{Legacy: true}, {Quality: 5}} {
		f.Add(diff(f, p, o), p.old)
	}
	f.Add(patchOf(None, 4, []byte{1, 2}, []byte{3, 4}, 1, 1, 1, 1, 1, 0), []byte("0123"))
	f.Fuzz(func(t *testing.T, patch, old []byte) {
		q, err := Parse(bytes.NewReader(patch), int64(len(patch)))
		if err != nil || q.NewSize > 1<<20 {
			return
		}
		var b bytes.Buffer
		if err := q.Apply(context.Background(), &b, bytes.NewReader(old), int64(len(old))); err == nil && int64(b.Len()) != q.NewSize {
			t.Errorf("%d bytes, want %d", b.Len(), q.NewSize)
		}
	})
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte("abcdefghijklmnop"), []byte("abcdefgXhijklmnop"), false)
	f.Add(bytes.Repeat([]byte{0, 1}, 600), bytes.Repeat([]byte{0, 1, 1}, 600), true)
	f.Fuzz(func(t *testing.T, old, new []byte, small bool) {
		o := Options{Quality: 2}
		if small {
			o.Memory = 1
		}
		if got, err := apply(t, old, diff(t, pair{"", old, new}, o)); err != nil || !bytes.Equal(got, new) {
			t.Errorf("%d bytes, want %d: %v", len(got), len(new), err)
		}
	})
}

func BenchmarkDiff(b *testing.B) {
	p := program(1, 2_000_000)
	b.SetBytes(int64(len(p.new)))
	for b.Loop() {
		diff(b, p, Options{Quality: 9})
	}
}

func BenchmarkApply(b *testing.B) {
	p := program(1, 2_000_000)
	patch := diff(b, p, Options{Quality: 9})
	b.SetBytes(int64(len(p.new)))
	for b.Loop() {
		if _, err := apply(b, p.old, patch); err != nil {
			b.Fatal(err)
		}
	}
}
