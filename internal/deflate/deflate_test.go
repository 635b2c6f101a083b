package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mios"
	"mios/internal/tool"
)

// inputs are what the two are compared with, by name.
func inputs() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	words := func(n, vocabulary int) []byte {
		var b bytes.Buffer
		for b.Len() < n {
			fmt.Fprintf(&b, "%x ", r.IntN(vocabulary)*2654435761)
		}
		return b.Bytes()
	}
	table := make([]byte, 0, 300_000)
	for i := range cap(table) / 4 {
		table = binary.LittleEndian.AppendUint32(table, uint32(i*17+r.IntN(9)))
	}
	skewed := make([]byte, 150_000) // codes longer than deflate allows
	for i := range skewed {
		for skewed[i] < 40 && r.IntN(2) == 0 {
			skewed[i]++
		}
	}
	far := append(append(bytes.Clone(random[:32_506]), words(40_000, 1000)...), random[:40_000]...)
	in := map[string][]byte{
		"empty": {}, "one": {7}, "two": {7, 7}, "three": []byte("abc"), "run": make([]byte, 100_000),
		"random": random, "words": words(400_000, 5000), "few words": words(200_000, 40), "many words": words(500_000, 1<<30),
		"table": table, "skewed": skewed, "far": far, "short run": bytes.Repeat([]byte{1, 2}, 70),
		"mixed": append(append(words(70_000, 300), random[:90_000]...), words(70_000, 300)...),
		"twice": append(bytes.Clone(random[:32_600]), random[:32_600]...),
	}
	// Where the window is filled, and a little before and after.
	for _, n := range []int{65_535, 65_536, 65_537, 65_274, 65_275, 98_303, 98_304, 98_305} {
		in[fmt.Sprint("words of ", n)] = words(n+32, 3000)[:n]
	}
	return in
}

// TestZlib compares with zlib itself, at each level.
func TestZlib(t *testing.T) {
	python, err := tool.Look("python3")
	if err != nil {
		t.Fatal(err)
	}
	const script = `
import sys, zlib
for name in sys.argv[1:]:
    data = open(name, "rb").read()
    for level in range(1, 10):
        c = zlib.compressobj(level, zlib.DEFLATED, -15)
        open("%s.%d" % (name, level), "wb").write(c.compress(data) + c.flush())
`
	dir := t.TempDir()
	names, files := []string{}, []string{}
	in := inputs()
	for name, b := range in {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		names, files = append(names, name), append(files, file)
	}
	if out, err := exec.Command(python, append([]string{"-c", script}, files...)...).CombinedOutput(); err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	for i, name := range names {
		for level := MinLevel; level <= MaxLevel; level++ {
			want, err := os.ReadFile(fmt.Sprintf("%s.%d", files[i], level))
			if err != nil {
				t.Fatal(err)
			}
			if got := compress(t, in[name], level, 1<<20); !bytes.Equal(got, want) {
				t.Errorf("%s at level %d: %d bytes, zlib makes %d others", name, level, len(got), len(want))
			}
		}
	}
}

// compress writes step bytes at a time.
func compress(t *testing.T, in []byte, level, step int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for b := in; len(b) > 0; b = b[min(step, len(b)):] {
		if _, err := w.Write(b[:min(step, len(b))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSteps(t *testing.T) {
	in := inputs()["mixed"]
	for _, level := range []int{1, 6, 9} {
		want := compress(t, in, level, len(in))
		for _, step := range []int{1, 777, 65_536} {
			if got := compress(t, in, level, step); !bytes.Equal(got, want) {
				t.Errorf("level %d, %d bytes at a time: another stream", level, step)
			}
		}
		if back, err := io.ReadAll(flate.NewReader(bytes.NewReader(want))); err != nil || !bytes.Equal(back, in) {
			t.Errorf("level %d: expands to %d bytes, %v, want %d", level, len(back), err, len(in))
		}
	}
}

func TestReset(t *testing.T) {
	in := inputs()["words"]
	want := compress(t, in, 6, len(in))
	w, err := NewWriter(io.Discard, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(in[:100_000]); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.Reset(&out, 6); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("after Reset: another stream, %v", err)
	}
	for _, level := range []int{-1, 0, 10} {
		if err := w.Reset(&out, level); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Reset(level %d) = %v, want ErrInvalid", level, err)
		}
	}
}

type full struct{}

func (full) Write(b []byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteError(t *testing.T) {
	w, err := NewWriter(full{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(inputs()["random"]); err != io.ErrShortWrite {
		t.Errorf("Write = %v, want the writer's error", err)
	}
	if err := w.Close(); err != io.ErrShortWrite {
		t.Errorf("Close = %v, want the writer's error", err)
	}
}

func FuzzWriter(f *testing.F) {
	for name, b := range inputs() {
		if len(b) < 70_000 {
			f.Add(b, len(name))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, level int) {
		level = MinLevel + int(uint(level)%MaxLevel)
		out := compress(t, in, level, 4096)
		if back, err := io.ReadAll(flate.NewReader(bytes.NewReader(out))); err != nil || !bytes.Equal(back, in) {
			t.Errorf("level %d: expands to %d bytes, %v, want %d", level, len(back), err, len(in))
		}
	})
}
