package apk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestFindEnds compares with a search from the end, as the format is defined.
func TestFindEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		tail := make([]byte, rng.IntN(200))
		for range rng.IntN(5) {
			if i := rng.IntN(len(tail) + 1); i+endSize <= len(tail) {
				copy(tail[i:], endMagic)
				if rng.IntN(2) == 0 {
					tail[i+20] = byte(len(tail) - i - endSize)
				}
			} else {
				copy(tail[i:], endMagic)
			}
		}
		last := bytes.LastIndex(tail, []byte(endMagic))
		other := -1
		for i := last - 1; i >= 0 && other < 0; i-- {
			if b := tail[i:]; bytes.HasPrefix(b, []byte(endMagic)) && len(b) >= endSize && i+4 <= last &&
				int(b[20])|int(b[21])<<8 == len(b)-endSize {
				other = i
			}
		}
		if l, o := findEnds(tail); l != last || o != other {
			t.Fatalf("findEnds(%x) = %d, %d, want %d, %d", tail, l, o, last, other)
		}
	}
}
