package deflate

import "math/bits"

const (
	endOfBlock  = 256
	numLiterals = 286 // literals, the end, and lengths
	numDist     = 30
	numHelper   = 19 // code lengths' codes
	maxBits     = 15
	maxHelper   = 7
	repeat      = 16 // the last code length, 3 to 6 times
	zeros       = 17 // 3 to 10 of them
	manyZeros   = 18 // 11 to 138 of them
)

// Kinds of a block.
const (
	stored = iota
	fixed
	dynamic
)

var (
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distExtra   = [numDist]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	helperExtra = [numHelper]uint8{repeat: 2, zeros: 3, manyZeros: 7}
	helperOrder = [numHelper]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// lengthCode returns which length code a length less 3 has, and what of it the
// extra bits say.
func lengthCode(n int) (code, rest int) {
	switch {
	case n == maxMatch-minMatch:
		return len(lengthExtra) - 1, 0
	case n < 8:
		return n, 0
	}
	e := bits.Len(uint(n)) - 3
	return 4*e + n>>e, n & (1<<e - 1)
}

// distCode returns which code a distance less 1 has, and the rest of it.
func distCode(n int) (code, rest int) {
	if n < 4 {
		return n, 0
	}
	e := bits.Len(uint(n)) - 2
	return 2*e + n>>e, n & (1<<e - 1)
}

// A symbol is a literal, or a match if its distance is not 0.
type symbol struct {
	dist uint16
	v    uint8 // the literal, or the length less 3
}

// A block gathers symbols.
type block struct {
	symbols         []symbol
	literals, dists tree
	helper          tree
}

// reset begins a block.
func (b *block) reset() {
	if b.symbols == nil {
		b.symbols = make([]symbol, 0, blockSymbols)
		b.literals = tree{extra: lengthExtra[:], base: endOfBlock + 1, elems: numLiterals, maxLen: maxBits}
		b.dists = tree{extra: distExtra[:], elems: numDist, maxLen: maxBits}
		b.helper = tree{extra: helperExtra[:], elems: numHelper, maxLen: maxHelper}
	}
	b.symbols = b.symbols[:0]
	clear(b.literals.freq[:])
	clear(b.dists.freq[:])
	clear(b.helper.freq[:])
	b.literals.freq[endOfBlock] = 1
}

// literal adds a literal, and says whether the block is full.
func (b *block) literal(v byte) bool {
	b.symbols = append(b.symbols, symbol{0, v})
	b.literals.freq[v]++
	return len(b.symbols) == blockSymbols
}

// match adds a match, and says whether the block is full.
func (b *block) match(length, dist int) bool {
	b.symbols = append(b.symbols, symbol{uint16(dist), uint8(length - minMatch)})
	l, _ := lengthCode(length - minMatch)
	d, _ := distCode(dist - 1)
	b.literals.freq[endOfBlock+1+l]++
	b.dists.freq[d]++
	return len(b.symbols) == blockSymbols
}

// write writes the block as the kind that takes least, and begins the next one.
// raw is what it stands for, of size bytes, or nil if that is not there any
// more.
func (b *block) write(w *bitWriter, raw []byte, size int, last bool) {
	b.literals.build()
	b.dists.build()
	b.runs(&b.literals, func(code, _ int) { b.helper.freq[code]++ })
	b.runs(&b.dists, func(code, _ int) { b.helper.freq[code]++ })
	b.helper.build()
	helpers := numHelper
	for helpers > 4 && b.helper.len[helperOrder[helpers-1]] == 0 {
		helpers--
	}
	const header = 3
	coded := b.literals.cost() + b.dists.cost() + b.helper.cost() + 3*helpers + 5 + 5 + 4
	plain := b.literals.fixedCost(fixedLength) + b.dists.fixedCost(func(int) int { return 5 })
	coded, plain = (coded+header+7)/8, (plain+header+7)/8
	final := uint64(0)
	if last {
		final = 1
	}
	switch {
	case size+4 <= min(coded, plain) && raw != nil:
		w.write(stored<<1|final, header)
		w.align()
		w.write(uint64(size), 16)
		w.write(uint64(^uint16(size)), 16)
		w.bytes(raw)
	case plain <= coded:
		w.write(fixed<<1|final, header)
		b.fixedCodes()
		b.data(w)
	default:
		w.write(dynamic<<1|final, header)
		b.trees(w, helpers)
		b.data(w)
	}
	if last {
		w.align()
	}
	b.reset()
}

// runs calls f with the codes that tell a tree's code lengths, and what their
// extra bits say.
func (b *block) runs(t *tree, f func(code, rest int)) {
	prev := -1
	for n := 0; n <= t.maxCode; {
		v := int(t.len[n])
		most, least := 7, 4
		switch {
		case v == 0:
			most, least = 138, 3
		case v == prev:
			most, least = 6, 3
		}
		count := 1
		for count < most && n+count <= t.maxCode && int(t.len[n+count]) == v {
			count++
		}
		n += count
		switch {
		case count < least:
			for range count {
				f(v, 0)
			}
		case v != 0:
			if v != prev {
				f(v, 0)
				count--
			}
			f(repeat, count-3)
		case count <= 10:
			f(zeros, count-3)
		default:
			f(manyZeros, count-11)
		}
		prev = v
	}
}

// trees writes the codes.
func (b *block) trees(w *bitWriter, helpers int) {
	w.write(uint64(b.literals.maxCode+1-257), 5)
	w.write(uint64(b.dists.maxCode+1-1), 5)
	w.write(uint64(helpers-4), 4)
	for _, i := range helperOrder[:helpers] {
		w.write(uint64(b.helper.len[i]), 3)
	}
	one := func(code, rest int) {
		b.helper.write(w, code)
		w.write(uint64(rest), uint(helperExtra[code]))
	}
	b.runs(&b.literals, one)
	b.runs(&b.dists, one)
}

// data writes the symbols and the end.
func (b *block) data(w *bitWriter) {
	for _, s := range b.symbols {
		if s.dist == 0 {
			b.literals.write(w, int(s.v))
			continue
		}
		code, rest := lengthCode(int(s.v))
		b.literals.write(w, endOfBlock+1+code)
		w.write(uint64(rest), uint(lengthExtra[code]))
		code, rest = distCode(int(s.dist) - 1)
		b.dists.write(w, code)
		w.write(uint64(rest), uint(distExtra[code]))
	}
	b.literals.write(w, endOfBlock)
}

// fixedLength returns how long the fixed code of a literal or length is.
func fixedLength(i int) int {
	switch {
	case i < 144:
		return 8
	case i < 256:
		return 9
	case i < 280:
		return 7
	}
	return 8
}

// fixedCodes sets the codes of a fixed block: as if there were 288 literals and
// lengths.
func (b *block) fixedCodes() {
	for i := range numLiterals + 2 {
		b.literals.len[i] = uint8(fixedLength(i))
	}
	b.literals.codes(numLiterals + 2)
	for i := range numDist {
		b.dists.len[i] = 5
	}
	b.dists.codes(numDist)
}
