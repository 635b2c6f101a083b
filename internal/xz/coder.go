package xz

import "math/bits"

const (
	states     = 12
	posBits    = 2 // pb
	literalCtx = 3 // lc
	posStates  = 1 << posBits
	properties = (posBits*5+0)*9 + literalCtx

	minLen = 2
	maxLen = 273
	reps   = 4

	lenStates     = 4 // contexts of a distance, by the length
	endModel      = 14
	fullDistances = 1 << (endModel / 2)
	alignBits     = 4
)

// A coder has LZMA's probabilities and where its decoder is.
type coder struct {
	state uint8
	rep   [reps]uint32 // distances of before, less one

	isMatch, isRep0Long                     [states][posStates]prob
	isRep, isRepG0, isRepG1, isRepG2        [states]prob
	literal                                 [1 << literalCtx][0x300]prob
	slot                                    [lenStates][64]prob
	special                                 [fullDistances]prob
	align                                   [1 << alignBits]prob
	matchLen, repLen                        lenCoder
	slotUses, alignUses, lenUses, repLenUse int // since the prices were computed
}

type lenCoder struct {
	choice, choice2 prob
	low, mid        [posStates][8]prob
	high            [256]prob
}

func fill(probs []prob) {
	for i := range probs {
		probs[i] = probStart
	}
}

func (l *lenCoder) reset() {
	l.choice, l.choice2 = probStart, probStart
	for i := range posStates {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

func (c *coder) reset() {
	c.state, c.rep = 0, [reps]uint32{}
	for i := range states {
		fill(c.isMatch[i][:])
		fill(c.isRep0Long[i][:])
	}
	for _, p := range []*[states]prob{&c.isRep, &c.isRepG0, &c.isRepG1, &c.isRepG2} {
		fill(p[:])
	}
	for i := range c.literal {
		fill(c.literal[i][:])
	}
	for i := range c.slot {
		fill(c.slot[i][:])
	}
	fill(c.special[:])
	fill(c.align[:])
	c.matchLen.reset()
	c.repLen.reset()
	c.slotUses, c.alignUses, c.lenUses, c.repLenUse = 1<<20, 1<<20, 1<<20, 1<<20 // compute them
}

// What becomes of the state after each kind of symbol.
var (
	afterLiteral  = [states]uint8{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}
	afterMatch    = [states]uint8{7, 7, 7, 7, 7, 7, 7, 10, 10, 10, 10, 10}
	afterRep      = [states]uint8{8, 8, 8, 8, 8, 8, 8, 11, 11, 11, 11, 11}
	afterShortRep = [states]uint8{9, 9, 9, 9, 9, 9, 9, 11, 11, 11, 11, 11}
)

// isLiteral reports whether the symbol before was a literal.
func isLiteral(state uint8) bool { return state < 7 }

func (l *lenCoder) encode(rc *rangeEncoder, n uint32, ps uint32) {
	switch {
	case n < 8:
		rc.bit(&l.choice, 0)
		rc.tree(l.low[ps][:], n, 3)
	case n < 16:
		rc.bit(&l.choice, 1)
		rc.bit(&l.choice2, 0)
		rc.tree(l.mid[ps][:], n-8, 3)
	default:
		rc.bit(&l.choice, 1)
		rc.bit(&l.choice2, 1)
		rc.tree(l.high[:], n-16, 8)
	}
}

// A symbol's back is one of these, the number of a rep (0 to 3), or a distance
// less one plus [reps].
const literalBack = 1<<32 - 1

// write writes one symbol.
func (e *Encoder) write(src []byte, pos int, back, n uint32) {
	rc, ps := &e.rc, uint32(pos)&(posStates-1)
	s := e.state
	switch {
	case back == literalBack:
		rc.bit(&e.isMatch[s][ps], 0)
		e.writeLiteral(src, pos)
		e.state = afterLiteral[s]
	case back < reps:
		rc.bit(&e.isMatch[s][ps], 1)
		rc.bit(&e.isRep[s], 1)
		e.writeRep(back, n, ps)
	default:
		rc.bit(&e.isMatch[s][ps], 1)
		rc.bit(&e.isRep[s], 0)
		e.matchLen.encode(rc, n-minLen, ps)
		e.lenUses++
		e.writeDistance(back-reps, n)
		e.rep = [reps]uint32{back - reps, e.rep[0], e.rep[1], e.rep[2]}
		e.state = afterMatch[s]
	}
}

func (e *Encoder) writeLiteral(src []byte, pos int) {
	prev := byte(0)
	if pos > 0 {
		prev = src[pos-1]
	}
	probs := &e.literal[prev>>(8-literalCtx)]
	sym := uint32(src[pos]) | 0x100
	if isLiteral(e.state) {
		for sym < 0x10000 {
			e.rc.bit(&probs[sym>>8], sym>>7&1)
			sym <<= 1
		}
		return
	}
	match, offs := uint32(src[pos-int(e.rep[0])-1]), uint32(0x100)
	for sym < 0x10000 {
		match <<= 1
		e.rc.bit(&probs[offs+match&offs+sym>>8], sym>>7&1)
		sym <<= 1
		offs &= ^(match ^ sym)
	}
}

func (e *Encoder) writeRep(i, n, ps uint32) {
	rc, s := &e.rc, e.state
	if i == 0 {
		rc.bit(&e.isRepG0[s], 0)
		if n == 1 {
			rc.bit(&e.isRep0Long[s][ps], 0)
			e.state = afterShortRep[s]
			return
		}
		rc.bit(&e.isRep0Long[s][ps], 1)
	} else {
		rc.bit(&e.isRepG0[s], 1)
		if i == 1 {
			rc.bit(&e.isRepG1[s], 0)
		} else {
			rc.bit(&e.isRepG1[s], 1)
			rc.bit(&e.isRepG2[s], i-2)
		}
		d := e.rep[i]
		copy(e.rep[1:i+1], e.rep[:i])
		e.rep[0] = d
	}
	e.repLen.encode(rc, n-minLen, ps)
	e.repLenUse++
	e.state = afterRep[s]
}

// slotOf returns the slot of a distance less one: where its highest bit is, and
// the one below.
func slotOf(d uint32) uint32 {
	if d < 4 {
		return d
	}
	n := uint32(bits.Len32(d)) - 1
	return n<<1 | d>>(n-1)&1
}

func lenState(n uint32) uint32 { return min(n-minLen, lenStates-1) }

func (e *Encoder) writeDistance(d, n uint32) {
	slot := slotOf(d)
	e.rc.tree(e.slot[lenState(n)][:], slot, 6)
	e.slotUses++
	if slot < 4 {
		return
	}
	foot := uint(slot>>1) - 1
	base := (2 | slot&1) << foot
	if slot < endModel {
		e.rc.reverse(e.special[base-slot:], d-base, foot)
		return
	}
	e.rc.direct((d-base)>>alignBits, foot-alignBits)
	e.rc.reverse(e.align[:], d&(1<<alignBits-1), alignBits)
	e.alignUses++
}
