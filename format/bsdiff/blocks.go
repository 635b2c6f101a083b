package bsdiff

import (
	"encoding/binary"
	"math/bits"
)

// blocks finds matches by what old has at every so many bytes, as hashes of
// keySize bytes: a match is found that has such a key in it, wherever it begins
// in new. Of keys that are alike, it knows the first.
type blocks struct {
	old   []byte
	size  int     // from key to key
	table []int32 // by hash: which key, from 1 on
	shift uint
}

const (
	keySize  = 16
	maxBlock = 4096 // from key to key, however little memory there is
)

// newBlocks makes the index with as many keys as memory, in bytes, has room
// for: at most 8 bytes for each.
func newBlocks(old []byte, memory int64) *blocks {
	size := keySize
	for size < maxBlock && int64(len(old)/size)*8 > memory {
		size *= 2
	}
	n := bits.Len(uint(len(old)/size)) + 1
	b := &blocks{old: old, size: size, table: make([]int32, 1<<n), shift: uint(64 - n)}
	for i := (len(old) - keySize) / size; i >= 0 && len(old) >= keySize; i-- { // the first stays
		b.table[b.hash(old[i*size:])] = int32(i + 1)
	}
	return b
}

// hash mixes the key that p begins with.
func (b *blocks) hash(p []byte) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := (binary.LittleEndian.Uint64(p)*odd ^ binary.LittleEndian.Uint64(p[8:])) * odd
	return (h ^ h>>32) * odd >> b.shift
}

func (b *blocks) longest(p []byte) (pos, n int) {
	if len(p) < keySize {
		return 0, 0
	}
	i := int(b.table[b.hash(p)])
	if i == 0 {
		return 0, 0
	}
	pos = (i - 1) * b.size
	n = common(b.old[pos:], p)
	if n < keySize {
		return 0, 0
	}
	return pos, n
}
