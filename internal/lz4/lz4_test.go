package lz4

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	lz4block "github.com/pierrec/lz4/v4"

	"mios/internal/tool"
)

// judge is a program of liblz4's that answers what a Compressor does: for each
// level, size of dst and src on its input, it writes both results and dst.
const judge = `
#include <lz4.h>
#include <lz4hc.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
	int q[3];
	void *state = malloc(LZ4_sizeofStateHC());
	while (fread(q, sizeof q, 1, stdin) == 1) {
		char *src = malloc(q[2] + 1), *dst = calloc(q[1] + 1, 1);
		int r[2];
		if (fread(src, 1, q[2], stdin) != q[2]) return 1;
		r[1] = q[2];
		if (q[0] == 0) r[0] = LZ4_compress_destSize(src, dst, &r[1], q[1]);
		else r[0] = LZ4_compress_HC_destSize(state, src, dst, &r[1], q[1], q[0]);
		fwrite(r, sizeof r, 1, stdout);
		fwrite(dst, 1, r[0], stdout);
		fflush(stdout);
		free(src);
		free(dst);
	}
	return 0;
}`

// startJudge compiles the judge and returns what it says.
func startJudge(t *testing.T) func(level, size int, src []byte) (dst []byte, read int) {
	gcc, err := tool.Look("gcc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tool.Look("/usr/include/lz4hc.h"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "judge.c"), filepath.Join(dir, "judge")
	if err := os.WriteFile(source, []byte(judge), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-O1", "-o", program, source, "-llz4").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
	cmd := exec.Command(program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return func(level, size int, src []byte) ([]byte, int) {
		t.Helper()
		q := binary.LittleEndian.AppendUint32(nil, uint32(level))
		q = binary.LittleEndian.AppendUint32(q, uint32(size))
		q = binary.LittleEndian.AppendUint32(q, uint32(len(src)))
		in.Write(append(q, src...))
		var r [8]byte
		if _, err := io.ReadFull(out, r[:]); err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, binary.LittleEndian.Uint32(r[:]))
		if _, err := io.ReadFull(out, dst); err != nil {
			t.Fatal(err)
		}
		return dst, int(binary.LittleEndian.Uint32(r[4:]))
	}
}

// inputs are of all kinds: text, programs, runs, noise, short ones.
func inputs(tb testing.TB) map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 20_000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		tb.Fatal(err)
	}
	in := map[string][]byte{
		"noise": noise, "zeros": make([]byte, 100_000), "program": program[:400_000],
		"rodata": program[len(program)/2:][:200_000], "ab": bytes.Repeat([]byte("ab"), 20_000), "abc": bytes.Repeat([]byte("abc"), 9999),
	}
	var text, runs, mixed []byte
	for len(text) < 150_000 {
		if from := len(text) - 1 - rnd.IntN(1<<16); from > 0 && rnd.IntN(3) > 0 {
			text = append(text, text[from:min(from+rnd.IntN(80), len(text))]...)
		}
		text = fmt.Append(text, rnd.IntN(99))
	}
	for len(runs) < 150_000 {
		runs = append(runs, bytes.Repeat([]byte{byte(rnd.IntN(3))}, 1+rnd.IntN(1<<rnd.IntN(14)))...)
		runs = append(runs, noise[rnd.IntN(9000):][:rnd.IntN(40)]...)
	}
	for len(mixed) < 150_000 {
		mixed = append(mixed, text[rnd.IntN(1000):][:rnd.IntN(400)]...)
		mixed = append(mixed, noise[rnd.IntN(9000):][:rnd.IntN(900)]...)
	}
	in["text"], in["runs"], in["mixed"] = text, runs, mixed
	for _, n := range []int{0, 1, 4, 5, 11, 12, 13, 14, 20, 300} {
		in[fmt.Sprint("short", n)] = bytes.Repeat([]byte{'x'}, n)
		in[fmt.Sprint("text", n)] = text[:n]
	}
	return in
}

// TestAgainstLiblz4 holds every byte against liblz4's.
func TestAgainstLiblz4(t *testing.T) {
	ask := startJudge(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	cases := 0
	for level := range len(levels) {
		c := NewFast()
		if level > 0 {
			c = NewHC(level)
		}
		for name, all := range inputs(t) {
			for n := range 12 {
				src := all
				if len(all) > 1000 && n > 1 {
					src = all[rnd.IntN(len(all)/2):]
					src = src[:rnd.IntN(min(len(src), 1<<rnd.IntN(18)))]
				}
				size := []int{4096, 16384, len(src), Bound(len(src)), 1 + rnd.IntN(len(src)+50), 1 + rnd.IntN(200)}[n%6]
				if size == 0 {
					continue
				}
				dst := make([]byte, size)
				written, read := c.Fill(dst, src)
				want, wantRead := ask(level, size, src)
				cases++
				if !bytes.Equal(dst[:written], want) || read != wantRead {
					t.Fatalf("level %d, %s, %d bytes into %d: %d of %d bytes, liblz4 makes %d of %d, the same up to %d",
						level, name, len(src), size, written, read, len(want), wantRead, same(dst[:written], want))
				}
			}
		}
	}
	if cases < 1000 {
		t.Errorf("%d cases", cases)
	}
}

func same(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func TestNewHC(t *testing.T) {
	for level, want := range map[int]int{-1: 9, 0: 9, 1: 1, 12: 12, 13: 12} {
		if c := NewHC(level); c.level != want {
			t.Errorf("level %d stands for %d, want %d", level, c.level, want)
		}
	}
}

func FuzzFill(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabcabc"), uint16(20), byte(9))
	f.Add(bytes.Repeat([]byte{7}, 100), uint16(13), byte(0))
	f.Fuzz(func(t *testing.T, src []byte, size uint16, level byte) {
		c := NewFast()
		if level %= 13; level > 0 {
			c = NewHC(int(level))
		}
		dst := make([]byte, size)
		written, read := c.Fill(dst, src)
		if size == 0 {
			return
		}
		got := make([]byte, read)
		if n, err := lz4block.UncompressBlock(dst[:written], got); err != nil || n != read || !bytes.Equal(got, src[:read]) {
			t.Errorf("%d of %d bytes into %d: %d come back: %v", read, len(src), written, n, err)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	src := inputs(b)["program"]
	hc, best := NewHC(9), NewHC(12)
	for name, c := range map[string]*Compressor{"fast": NewFast(), "hc9": hc, "hc12": best} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, Bound(len(src)))
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				c.Fill(dst, src)
			}
		})
	}
}
