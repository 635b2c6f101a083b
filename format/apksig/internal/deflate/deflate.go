// Package deflate compresses as zlib does at level 9, byte for byte: the bytes
// that java.util.zip.Deflater(9, true) gives, and so those that AOSP's apksigner
// writes for the entries that it adds to a package. Any other compressor is
// faster or smaller; this one is for comparing.
//
// The format is RFC 1951's. What to look for in the window, when to end a block
// and how to break ties in its codes are zlib's choices (deflate.c, trees.c of
// zlib 1.2 and 1.3, with the window of 32 KiB and memory level 8 that are its
// defaults).
package deflate

const (
	windowSize   = 1 << 15
	windowMask   = windowSize - 1
	hashSize     = 1 << 15
	minMatch     = 3
	maxMatch     = 258
	minLookahead = maxMatch + minMatch + 1
	maxDistance  = windowSize - minLookahead
	tooFar       = 4096 // a match of three bytes farther away costs more than the bytes
	maxChain     = 4096 // how many places are tried, at level 9
	goodMatch    = 32   // a quarter of them after a match of that length
	blockSymbols = 1<<14 - 1
)

// Bytes returns the compressed form of in.
func Bytes(in []byte) []byte {
	d := &deflater{in: in, window: make([]byte, 2*windowSize), head: make([]uint16, hashSize), prev: make([]uint16, windowSize)}
	d.symbols = make([]symbol, 0, blockSymbols)
	d.block.reset()
	d.run()
	return d.out.bytes()
}

// A symbol is a literal byte, or a match where distance is not 0.
type symbol struct {
	distance uint16
	value    uint8 // literal, or length - minMatch
}

// A deflater looks for matches in a window that slides by half of its size.
// The first place in the window stands for none, so nothing is found there.
type deflater struct {
	in         []byte // not yet in the window
	window     []byte
	head, prev []uint16 // by hash, the newest place; by place, the one before
	start      int      // of what is to be compressed
	ahead      int      // bytes from there on
	blockStart int      // may be before the window

	symbols []symbol
	block   block
	out     bitWriter
}

// fill slides the window if need be, and reads more into it. It returns by how
// much places have moved.
func (d *deflater) fill() (moved int) {
	if d.start >= windowSize+maxDistance {
		copy(d.window, d.window[windowSize:])
		d.start -= windowSize
		d.blockStart -= windowSize
		slide(d.head)
		slide(d.prev)
		moved = windowSize
	}
	n := copy(d.window[d.start+d.ahead:], d.in)
	d.in = d.in[n:]
	d.ahead += n
	return moved
}

func slide(places []uint16) {
	for i, p := range places {
		places[i] = uint16(max(int(p)-windowSize, 0))
	}
}

// insert notes the place, and returns the newest one before with its hash.
func (d *deflater) insert(place int) int {
	w := d.window[place:]
	h := (uint(w[0])<<10 ^ uint(w[1])<<5 ^ uint(w[2])) & (hashSize - 1)
	before := d.head[h]
	d.prev[place&windowMask] = before
	d.head[h] = uint16(place)
	return int(before)
}

// run puts off each match by a byte, to see whether the next one is longer.
func (d *deflater) run() {
	length, match := minMatch-1, 0
	pending := false // the byte before is not yet written
	for {
		if d.ahead < minLookahead {
			if match -= d.fill(); d.ahead == 0 {
				break
			}
		}
		before := 0
		if d.ahead >= minMatch {
			before = d.insert(d.start)
		}
		lastLength, lastMatch := length, match
		length = minMatch - 1
		if before != 0 && lastLength < maxMatch && d.start-before <= maxDistance {
			length, match = d.longest(before, lastLength, match)
			if length == minMatch && d.start-match > tooFar {
				length = minMatch - 1
			}
		}
		switch {
		case lastLength >= minMatch && length <= lastLength:
			d.match(lastLength, d.start-1-lastMatch)
			length, pending = minMatch-1, false
		case pending:
			if d.literal(d.window[d.start-1]) {
				d.flush(false)
			}
			d.start, d.ahead = d.start+1, d.ahead-1
		default:
			pending = true
			d.start, d.ahead = d.start+1, d.ahead-1
		}
	}
	if pending {
		d.literal(d.window[d.start-1])
	}
	d.flush(true)
}

// match writes a match that began at the byte before, and passes over it.
func (d *deflater) match(length, distance int) {
	full := d.add(symbol{uint16(distance), uint8(length - minMatch)})
	lastInsert := d.start + d.ahead - minMatch
	d.ahead -= length - 1
	for range length - 2 {
		d.start++
		if d.start <= lastInsert {
			d.insert(d.start)
		}
	}
	if d.start++; full {
		d.flush(false)
	}
}

func (d *deflater) literal(b byte) (full bool) { return d.add(symbol{value: b}) }

func (d *deflater) add(s symbol) (full bool) {
	d.symbols = append(d.symbols, s)
	d.block.count(s)
	return len(d.symbols) == blockSymbols
}

// longest looks for a match that is longer than best, from the place where on,
// and returns the longest with its place: match without one.
func (d *deflater) longest(where, best, match int) (length, place int) {
	chain := maxChain
	if best >= goodMatch {
		chain /= 4
	}
	limit := max(d.start-maxDistance, 0)
	most := min(maxMatch, d.ahead)
	at := d.window[d.start:]
	for ; where > limit && chain > 0; chain-- {
		w := d.window[where:]
		if w[best] == at[best] && w[best-1] == at[best-1] && w[0] == at[0] {
			n := 0
			for n < most && w[n] == at[n] {
				n++
			}
			if n > best {
				best, match = n, where
				if n >= most {
					break
				}
			}
		}
		where = int(d.prev[where&windowMask])
	}
	return min(best, d.ahead), match
}

// flush ends the block.
func (d *deflater) flush(last bool) {
	var stored []byte
	if d.blockStart >= 0 {
		stored = d.window[d.blockStart:d.start]
	}
	d.block.write(&d.out, d.symbols, stored, d.start-d.blockStart, last)
	d.blockStart = d.start
	d.symbols = d.symbols[:0]
	d.block.reset()
}
