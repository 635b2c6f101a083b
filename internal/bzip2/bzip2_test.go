package bzip2

import (
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"mios/internal/tool"
)

func compress(tb testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func check(tb testing.TB, data []byte) {
	tb.Helper()
	got, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(compress(tb, data))))
	if err != nil || !bytes.Equal(got, data) {
		tb.Fatalf("%d bytes (%.20q) become %d: %v", len(data), data, len(got), err)
	}
}

// inputs are what is hard about the format: runs about the limits, rotations
// that are equal, all bytes, more than one block.
func inputs() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 2_000_000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	in := map[string][]byte{
		"empty": {}, "one": {7}, "periodic": bytes.Repeat([]byte("abcab"), 5000), "zeros": make([]byte, 5_000_000),
		"random": random, "few": bytes.Repeat([]byte{0, 255}, 3),
	}
	for _, n := range []int{3, 4, 5, 254, 255, 256, 259, 260, 511} {
		in[fmt.Sprint("run", n)] = bytes.Repeat([]byte{9}, n)
	}
	var text []byte
	for len(text) < 1_500_000 {
		if from := len(text) - 1 - rnd.IntN(1<<17); from > 0 && rnd.IntN(4) > 0 {
			text = append(text, text[from:min(from+rnd.IntN(90), len(text))]...)
		}
		text = fmt.Append(text, rnd.IntN(1000))
	}
	in["text"] = text
	return in
}

func TestRoundTrip(t *testing.T) {
	for name, data := range inputs() {
		t.Run(name, func(t *testing.T) { check(t, data) })
	}
}

// TestAgainstBzip2 has Debian's bzip2 judge the stream, and its size: ours is
// never 1 % larger.
func TestAgainstBzip2(t *testing.T) {
	path, err := tool.Look("bzip2")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range inputs() {
		ours := compress(t, data)
		cmd := exec.Command(path, "-dc")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(ours), os.Stderr
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%s: bzip2 -d: %d bytes, want %d: %v", name, len(out), len(data), err)
		}
		cmd = exec.Command(path, "-9c")
		cmd.Stdin = bytes.NewReader(data)
		theirs, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(ours) > len(theirs)+len(theirs)/100+8 {
			t.Errorf("%s: %d bytes, bzip2 makes %d", name, len(ours), len(theirs))
		}
		t.Logf("%s: %d -> %d bytes, bzip2's %d", name, len(data), len(ours), len(theirs))
	}
}

func TestWriterErrors(t *testing.T) {
	w := NewWriter(io.Discard)
	w.Close()
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("a closed writer takes bytes")
	}
	r, p := io.Pipe()
	r.Close()
	if err := NewWriter(p).Close(); err != io.ErrClosedPipe {
		t.Errorf("Close = %v, want %v", err, io.ErrClosedPipe)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("aaaaaabbbbbb"), byte(3))
	f.Add([]byte{0, 1, 0, 0}, byte(200))
	f.Fuzz(func(t *testing.T, data []byte, times byte) {
		check(t, bytes.Repeat(data, int(times)))
	})
}

func BenchmarkWriter(b *testing.B) {
	text := inputs()["text"]
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		compress(b, text)
	}
}
