package puffin

import "math/bits"

// RFC 1951, 3.2.5: what codes of lengths and distances stand for, and how many
// bits come after them.
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27,
		31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits   = [29]uint8{8: 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
		1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceBits = [30]uint8{4: 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	// codeOrder is the order of code lengths' code lengths (3.2.7).
	codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

const (
	maxBits      = 15 // of a code
	maxLiterals  = 286
	maxDistances = 30
	endOfBlock   = 256
	firstBits    = 10 // of what is looked up at once
)

// A code is a Huffman code both ways: codes of symbols, and symbols of bits.
type code struct {
	lengths [288]uint8
	codes   [288]uint16 // their first bit lowest
	n       int
	most    uint8 // the longest length

	quick  [1 << firstBits]uint16 // by what comes next: symbol<<4 | length, 0 if longer
	first  [maxBits + 2]int32     // of each length, the least code
	index  [maxBits + 2]int32     // and where in sorted its symbols begin
	count  [maxBits + 2]int32
	sorted [288]uint16
}

// set makes the code of these lengths, and reports whether there is one: too
// many short ones cannot be, too few may. Unused bits then stand for nothing.
func (c *code) set(lengths []uint8, decode bool) bool {
	c.n = copy(c.lengths[:], lengths)
	c.count = [maxBits + 2]int32{}
	for _, l := range lengths {
		c.count[l]++
	}
	c.count[0] = 0
	next, sum, left := int32(0), int32(0), 1
	c.most = 0
	for l := 1; l <= maxBits; l++ {
		next = (next + c.count[l-1]) << 1
		c.first[l], c.index[l] = next, sum
		sum += c.count[l]
		if left = left<<1 - int(c.count[l]); left < 0 {
			return false
		}
		if c.count[l] > 0 {
			c.most = uint8(l)
		}
	}
	if decode {
		clear(c.quick[:])
	}
	at := c.first
	for s, l := range lengths {
		if l == 0 {
			continue
		}
		v := at[l]
		at[l]++
		c.codes[s] = bits.Reverse16(uint16(v)) >> (16 - l)
		if !decode {
			continue
		}
		c.sorted[c.index[l]+v-c.first[l]] = uint16(s)
		if l <= firstBits {
			for k := int(c.codes[s]); k < len(c.quick); k += 1 << l {
				c.quick[k] = uint16(s)<<4 | uint16(l)
			}
		}
	}
	return true
}

// find returns the symbol that the bits of v begin with, the lowest first, and
// how many it takes: 0 if there is none.
func (c *code) find(v uint64) (symbol uint16, n uint) {
	if q := c.quick[v&(1<<firstBits-1)]; q != 0 {
		return q >> 4, uint(q & 15)
	}
	w := int32(0)
	for l := 1; l <= int(c.most); l++ {
		w = w<<1 | int32(v&1)
		v >>= 1
		if k := w - c.first[l]; k >= 0 && k < c.count[l] {
			return c.sorted[c.index[l]+k], uint(l)
		}
	}
	return 0, 0
}

// fixedCodes are those of RFC 1951, 3.2.6.
func fixedCodes() (literals, distances *code) {
	var l [288]uint8
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	var d [maxDistances]uint8
	for i := range d {
		d[i] = 5
	}
	literals, distances = new(code), new(code)
	literals.set(l[:], true)
	distances.set(d[:], true)
	return literals, distances
}

// lengthCode and distanceCode say which code a length or distance has.
func lengthCode(length int) int {
	switch {
	case length < 11:
		return length - 3
	case length == 258:
		return 28
	}
	v := length - 3
	k := bits.Len(uint(v)) - 3
	return 4*k + v>>k
}

func distanceCode(distance int) int {
	v := distance - 1
	if v < 4 {
		return v
	}
	k := bits.Len(uint(v)) - 2
	return 2*k + v>>k
}
