package bzip2

import "slices"

const (
	groupSize  = 50 // codes of one table
	maxLength  = 17 // of a code that is written; decoders take 20
	rounds     = 8
	fewSymbols = 50000 // with fewer, every number of tables is tried
)

// A coding is how a block's symbols are coded.
type coding struct {
	lengths   [][]uint8 // of each table's codes
	selectors []uint8   // which table a group has
	bits      int
}

// writeCodes writes the tables and the symbols, which are below n.
func writeCodes(w *bitWriter, symbols []uint16, n int) {
	least, most := tables(len(symbols))
	var best coding
	for k := least; k <= most; k++ {
		if c := plan(symbols, n, k); k == least || c.bits < best.bits {
			best = c
		}
	}
	w.write(3, uint64(len(best.lengths)))
	w.write(15, uint64(len(best.selectors)))
	list := []uint8{0, 1, 2, 3, 4, 5}
	for _, s := range best.selectors {
		i := slices.Index(list, s)
		copy(list[1:i+1], list[:i])
		list[0] = s
		w.write(uint(i+1), 1<<(i+1)-2)
	}
	codes := make([][]uint32, len(best.lengths))
	for t, lengths := range best.lengths {
		writeLengths(w, lengths)
		codes[t] = canonical(lengths)
	}
	for i, s := range symbols {
		t := best.selectors[i/groupSize]
		w.write(uint(best.lengths[t][s]), uint64(codes[t][s]))
	}
}

// tables returns how many tables to try for so many symbols.
func tables(symbols int) (least, most int) {
	if symbols < fewSymbols {
		return 2, 6
	}
	return 6, 6
}

// writeLengths writes lengths as steps from one to the next.
func writeLengths(w *bitWriter, lengths []uint8) {
	now := lengths[0]
	w.write(5, uint64(now))
	for _, n := range lengths {
		for ; now < n; now++ {
			w.write(2, 0b10)
		}
		for ; now > n; now-- {
			w.write(2, 0b11)
		}
		w.write(1, 0)
	}
}

// canonical returns the codes that have these lengths, shorter ones first.
func canonical(lengths []uint8) []uint32 {
	codes := make([]uint32, len(lengths))
	code := uint32(0)
	for n := uint8(1); n <= maxLength; n++ {
		for s, l := range lengths {
			if l == n {
				codes[s] = code
				code++
			}
		}
		code <<= 1
	}
	return codes
}

// plan finds k tables: from tables for ranges of symbols that are about equally
// frequent, each group takes the cheapest, and each table becomes the best for
// its groups, some times.
func plan(symbols []uint16, n, k int) coding {
	c := coding{lengths: split(symbols, n, k), selectors: make([]uint8, (len(symbols)+groupSize-1)/groupSize)}
	for range rounds {
		frequencies := make([][]int, k)
		for t := range frequencies {
			frequencies[t] = make([]int, n)
		}
		c.selectTables(symbols, frequencies)
		for t := range k {
			c.lengths[t] = codeLengths(frequencies[t])
		}
	}
	c.bits = 0
	for i, s := range symbols {
		c.bits += int(c.lengths[c.selectors[i/groupSize]][s])
	}
	for _, lengths := range c.lengths {
		now := lengths[0]
		for _, l := range lengths {
			c.bits += 1 + 2*max(int(l)-int(now), int(now)-int(l))
			now = l
		}
	}
	last := uint8(0)
	for _, s := range c.selectors { // about
		if c.bits++; s != last {
			c.bits++
		}
		last = s
	}
	return c
}

// selectTables gives each group the table with which it is shortest, and counts
// symbols by table.
func (c *coding) selectTables(symbols []uint16, frequencies [][]int) {
	// A symbol's lengths in all tables, 10 bits each, are summed at once.
	packed := make([]uint64, len(c.lengths[0]))
	for t, lengths := range c.lengths {
		for s, l := range lengths {
			packed[s] |= uint64(l) << (10 * t)
		}
	}
	for g := range c.selectors {
		group := symbols[g*groupSize : min((g+1)*groupSize, len(symbols))]
		var sum uint64
		for _, s := range group {
			sum += packed[s]
		}
		best := 0
		for t := range c.lengths {
			if sum>>(10*t)&1023 < sum>>(10*best)&1023 {
				best = t
			}
		}
		c.selectors[g] = uint8(best)
		for _, s := range group {
			frequencies[best][s]++
		}
	}
}

// split returns k tables, each of which favours a range of symbols.
func split(symbols []uint16, n, k int) [][]uint8 {
	frequency := make([]int, n)
	for _, s := range symbols {
		frequency[s]++
	}
	out := make([][]uint8, k)
	left, at := len(symbols), 0
	for t := range out {
		from, sum := at, 0
		for at < n && (sum < left/(k-t) || t == k-1) {
			sum += frequency[at]
			at++
		}
		if at-from > 1 && t > 0 && t < k-1 && t%2 == 1 {
			at--
			sum -= frequency[at]
		}
		left -= sum
		out[t] = make([]uint8, n)
		for s := range out[t] {
			if s < from || s >= at {
				out[t][s] = 15
			}
		}
	}
	return out
}
