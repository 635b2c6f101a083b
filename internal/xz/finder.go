package xz

import (
	"encoding/binary"
	"math/bits"
)

const (
	nice  = 64 // a match of this length is taken without looking further
	depth = 48 // how many nodes of a tree are looked at
)

// A match is of n bytes at a distance, less one.
type match struct{ n, dist uint32 }

// A finder finds what went before in binary trees of the positions with the same
// four bytes, and in tables for two and three.
type finder struct {
	src   []byte
	pos   int
	hash2 [1 << 10]uint32
	hash3 [1 << 16]uint32
	hash4 []uint32
	son   []uint32 // two a position; positions plus one
	mask  uint32
	found []match
}

func (f *finder) reset(src []byte) {
	f.src, f.pos = src, 0
	clear(f.hash2[:])
	clear(f.hash3[:])
	size := 1 << max(10, bits.Len(uint(len(src)))-2)
	if len(f.hash4) < size {
		f.hash4 = make([]uint32, size)
	} else {
		f.hash4 = f.hash4[:size]
		clear(f.hash4)
	}
	f.mask = uint32(size - 1)
	if cap(f.son) < 2*len(src) {
		f.son = make([]uint32, 2*len(src))
	}
	f.son = f.son[:2*len(src)]
}

// same returns how many bytes from n on a and b have in common, up to limit.
func same(a, b []byte, n, limit int) int {
	for n+8 <= limit {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < limit && a[n] == b[n] {
		n++
	}
	return n
}

// next returns the matches at the next position, longer ones later, each the
// nearest of its length; they stand until the next call.
func (f *finder) next() []match {
	src, pos := f.src, f.pos
	f.pos++
	limit := min(len(src)-pos, nice)
	if limit < 4 {
		return nil
	}
	cur := src[pos:]
	v := binary.LittleEndian.Uint32(cur)
	h2, h3, h4 := hashes(v)
	h4 &= f.mask
	now := uint32(pos) + 1
	d2, d3, node := f.hash2[h2], f.hash3[h3], f.hash4[h4]
	f.hash2[h2], f.hash3[h3], f.hash4[h4] = now, now, now
	found, best := f.found[:0], 1
	if d2 != 0 && binary.LittleEndian.Uint16(src[d2-1:]) == uint16(v) {
		best = same(cur, src[d2-1:], 2, limit)
		found = append(found, match{uint32(best), now - d2 - 1})
	}
	if d3 != 0 && d3 != d2 && src[d3-1] == cur[0] {
		if n := same(cur, src[d3-1:], 0, limit); n > best {
			best = n
			found = append(found, match{uint32(n), now - d3 - 1})
		}
	}
	if best >= limit {
		f.insert(cur, pos, node, limit)
		f.found = found
		return found
	}
	f.found = f.search(cur, pos, node, limit, best, found)
	return f.found
}

// search goes down the tree, makes the position its root, and notes what is
// longer than best.
func (f *finder) search(cur []byte, pos int, node uint32, limit, best int, found []match) []match {
	src, son := f.src, f.son
	less, more := 2*pos+1, 2*pos // where smaller and larger ones are to be hung
	lenLess, lenMore := 0, 0
	for n := depth; ; n-- {
		if node == 0 || n == 0 {
			son[less], son[more] = 0, 0
			return found
		}
		at := int(node - 1)
		pair := son[2*at : 2*at+2]
		old := src[at:]
		k := min(lenLess, lenMore)
		if old[k] == cur[k] {
			k = same(cur, old, k+1, limit)
			if k > best {
				best = k
				found = append(found, match{uint32(k), uint32(pos-at) - 1})
				if k == limit {
					son[more], son[less] = pair[0], pair[1]
					return found
				}
			}
		}
		if old[k] < cur[k] {
			son[more] = node
			more, lenMore = 2*at+1, k
			node = pair[1]
		} else {
			son[less] = node
			less, lenLess = 2*at, k
			node = pair[0]
		}
	}
}

// insert goes down the tree as search does, and notes nothing.
func (f *finder) insert(cur []byte, pos int, node uint32, limit int) {
	src, son := f.src, f.son
	less, more := 2*pos+1, 2*pos
	lenLess, lenMore := 0, 0
	for n := depth; ; n-- {
		if node == 0 || n == 0 {
			son[less], son[more] = 0, 0
			return
		}
		at := int(node - 1)
		pair := son[2*at : 2*at+2]
		old := src[at:]
		k := min(lenLess, lenMore)
		if old[k] == cur[k] {
			if k = same(cur, old, k+1, limit); k == limit {
				son[more], son[less] = pair[0], pair[1]
				return
			}
		}
		if old[k] < cur[k] {
			son[more] = node
			more, lenMore = 2*at+1, k
			node = pair[1]
		} else {
			son[less] = node
			less, lenLess = 2*at, k
			node = pair[0]
		}
	}
}

// skip goes on by n positions.
func (f *finder) skip(n int) {
	for range n {
		pos := f.pos
		f.pos++
		limit := min(len(f.src)-pos, nice)
		if limit < 4 {
			continue
		}
		cur := f.src[pos:]
		h2, h3, h4 := hashes(binary.LittleEndian.Uint32(cur))
		h4 &= f.mask
		node := f.hash4[h4]
		now := uint32(pos) + 1
		f.hash2[h2], f.hash3[h3], f.hash4[h4] = now, now, now
		f.insert(cur, pos, node, limit)
	}
}

func hashes(v uint32) (h2, h3, h4 uint32) {
	return (v & 0xffff * 0x9e3779b1) >> 22, (v & 0xffffff * 0x9e3779b1) >> 16, (v * 0x9e3779b1) >> 8
}
