package erofs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	lz4block "github.com/pierrec/lz4/v4"
)

// TestLZ4 unpacks parts of blocks of every length.
func TestLZ4(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var data []byte
	for len(data) < 3000 {
		data = fmt.Appendf(data, "%x ", r.IntN(1<<8))
	}
	data = append(data, make([]byte, 1000)...)
	src := make([]byte, lz4block.CompressBlockBound(len(data)))
	n, err := lz4block.CompressBlock(data, src, nil)
	if err != nil || n == 0 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	src = src[:n]
	for n := range len(data) + 1 {
		dst := make([]byte, n)
		if err := unpackLZ4(dst, src, false); err != nil || !bytes.Equal(dst, data[:n]) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	whole := make([]byte, len(data))
	if err := unpackLZ4(whole, src, true); err != nil || !bytes.Equal(whole, data) {
		t.Errorf("all: %v", err)
	}
	if unpackLZ4(whole[:len(data)-1], src, true) == nil {
		t.Error("a block that unpacks to more is taken")
	}
	for _, whole := range []bool{false, true} {
		if unpackLZ4(make([]byte, len(data)+1), src, whole) == nil {
			t.Errorf("a block that unpacks to less is taken, whole: %v", whole)
		}
	}
	for _, bad := range [][]byte{{0x10}, {0xf0}, {0xf0, 0xff}, {0x00, 0x01, 0x00}, {0x10, 'a', 0x02, 0x00}, {0x10, 'a', 0, 0}} {
		for _, whole := range []bool{false, true} {
			if unpackLZ4(make([]byte, 100), bad, whole) == nil {
				t.Errorf("% x is taken, whole: %v", bad, whole)
			}
		}
	}
}

func FuzzLZ4(f *testing.F) {
	f.Add([]byte("\x5fabcde\x05\x00\x10\x20xy"), 40, true)
	f.Fuzz(func(t *testing.T, src []byte, n int, whole bool) {
		if n < 0 || n > 1<<16 {
			return
		}
		a, b := make([]byte, n), make([]byte, n)
		// What is taken as a whole begins as its parts do.
		if unpackLZ4(a, src, true) == nil && n > 0 {
			if err := unpackLZ4(b, src, false); err != nil || !bytes.Equal(a, b) {
				t.Errorf("other data as a part: %v", err)
			}
		}
		unpackLZ4(b, src, whole)
	})
}

func FuzzLZMA(f *testing.F) {
	f.Add([]byte{0xa2, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 100)
	f.Fuzz(func(t *testing.T, src []byte, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		unpackLZMA(make([]byte, n), src)
	})
}
