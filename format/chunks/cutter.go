package chunks

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// A Cutter says where content is cut: at places that the content itself
// decides, so that what was inserted or moved leaves most chunks as they were.
// It is FastCDC with two masks (Xia et al., USENIX ATC 2016): a cut is where
// the gear hash of the 64 bytes before it has zeros under a mask.
type Cutter struct {
	// Min and Max are the fewest and the most bytes of a chunk, and Avg what
	// most have about: powers of two. The last chunk of a stream may be shorter.
	Min, Avg, Max int
}

// Default is what was measured to be cheapest for system images; see
// docs/adaptive.md.
var Default = Cutter{Min: 4 << 10, Avg: 16 << 10, Max: 64 << 10}

// maxChunk bounds what a chunk may have by the format.
const maxChunk = 1 << 20

// check says what is wrong with the sizes.
func (c Cutter) check() error {
	for _, n := range []int{c.Min, c.Avg, c.Max} {
		if n < 1<<10 || n > maxChunk || n&(n-1) != 0 {
			return fmt.Errorf("chunk size %d is not a power of two from %d to %d", n, 1<<10, maxChunk)
		}
	}
	if c.Min >= c.Avg || c.Avg >= c.Max {
		return fmt.Errorf("chunk sizes %d, %d, %d do not grow", c.Min, c.Avg, c.Max)
	}
	return nil
}

// gear has a random number for each byte: those of splitmix64 from 1 on.
var gear = func() (t [256]uint64) {
	x := uint64(1)
	for i := range t {
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t[i] = z ^ z>>31
	}
	return t
}()

// cut returns the length of the chunk that b begins with, if b is long enough
// to tell: that is Max, or all that is left.
func (c Cutter) cut(b []byte) int {
	if len(b) <= c.Min {
		return len(b)
	}
	b = b[:min(len(b), c.Max)]
	// The upper bits of the hash depend on the most bytes.
	n := bits.Len(uint(c.Avg)) - 1
	hard, easy := ^uint64(0)<<(64-n-2), ^uint64(0)<<(64-n+2)
	var h uint64
	i, half := c.Min, min(c.Avg, len(b))
	for _, x := range b[max(0, c.Min-64):c.Min] {
		h = h<<1 + gear[x]
	}
	for ; i < half; i++ {
		h = h<<1 + gear[b[i]]
		if h&hard == 0 {
			return i + 1
		}
	}
	for ; i < len(b); i++ {
		h = h<<1 + gear[b[i]]
		if h&easy == 0 {
			return i + 1
		}
	}
	return len(b)
}

// Cut calls f with each chunk of r until its end, in order. The bytes are f's
// only until it returns.
func (c Cutter) Cut(r io.Reader, f func(b []byte) error) error {
	if err := c.check(); err != nil {
		return err
	}
	buf := make([]byte, max(4*c.Max, 1<<20))
	from, to := 0, 0
	for end := false; ; {
		for !end && to-from < c.Max {
			if from > 0 {
				to = copy(buf, buf[from:to])
				from = 0
			}
			n, err := io.ReadFull(r, buf[to:])
			to += n
			switch {
			case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
				end = true
			case err != nil:
				return err
			}
		}
		if from == to {
			return nil
		}
		n := c.cut(buf[from:to])
		if err := f(buf[from : from+n]); err != nil {
			return err
		}
		from += n
	}
}
