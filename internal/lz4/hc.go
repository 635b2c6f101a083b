package lz4

import "math/bits"

// levels say how hard to search: how many places of a chain are looked at, and
// for the levels that search for the best of all ways, a match of which length
// is taken without asking.
var levels = [13]struct{ tries, enough int }{{}, {2, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}, {32, 0}, {64, 0}, {128, 0}, {256, 0},
	{96, 64}, {512, 128}, {16384, maxWays - 1}}

const (
	hcLog       = 15
	firstPlace  = 64 << 10 // places are counted from here: those before are none
	longMatch   = maxNibble - 1 + minMatch
	manyTries   = 128 // with more, runs of one byte are seen as such
	chainLength = 64 << 10
)

// hc finds the longest of the matches that are on a chain: all places with one
// hash, the last first.
type hc struct {
	table [1 << hcLog]uint32
	chain [chainLength]uint16 // how far back the place before is
	src   []byte
	next  int // the first place that is on no chain
	tries int
	runs  bool // runs of one byte are seen as such
	swap  bool // for a longer match, the chain of its rarest four bytes is taken
	ways  []way
	sink  sink
	limit int // of what sequences may take: last literals are kept free
	from  int // where literals begin that are not written
}

// A found match: src[at:at+n] is like what is at ref.
type found struct{ at, ref, n int }

func (f *found) end() int { return f.at + f.n }

// cut takes n bytes off the beginning.
func (f *found) cut(n int) {
	if n > 0 {
		f.at, f.ref, f.n = f.at+n, f.ref+n, f.n-n
	}
}

func (h *hc) compress(dst, src []byte, level int) (written, read int) {
	clear(h.table[:])
	clear(h.chain[:])
	p := levels[level]
	h.src, h.next, h.tries, h.from = src, 0, p.tries, 0
	h.sink, h.limit = sink{dst: dst}, len(dst)-lastLiterals
	h.swap = p.enough > 0
	h.runs = h.swap || p.tries > manyTries
	switch {
	case len(src) <= matchLimit:
	case h.swap:
		h.best(p.enough, level == len(levels)-1)
	default:
		h.sequences()
	}
	h.from += h.sink.last(src[h.from:])
	return h.sink.n, h.from
}

func hcHash(v uint32) uint32 { return v * prime >> (32 - hcLog) }

// insert puts the places before end on their chains.
func (h *hc) insert(end int) {
	for ; h.next < end; h.next++ {
		p, at := hcHash(read32(h.src, h.next)), h.next+firstPlace
		h.chain[at%chainLength] = uint16(min(at-int(h.table[p]), maxDistance))
		h.table[p] = uint32(at)
	}
}

// longer looks for a match that has src[at] in it, begins at low or after, and
// has more than n bytes.
func (h *hc) longer(at, low, n int) (best found, ok bool) {
	h.insert(at)
	src, high, place := h.src, len(h.src)-lastLiterals, at+firstPlace
	lowest := max(firstPlace, place-maxDistance)
	pattern, behind := read32(src, at), at-low
	run := 0 // of the byte at at, if it is known; -1 if there is none
	best.n = n
	m := int(h.table[hcHash(pattern)])
	chain := 0 // which of the match's bytes begin what the chain is of
	for left := h.tries; m >= lowest && left > 0; left-- {
		p := m - firstPlace
		if src[low+best.n-1] == src[p-behind+best.n-1] && src[low+best.n] == src[p-behind+best.n] && read32(src, p) == pattern {
			back := 0
			for back < min(behind, p) && src[at-back-1] == src[p-back-1] {
				back++
			}
			if k := minMatch + count(src, at+minMatch, p+minMatch, high) + back; k > best.n {
				best, ok = found{at - back, p - back, k}, true
				if h.swap && m+k <= place {
					if c, step := h.rarest(m, k, chain); step > 1 {
						chain = c
						m -= step
						continue
					}
				}
			}
		}
		step := int(h.chain[m%chainLength])
		if h.runs && step == 1 && chain == 0 && run >= 0 {
			if run == 0 {
				run = -1
				if pattern == bits.RotateLeft32(pattern, 8) {
					run = minMatch + sameBytes(src, at+minMatch, high)
				}
			}
			if run > 0 && m-1 >= lowest && read32(src, p-1) == pattern {
				next, end := h.inRun(&best, &ok, at, m-1, lowest, run, behind)
				if end {
					return best, ok
				}
				m = next
				continue
			}
		}
		m -= int(h.chain[(m+chain)%chainLength])
	}
	return best, ok
}

