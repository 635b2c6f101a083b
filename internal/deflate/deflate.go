// Package deflate compresses just as zlib does, to the last bit: what zlib's
// deflate made at one of its levels 1 to 9, with the memory level 8, the window
// of 32 KiB and the strategy that are its defaults, and with nothing flushed in
// between, is made again from what it expands to. Java's Deflater, aapt2,
// zipalign and most ZIP tools are zlib inside.
//
// Which string is tried against which, and how far, is part of the output: it
// is what zlib's "algorithm.txt" tells and its deflate does, of any version
// since 1.2.5.3. The format is RFC 1951.
package deflate

import (
	"fmt"
	"io"

	"mios"
)

const (
	windowSize   = 32 << 10
	windowMask   = windowSize - 1
	minMatch     = 3
	maxMatch     = 258
	minLookahead = maxMatch + minMatch + 1
	maxDistance  = windowSize - minLookahead
	tooFar       = 4096 // a match of three bytes from further away is dropped
	hashBits     = 15
	hashSize     = 1 << hashBits
	hashMask     = hashSize - 1
	hashShift    = 5
	blockSymbols = 1<<14 - 1 // a block has no more
)

// effort is how hard a level searches.
type effort struct {
	good  int // a match that long: a quarter of the chain is enough for a better one
	lazy  int // and at that no better one is looked for; of fast levels: longer ones are not indexed inside
	nice  int // that long is long enough
	chain int // how many places are tried
	fast  bool
}

var efforts = [10]effort{
	1: {4, 4, 8, 4, true},
	2: {4, 5, 16, 8, true},
	3: {4, 6, 32, 32, true},
	4: {4, 4, 16, 16, false},
	5: {8, 16, 32, 32, false},
	6: {8, 16, 128, 128, false},
	7: {8, 32, 128, 256, false},
	8: {32, 128, 258, 1024, false},
	9: {32, 258, 258, 4096, false},
}

// MinLevel and MaxLevel are the levels that there are.
const (
	MinLevel = 1
	MaxLevel = 9
)

// A Writer compresses what is written to it. It takes about 400 KiB.
type Writer struct {
	effort
	out    bitWriter
	window [2*windowSize + maxMatch]byte
	head   [hashSize]uint16 // the last place with a hash; 0 is none
	prev   [windowSize]uint16
	block  block

	start     int // of what is to be compressed next, in window
	ahead     int // how much of that there is
	from      int // where the block begins: before the window if negative
	length    int // of the match at start
	matchAt   int
	before    int // length of the match one byte earlier
	available bool
}

// NewWriter returns a Writer of that level to w.
func NewWriter(w io.Writer, level int) (*Writer, error) {
	d := new(Writer)
	return d, d.Reset(w, level)
}

// Reset begins a new stream.
func (d *Writer) Reset(w io.Writer, level int) error {
	if level < MinLevel || level > MaxLevel {
		return fmt.Errorf("deflate: level %d, want %d to %d: %w", level, MinLevel, MaxLevel, mios.ErrInvalid)
	}
	d.effort = efforts[level]
	d.out.reset(w)
	clear(d.head[:])
	d.block.reset()
	d.start, d.ahead, d.from = 0, 0, 0
	d.length, d.matchAt, d.before, d.available = minMatch-1, 0, minMatch-1, false
	return nil
}

// Write compresses b, or keeps it until there is more.
func (d *Writer) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		end := d.start + d.ahead
		m := copy(d.window[end:2*windowSize], b[n:])
		n += m
		d.ahead += m
		if end+m == 2*windowSize {
			d.run(minLookahead)
			d.slide()
		}
		if d.out.err != nil {
			return n, d.out.err
		}
	}
	return n, nil
}

// Close compresses what is left, and ends the stream. It does not close what is
// written to.
func (d *Writer) Close() error {
	d.run(1)
	if d.available {
		d.block.literal(d.window[d.start-1])
		d.available = false
	}
	d.flush(true)
	return d.out.close()
}

// run compresses until fewer than least bytes are ahead.
func (d *Writer) run(least int) {
	for d.ahead >= least && d.out.err == nil {
		if d.fast {
			d.stepFast()
		} else {
			d.stepLazy()
		}
	}
}

