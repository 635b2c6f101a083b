package deflate

import (
	"math/bits"
	"slices"
)

// A tree is a Huffman code over symbols 0 to len(lens)-1.
type tree struct {
	freq    []int
	lens    []int // in bits; 0: the symbol has no code
	codes   []uint32
	highest int // symbol that has a code
}

// write writes the code of a symbol.
func (t *tree) write(w *bitWriter, symbol int) {
	w.write(t.codes[symbol], uint(t.lens[symbol]))
}

// assign gives codes to the lengths (RFC 1951, 3.2.2), first bit lowest.
func (t *tree) assign() {
	var count, next [maxBits + 1]uint32
	for _, n := range t.lens {
		if n > 0 {
			count[n]++
		}
	}
	for n := 1; n <= maxBits; n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	t.codes = make([]uint32, len(t.lens))
	for i, n := range t.lens {
		if n > 0 {
			t.codes[i] = bits.Reverse32(next[n]) >> (32 - n)
			next[n]++
		}
	}
}

// A builder is a Huffman tree on its way: a heap of nodes by their frequency
// and, where that is the same, by their depth. Nodes from len(lens) on are inner
// ones.
type builder struct {
	freq, depth, parent []int
	heap                []int // from index 1 on
	sorted              []int // by frequency, as they were taken from the heap
}

func (b *builder) smaller(n, m int) bool {
	return b.freq[n] < b.freq[m] || b.freq[n] == b.freq[m] && b.depth[n] <= b.depth[m]
}

// sink moves the node at index i down to its place.
func (b *builder) sink(i int) {
	v := b.heap[i]
	for j := 2 * i; j < len(b.heap); j *= 2 {
		if j+1 < len(b.heap) && b.smaller(b.heap[j+1], b.heap[j]) {
			j++
		}
		if b.smaller(v, b.heap[j]) {
			break
		}
		b.heap[i] = b.heap[j]
		i = j
	}
	b.heap[i] = v
}

// build makes the code for t.freq with lengths of at most limit bits, as zlib's
// build_tree does. At least two symbols get a code.
func (t *tree) build(limit int) {
	n := len(t.freq)
	b := &builder{freq: append(slices.Clip(t.freq), make([]int, n)...), depth: make([]int, 2*n), parent: make([]int, 2*n), heap: make([]int, 1, n+1)}
	t.highest = -1
	for i, f := range t.freq {
		if f > 0 {
			b.heap = append(b.heap, i)
			t.highest = i
		}
	}
	for len(b.heap) < 3 {
		i := 0
		if t.highest < 2 {
			t.highest++
			i = t.highest
		}
		b.heap = append(b.heap, i)
		b.freq[i] = 1
	}
	for i := (len(b.heap) - 1) / 2; i >= 1; i-- {
		b.sink(i)
	}
	b.join(n)
	t.lens = b.lengths(n, limit)
	t.assign()
}

// join makes a parent of the two rarest nodes until one node is left.
func (b *builder) join(next int) {
	for len(b.heap) > 2 {
		n := b.heap[1]
		b.heap[1] = b.heap[len(b.heap)-1]
		b.heap = b.heap[:len(b.heap)-1]
		b.sink(1)
		m := b.heap[1]
		b.sorted = append(b.sorted, n, m)
		b.freq[next] = b.freq[n] + b.freq[m]
		b.depth[next] = max(b.depth[n], b.depth[m]) + 1
		b.parent[n], b.parent[m] = next, next
		b.heap[1] = next
		next++
		b.sink(1)
	}
	b.sorted = append(b.sorted, b.heap[1])
}

// lengths are the depths of the leaves, from the root on; those beyond the
// limit are brought back to it at the cost of others, as zlib's gen_bitlen does.
func (b *builder) lengths(leaves, limit int) []int {
	lens := make([]int, len(b.freq))
	var count [maxBits + 2]int
	overflow := 0
	for i := len(b.sorted) - 2; i >= 0; i-- { // the last is the root
		n := b.sorted[i]
		lens[n] = lens[b.parent[n]] + 1
		if lens[n] > limit {
			lens[n] = limit
			overflow++
		}
		if n < leaves {
			count[lens[n]]++
		}
	}
	if overflow == 0 {
		return lens[:leaves]
	}
	for ; overflow > 0; overflow -= 2 {
		n := limit - 1
		for count[n] == 0 {
			n--
		}
		count[n]--
		count[n+1] += 2
		count[limit]--
	}
	i := 0 // the rarest first
	for n := limit; n > 0; n-- {
		for k := count[n]; k > 0; i++ {
			if leaf := b.sorted[i]; leaf < leaves {
				lens[leaf] = n
				k--
			}
		}
	}
	return lens[:leaves]
}
