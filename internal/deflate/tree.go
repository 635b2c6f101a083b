package deflate

import (
	"io"
	"math/bits"
)

// heapSize is how many nodes the largest tree has, one more for the heap's
// place 0.
const heapSize = 2*numLiterals + 1

// A tree is a Huffman code. Where frequencies are equal, the order in which
// nodes are joined decides the lengths, and so it is zlib's.
type tree struct {
	extra  []uint8 // bits that follow a code from base on
	base   int
	elems  int
	maxLen int

	freq    [heapSize]int
	len     [heapSize]uint8
	code    [numLiterals + 2]uint16
	dad     [heapSize]int16
	depth   [heapSize]uint8
	heap    [heapSize]int16
	inHeap  int
	sorted  int // the heap from here on: nodes by rising frequency, from the end
	maxCode int // the largest with a frequency
	forced  [2]int16
	nForced int
}

// build makes the code of the frequencies.
func (t *tree) build() {
	t.inHeap, t.sorted, t.maxCode, t.nForced = 0, heapSize, -1, 0
	for n := range t.elems {
		t.len[n] = 0
		if t.freq[n] != 0 {
			t.inHeap++
			t.heap[t.inHeap] = int16(n)
			t.maxCode = n
			t.depth[n] = 0
		}
	}
	// At least two codes, as PKZIP wants; those that were not used cost nothing.
	for t.inHeap < 2 {
		n := 0
		if t.maxCode < 2 {
			t.maxCode++
			n = t.maxCode
		}
		t.inHeap++
		t.heap[t.inHeap] = int16(n)
		t.freq[n], t.depth[n] = 1, 0
		t.forced[t.nForced] = int16(n)
		t.nForced++
	}
	for n := t.inHeap / 2; n >= 1; n-- {
		t.down(n)
	}
	for node := t.elems; ; node++ {
		n := t.heap[1]
		t.heap[1] = t.heap[t.inHeap]
		t.inHeap--
		t.down(1)
		m := t.heap[1]
		t.heap[t.sorted-1], t.heap[t.sorted-2] = n, m
		t.sorted -= 2
		t.freq[node] = t.freq[n] + t.freq[m]
		t.depth[node] = max(t.depth[n], t.depth[m]) + 1
		t.dad[n], t.dad[m] = int16(node), int16(node)
		t.heap[1] = int16(node)
		t.down(1)
		if t.inHeap < 2 {
			break
		}
	}
	t.sorted--
	t.heap[t.sorted] = t.heap[1]
	t.lengths()
	t.codes(t.maxCode + 1)
	for n := t.elems; n < heapSize; n++ {
		t.freq[n] = 0
	}
	for _, n := range t.forced[:t.nForced] {
		t.freq[n] = 0
	}
}

// less says whether node n comes before m.
func (t *tree) less(n, m int16) bool {
	return t.freq[n] < t.freq[m] || t.freq[n] == t.freq[m] && t.depth[n] <= t.depth[m]
}

// down moves the node at k to its place in the heap.
func (t *tree) down(k int) {
	v := t.heap[k]
	for j := 2 * k; j <= t.inHeap; j *= 2 {
		if j < t.inHeap && t.less(t.heap[j+1], t.heap[j]) {
			j++
		}
		if t.less(v, t.heap[j]) {
			break
		}
		t.heap[k] = t.heap[j]
		k = j
	}
	t.heap[k] = v
}

// lengths sets the code lengths, none above maxLen.
func (t *tree) lengths() {
	var count [maxBits + 1]int
	over := 0
	t.len[t.heap[t.sorted]] = 0
	for _, n := range t.heap[t.sorted+1:] {
		v := int(t.len[t.dad[n]]) + 1
		if v > t.maxLen {
			v = t.maxLen
			over++
		}
		t.len[n] = uint8(v)
		if int(n) < t.elems {
			count[v]++
		}
	}
	if over == 0 {
		return
	}
	for ; over > 0; over -= 2 {
		v := t.maxLen - 1
		for count[v] == 0 {
			v--
		}
		count[v]--
		count[v+1] += 2
		count[t.maxLen]--
	}
	h := heapSize
	for v := t.maxLen; v > 0; v-- {
		for n := count[v]; n > 0; {
			h--
			if m := t.heap[h]; int(m) < t.elems {
				t.len[m] = uint8(v)
				n--
			}
		}
	}
}

// codes sets the first n codes from their lengths.
func (t *tree) codes(n int) {
	var count, next [maxBits + 1]int
	for _, v := range t.len[:n] {
		count[v]++
	}
	count[0] = 0
	for v := 1; v <= maxBits; v++ {
		next[v] = (next[v-1] + count[v-1]) << 1
	}
	for i, v := range t.len[:n] {
		if v != 0 {
			t.code[i] = bits.Reverse16(uint16(next[v])) >> (16 - v)
			next[v]++
		}
	}
}

// cost returns how many bits what was counted takes.
func (t *tree) cost() int {
	return t.fixedCost(func(i int) int { return int(t.len[i]) })
}

// fixedCost is the cost if codes were that long.
func (t *tree) fixedCost(length func(i int) int) int {
	sum := 0
	for i := range t.elems {
		if f := t.freq[i]; f != 0 {
			n := length(i)
			if i >= t.base {
				n += int(t.extra[i-t.base])
			}
			sum += f * n
		}
	}
	return sum
}

func (t *tree) write(w *bitWriter, i int) { w.write(uint64(t.code[i]), uint(t.len[i])) }

// bufferSize is how many bytes are written at once.
const bufferSize = 16 << 10

// A bitWriter writes bits, the lowest first.
type bitWriter struct {
	w   io.Writer
	buf []byte
	acc uint64
	n   uint
	err error
}

func (w *bitWriter) reset(to io.Writer) { *w = bitWriter{w: to, buf: w.buf[:0]} }

// write writes the lowest n bits of v, at most 32; the others are zero.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc |= v << w.n
	w.n += n
	for w.n >= 8 {
		w.buf = append(w.buf, byte(w.acc))
		w.acc >>= 8
		w.n -= 8
	}
	if len(w.buf) >= bufferSize {
		w.flush()
	}
}

func (w *bitWriter) align() { w.write(0, -w.n&7) }

// bytes writes b, after whole bytes.
func (w *bitWriter) bytes(b []byte) {
	w.flush()
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

func (w *bitWriter) flush() {
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

func (w *bitWriter) close() error {
	w.flush()
	return w.err
}
