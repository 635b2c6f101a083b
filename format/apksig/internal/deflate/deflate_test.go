package deflate_test

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"mios/format/apksig/internal/deflate"
)

// random returns bytes out of a generator that other languages have in a line,
// each one of the first n letters from first on.
func random(size int, first, n byte) []byte {
	b := make([]byte, size)
	for i, x := 0, uint32(1); i < size; i++ {
		x = x*1664525 + 1013904223
		b[i] = first + byte(x>>24)%n
	}
	return b
}

// manifest is like a JAR manifest of n entries.
func manifest(n int) []byte {
	var b bytes.Buffer
	sums := random(n*8, 'A', 26)
	for i := range n {
		fmt.Fprintf(&b, "Name: res/drawable/f%d.xml\r\nSHA-256-Digest: %s=\r\n\r\n", i*7919%n, sums[8*i:8*i+8])
	}
	return b.Bytes()
}

// records is like a program: the lengths of the codes of a block of it would
// themselves have codes that are too long.
func records(n int) []byte {
	var b []byte
	for i, x := 0, uint32(1); i < n; i++ {
		x = x*1664525 + 1013904223
		a, c, d := byte(x>>24), byte(x>>16), byte(x>>8)
		b = append(b, byte(i), byte(i>>8), 0, 0, a, a&c, 0, a&c&d, 0, 0, 0, byte(i*i>>4)&15)
	}
	return b
}

// TestZlib holds what zlib 1.2.13 gives: compressobj(9, DEFLATED, -15, 8) of
// Python's zlib.
func TestZlib(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		size int
		sum  string // the first bytes of the SHA-256 of what zlib gives
	}{
		{"nothing", nil, 2, "9b4fb24edd6d1d88"},
		{"a byte", []byte("a"), 3, "59fced9a2ff83dab"},
		{"three", []byte("abc"), 5, "7ce573d21753aedb"},
		{"zeros", make([]byte, 1<<20), 1033, "8d22b086820b0896"},
		{"two letters", random(20000, 'a', 2), 3273, "949cfe444922b740"},
		{"words", random(140000, 'a', 13), 74193, "085e3496ac1b9b4a"},
		{"noise", random(140000, 0, 255), 140045, "be776d116bd80dc1"},
		{"a small manifest", manifest(30), 358, "31e9b147dd11edd0"},
		{"a manifest", manifest(3000), 29144, "9eafe17f09eaaaa8"},
		{"records", records(2000), 12083, "d054d5270bfd1b93"},
	} {
		out := deflate.Bytes(tt.in)
		sum := sha256.Sum256(out)
		if got := hex.EncodeToString(sum[:8]); len(out) != tt.size || got != tt.sum {
			t.Errorf("%s: %d bytes, %s; want %d, %s", tt.name, len(out), got, tt.size, tt.sum)
		}
		if back, err := io.ReadAll(flate.NewReader(bytes.NewReader(out))); err != nil || !bytes.Equal(back, tt.in) {
			t.Errorf("%s: inflates to %d bytes (%v), want %d", tt.name, len(back), err, len(tt.in))
		}
	}
}

// FuzzBytes inflates with the standard library what was deflated.
func FuzzBytes(f *testing.F) {
	for _, b := range [][]byte{nil, []byte("a"), random(500, 'a', 3), manifest(20), bytes.Repeat([]byte("ab"), 70000), random(70000, 0, 255)} {
		f.Add(b, uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, times uint16) {
		in := bytes.Repeat(b, int(times%64)+1)
		if len(in) > 1<<20 {
			return
		}
		out := deflate.Bytes(in)
		if back, err := io.ReadAll(flate.NewReader(bytes.NewReader(out))); err != nil || !bytes.Equal(back, in) {
			t.Errorf("inflates to %d bytes (%v), want %d", len(back), err, len(in))
		}
	})
}