// rarest returns which four of the n bytes at place m are the farthest from
// where they were before, and how far; chain if none are farther than 1.
func (h *hc) rarest(m, n, chain int) (int, int) {
	const slow = 1 << 4
	far, step := 1, 1
	for i, tries := 0, slow; i <= n-minMatch; i += step {
		d := int(h.chain[(m+i)%chainLength])
		step = tries >> 4
		tries++
		if d > far {
			far, chain, tries = d, i, slow
		}
	}
	return chain, far
}

// inRun goes on with a chain at place m, which is in a run of the byte that at
// begins a run of that many bytes of, to where in that run a match is longest.
func (h *hc) inRun(best *found, ok *bool, at, m, lowest, run, behind int) (next int, end bool) {
	src, high, p := h.src, len(h.src)-lastLiterals, m-firstPlace
	ahead := minMatch + sameBytes(src, p+minMatch, high)
	back := 0
	for back < p && src[p-back-1] == src[p] {
		back++
	}
	back = min(back, m-lowest)
	if back+ahead >= run && ahead <= run {
		return m + ahead - run, false
	}
	m -= back
	if behind > 0 {
		return m, false
	}
	if k := min(back+ahead, run); best.n < k {
		if at+firstPlace-m > maxDistance {
			return 0, true
		}
		*best, *ok = found{at, m - firstPlace, k}, true
	}
	step := int(h.chain[m%chainLength])
	return m - step, step > m
}

// sameBytes returns how many bytes from i on are like the one before.
func sameBytes(b []byte, i, end int) int {
	if i >= end {
		return 0
	}
	return count(b, i, i-1, end)
}

// put writes literals and a match, or what there is room for of it and false.
func (h *hc) put(f found) bool {
	s, lits, n := &h.sink, f.at-h.from, f.n-minMatch
	ok := s.n+1+lits/255+lits+2+1+lastLiterals <= h.limit
	if ok {
		at := s.n + 1 + lits + 2
		if lits >= maxNibble {
			at += 1 + (lits-maxNibble)/255
		}
		ok = at+n/255+1+lastLiterals <= h.limit
	}
	if !ok {
		cost := 1 + (lits+240)/255 + lits
		room := h.limit - 3 - s.n - cost
		if room < 0 {
			return false
		}
		f.n = min(f.n, minMatch+maxNibble-1+room*255)
		if h.limit+lastLiterals-(s.n+cost+2)-1+f.n < matchLimit {
			return false
		}
		n = f.n - minMatch
	}
	token := s.literals(h.src[h.from:f.at])
	s.distance(f.at - f.ref)
	s.matchLength(token, n)
	h.from = f.end()
	return ok
}

// sequences writes literals and matches until there is no room. From one match
// it looks for a longer one that begins before its end, and from that for a
// third: then it knows how much of the first to take.
func (h *hc) sequences() {
	last := len(h.src) - matchLimit // where a match may begin
	for i := 0; i <= last; {
		one, ok := h.longer(i, i, minMatch-1)
		if !ok {
			i++
			continue
		}
		if !h.overlapping(one, last) {
			return
		}
		i = h.from
	}
}

// overlapping writes the match, and those that overlap with it and then with
// each other. It reports whether there is room for more.
func (h *hc) overlapping(one found, last int) bool {
	first := one // as it was before others took its place
	for {
		two, ok := found{}, false
		if one.end() <= last {
			two, ok = h.longer(one.end()-2, one.at, one.n)
		}
		if !ok {
			return h.put(one)
		}
		if first.at < one.at && two.at < one.at+first.n {
			one = first
		}
		if two.at-one.at < 3 {
			one = two
			continue
		}
		again, room := h.three(&one, &first, two, last)
		if !again {
			return room
		}
	}
}

// three writes matches while there is a third after two. Either all are
// written then, or a second is to be looked for after one.
func (h *hc) three(one, first *found, two found, last int) (again, room bool) {
	for {
		if two.at-one.at < longMatch {
			n := min(one.n, longMatch, two.end()-minMatch-one.at)
			two.cut(n - (two.at - one.at))
		}
		three, ok := found{}, false
		if two.end() <= last {
			three, ok = h.longer(two.end()-3, two.at, two.n)
		}
		if !ok {
			one.n = min(one.n, two.at-one.at)
			return false, h.put(*one) && h.put(two)
		}
		if three.at < one.end()+3 { // no room for the second
			if three.at < one.end() {
				two = three
				continue
			}
			if two.at < one.end() {
				if two.cut(one.end() - two.at); two.n < minMatch {
					two = three
				}
			}
			if !h.put(*one) {
				return false, false
			}
			*one, *first = three, two
			return true, true
		}
		if two.at < one.end() {
			if two.at-one.at < longMatch {
				one.n = min(one.n, longMatch, two.end()-minMatch-one.at)
				two.cut(one.n - (two.at - one.at))
			} else {
				one.n = two.at - one.at
			}
		}
		if !h.put(*one) {
			return false, false
		}
		*one, two = two, three
	}
}