// slide drops the first half of the window.
func (d *Writer) slide() {
	copy(d.window[:windowSize], d.window[windowSize:2*windowSize])
	d.start -= windowSize
	d.matchAt -= windowSize
	d.from -= windowSize
	for _, t := range [][]uint16{d.head[:], d.prev[:]} {
		for i, v := range t {
			t[i] = max(v, windowSize) - windowSize
		}
	}
}

// insert notes the string at i, and returns the last place with its hash, or 0.
func (d *Writer) insert(i int) int {
	w := d.window[i : i+minMatch]
	h := (uint(w[0])<<(2*hashShift) ^ uint(w[1])<<hashShift ^ uint(w[2])) & hashMask
	last := d.head[h]
	d.prev[i&windowMask] = last
	d.head[h] = uint16(i)
	return int(last)
}

// stepFast takes the first match that there is.
func (d *Writer) stepFast() {
	at := 0
	if d.ahead >= minMatch {
		at = d.insert(d.start)
	}
	n := minMatch - 1
	if at != 0 && d.start-at <= maxDistance {
		n = d.longest(at)
	}
	full := false
	if n < minMatch {
		full = d.block.literal(d.window[d.start])
		d.start++
		d.ahead--
	} else {
		full = d.block.match(n, d.start-d.matchAt)
		d.ahead -= n
		if n <= d.lazy && d.ahead >= minMatch {
			for i := 1; i < n; i++ {
				d.insert(d.start + i)
			}
		}
		d.start += n
	}
	if full {
		d.flush(false)
	}
}

// stepLazy takes a match when there is no longer one a byte further on.
func (d *Writer) stepLazy() {
	at := 0
	if d.ahead >= minMatch {
		at = d.insert(d.start)
	}
	d.before = d.length
	from := d.matchAt
	d.length = minMatch - 1
	if at != 0 && d.before < d.lazy && d.start-at <= maxDistance {
		d.length = d.longest(at)
		if d.length == minMatch && d.start-d.matchAt > tooFar {
			d.length = minMatch - 1
		}
	}
	full := false
	switch {
	case d.before >= minMatch && d.length <= d.before:
		last := d.start + d.ahead - minMatch
		full = d.block.match(d.before, d.start-1-from)
		for i := d.start + 1; i <= min(d.start+d.before-2, last); i++ {
			d.insert(i)
		}
		d.ahead -= d.before - 1
		d.start += d.before - 1
		d.available, d.length = false, minMatch-1
	case d.available:
		full = d.block.literal(d.window[d.start-1])
		if full {
			d.flush(false)
			full = false
		}
		d.start++
		d.ahead--
	default:
		d.available = true
		d.start++
		d.ahead--
	}
	if full {
		d.flush(false)
	}
}

// longest returns the length of the longest match along the chain from at, and
// sets matchAt if it is longer than the one a byte earlier.
func (d *Writer) longest(at int) int {
	chain, best := d.chain, minMatch-1
	if !d.fast {
		best = d.before
	}
	if best >= d.good {
		chain >>= 2
	}
	nice := min(d.nice, d.ahead)
	limit := max(d.start-maxDistance, 0)
	scan := d.window[d.start : d.start+maxMatch]
	most := min(maxMatch, d.ahead)
	for {
		m := d.window[at : at+maxMatch]
		if m[best] == scan[best] && m[best-1] == scan[best-1] && m[0] == scan[0] && m[1] == scan[1] {
			n := 2
			for n < most && m[n] == scan[n] {
				n++
			}
			if n > best {
				d.matchAt, best = at, n
				if n >= nice {
					break
				}
			}
		}
		if at = int(d.prev[at&windowMask]); at <= limit {
			break
		}
		if chain--; chain == 0 {
			break
		}
	}
	return min(best, d.ahead)
}

// flush ends the block.
func (d *Writer) flush(last bool) {
	var raw []byte
	if d.from >= 0 {
		raw = d.window[d.from:d.start]
	}
	d.block.write(&d.out, raw, d.start-d.from, last)
	d.from = d.start
}
