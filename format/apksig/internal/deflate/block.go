package deflate

import "math/bits"

const (
	endOfBlock  = 256
	literals    = 286
	distances   = 30
	lengthCodes = 19
	maxBits     = 15
	maxLenBits  = 7
)

// lengthOrder is the order in which the lengths of the code lengths' code are
// written (RFC 1951, 3.2.7).
var lengthOrder = [lengthCodes]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// lengthCode returns the code of a match's length above three, how many bits
// follow it, and these.
func lengthCode(n int) (code int, extra uint, v uint32) {
	switch {
	case n == maxMatch-minMatch:
		return 285, 0, 0
	case n < 8:
		return 257 + n, 0, 0
	}
	extra = uint(bits.Len(uint(n)) - 3)
	return 257 + int(4*extra) + n>>extra, extra, uint32(n) & (1<<extra - 1)
}

// distanceCode is [lengthCode] for a distance.
func distanceCode(n int) (code int, extra uint, v uint32) {
	n--
	if n < 4 {
		return n, 0, 0
	}
	extra = uint(bits.Len(uint(n)) - 2)
	return int(2*extra) + n>>extra, extra, uint32(n) & (1<<extra - 1)
}

// A block is what is known of the symbols of one.
type block struct {
	literal, distance tree
}

func (b *block) reset() {
	b.literal = tree{freq: make([]int, literals)}
	b.distance = tree{freq: make([]int, distances)}
	b.literal.freq[endOfBlock] = 1
}

func (b *block) count(s symbol) {
	if s.distance == 0 {
		b.literal.freq[s.value]++
		return
	}
	code, _, _ := lengthCode(int(s.value))
	b.literal.freq[code]++
	code, _, _ = distanceCode(int(s.distance))
	b.distance.freq[code]++
}

// size adds up what the codes need, with the block's own lengths and with the
// fixed ones.
func (b *block) size() (own, fixed int) {
	for code, n := range b.literal.freq {
		extra := 0
		if code >= 265 && code < 285 {
			extra = (code - 261) / 4
		}
		own += n * (b.literal.lens[code] + extra)
		fixed += n * (fixedLength(code) + extra)
	}
	for code, n := range b.distance.freq {
		extra := max(code/2-1, 0)
		own += n * (b.distance.lens[code] + extra)
		fixed += n * (5 + extra)
	}
	return own, fixed
}

// write writes the symbols in the shortest of the three ways; where two are
// as short, in the simpler one. Stored is what they stand for, nil if that is
// no longer known.
func (b *block) write(w *bitWriter, symbols []symbol, stored []byte, size int, last bool) {
	final := uint32(0)
	if last {
		final = 1
	}
	b.literal.build(maxBits)
	b.distance.build(maxBits)
	var header lengthsHeader
	headerBits := header.build(&b.literal, &b.distance)
	own, fixed := b.size()
	ownBytes, fixedBytes := (own+headerBits+3+7)/8, (fixed+3+7)/8
	switch {
	case stored != nil && size+4 <= min(ownBytes, fixedBytes):
		w.write(final, 3)
		w.align()
		w.write(uint32(size), 16)
		w.write(^uint32(size)&0xffff, 16)
		w.b = append(w.b, stored...)
	case fixedBytes <= ownBytes:
		w.write(1<<1|final, 3)
		lit, dist := fixedTrees()
		writeSymbols(w, symbols, lit, dist)
	default:
		w.write(2<<1|final, 3)
		header.write(w)
		writeSymbols(w, symbols, &b.literal, &b.distance)
	}
	if last {
		w.align()
	}
}

func writeSymbols(w *bitWriter, symbols []symbol, lit, dist *tree) {
	for _, s := range symbols {
		if s.distance == 0 {
			lit.write(w, int(s.value))
			continue
		}
		code, extra, v := lengthCode(int(s.value))
		lit.write(w, code)
		w.write(v, extra)
		code, extra, v = distanceCode(int(s.distance))
		dist.write(w, code)
		w.write(v, extra)
	}
	lit.write(w, endOfBlock)
}

func fixedLength(code int) int {
	switch {
	case code < 144:
		return 8
	case code < 256:
		return 9
	case code < 280:
		return 7
	}
	return 8
}

// fixedTrees are the codes of RFC 1951, 3.2.6.
func fixedTrees() (lit, dist *tree) {
	lit, dist = &tree{lens: make([]int, 288)}, &tree{lens: make([]int, distances)}
	for i := range lit.lens {
		lit.lens[i] = fixedLength(i)
	}
	for i := range dist.lens {
		dist.lens[i] = 5
	}
	lit.assign()
	dist.assign()
	return lit, dist
}

// A lengthsHeader is how the lengths of a block's codes are written: in a code
// of their own, with runs shortened.
type lengthsHeader struct {
	runs      []run
	tree      tree
	lit, dist int // highest codes
	ordered   int // index in lengthOrder of the last that is used
}

// A run is a code of the lengths' code with what follows it.
type run struct {
	code  int
	extra uint
	v     uint32
}

// build returns how many bits the header needs.
func (h *lengthsHeader) build(lit, dist *tree) int {
	h.lit, h.dist = lit.highest, dist.highest
	h.tree.freq = make([]int, lengthCodes)
	h.scan(lit.lens[:h.lit+1])
	h.scan(dist.lens[:h.dist+1])
	for _, r := range h.runs {
		h.tree.freq[r.code]++
	}
	h.tree.build(maxLenBits)
	for h.ordered = lengthCodes - 1; h.ordered >= 3 && h.tree.lens[lengthOrder[h.ordered]] == 0; h.ordered-- {
	}
	n := 5 + 5 + 4 + 3*(h.ordered+1)
	for _, r := range h.runs {
		n += h.tree.lens[r.code] + int(r.extra)
	}
	return n
}

// scan shortens the runs of one tree's lengths, as zlib's scan_tree does.
func (h *lengthsHeader) scan(lens []int) {
	previous := -1
	for i := 0; i < len(lens); {
		n, count := lens[i], 0
		most, least := 7, 4
		switch n {
		case 0:
			most, least = 138, 3
		case previous:
			most, least = 6, 3
		}
		for i < len(lens) && lens[i] == n && count < most {
			i++
			count++
		}
		switch {
		case count < least:
			for range count {
				h.runs = append(h.runs, run{code: n})
			}
		case n != 0:
			if n != previous {
				h.runs = append(h.runs, run{code: n})
				count--
			}
			h.runs = append(h.runs, run{16, 2, uint32(count - 3)})
		case count <= 10:
			h.runs = append(h.runs, run{17, 3, uint32(count - 3)})
		default:
			h.runs = append(h.runs, run{18, 7, uint32(count - 11)})
		}
		previous = n
	}
}

func (h *lengthsHeader) write(w *bitWriter) {
	w.write(uint32(h.lit+1-257), 5)
	w.write(uint32(h.dist), 5)
	w.write(uint32(h.ordered+1-4), 4)
	for _, code := range lengthOrder[:h.ordered+1] {
		w.write(uint32(h.tree.lens[code]), 3)
	}
	for _, r := range h.runs {
		h.tree.write(w, r.code)
		w.write(r.v, r.extra)
	}
}

// A bitWriter gathers bits, the lowest first.
type bitWriter struct {
	b    []byte
	acc  uint64
	held uint
}

func (w *bitWriter) write(v uint32, n uint) {
	w.acc |= uint64(v) << w.held
	w.held += n
	for w.held >= 8 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
		w.held -= 8
	}
}

func (w *bitWriter) align() { w.write(0, (8-w.held)%8) }

func (w *bitWriter) bytes() []byte { return w.b }
