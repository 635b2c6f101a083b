package delta

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
)

// readSize is how much of an image is read at once, in bytes.
const readSize = 4 << 20

// A blockHash identifies a block: half of its SHA-256. That of a block of zeros
// is zero.
type blockHash [16]byte

// A scan is what is known of an image after it was read once.
type scan struct {
	sum    [sha256.Size]byte // of the whole image
	blocks []blockHash
	prints []print // of an old image, sorted
}

// scanImage reads an image once. Fingerprints of its content are taken if
// prints says so.
func scanImage(ctx context.Context, img Image, prints bool) (*scan, error) {
	s := &scan{blocks: make([]blockHash, img.Size/block)}
	whole := sha256.New()
	buf := make([]byte, readSize)
	var p printer
	for off := int64(0); off < img.Size; off += readSize {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := buf[:min(readSize, img.Size-off)]
		if err := readFull(img, b, off); err != nil {
			return nil, err
		}
		var wg sync.WaitGroup
		wg.Go(func() { whole.Write(b) })
		if prints {
			wg.Go(func() { p.write(b, off) })
		}
		for i := 0; i < len(b); i += block {
			if piece := b[i : i+block]; !isZero(piece) {
				sum := sha256.Sum256(piece)
				copy(s.blocks[(off+int64(i))/block][:], sum[:])
			}
		}
		wg.Wait()
	}
	s.prints = p.sorted()
	whole.Sum(s.sum[:0])
	return s, nil
}

// An index finds the blocks of an old image by their hashes. It takes 20 bytes a
// block, of which 16 are the hashes.
type index struct {
	hashes []blockHash
	order  []uint32 // blocks that are not zero, by hash and then by number
}

func newIndex(hashes []blockHash) *index {
	x := &index{hashes: hashes}
	for i, h := range hashes {
		if h != (blockHash{}) {
			x.order = append(x.order, uint32(i))
		}
	}
	slices.SortFunc(x.order, func(a, b uint32) int {
		if c := bytes.Compare(hashes[a][:], hashes[b][:]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	return x
}

// find returns the numbers of the blocks with that hash, in order.
func (x *index) find(h blockHash) []uint32 {
	from, ok := slices.BinarySearchFunc(x.order, h, func(i uint32, h blockHash) int {
		return bytes.Compare(x.hashes[i][:], h[:])
	})
	if !ok {
		return nil
	}
	to := from + 1
	for to < len(x.order) && x.hashes[x.order[to]] == h {
		to++
	}
	return x.order[from:to]
}

// What becomes of a block of the new image, if it is not copied.
const (
	isChanged  uint32 = 1<<32 - 1 - iota
	isZeros           // filled with zeros
	isComputed        // part of a hash tree or FEC, which the device computes
	lastMark   = isComputed
)

// maxTries and maxAhead bound the search for where a run of equal blocks is
// copied from.
const (
	maxTries = 32
	maxAhead = 256
)

// classify says of each block of the new image where in the old one it is, or
// one of the marks. skip says which blocks the device computes.
func classify(old *index, new []blockHash, skip func(uint32) bool) []uint32 {
	out := make([]uint32, len(new))
	last := uint32(isChanged)
	for i, h := range new {
		switch {
		case skip(uint32(i)):
			out[i] = isComputed
		case h == blockHash{}:
			out[i] = isZeros
		case last < lastMark && int(last)+1 < len(old.hashes) && old.hashes[last+1] == h:
			out[i] = last + 1
		default:
			out[i] = old.best(new, i)
		}
		last = out[i]
	}
	return out
}

// best is the old block that a run of equal blocks from new block i on begins
// with: that of the longest run, if it can be the one at the same place.
func (x *index) best(new []blockHash, i int) uint32 {
	list := x.find(new[i])
	best, length := uint32(isChanged), 0
	try := func(at uint32) {
		n := 1
		for n < maxAhead && i+n < len(new) && int(at)+n < len(x.hashes) && new[i+n] == x.hashes[int(at)+n] && new[i+n] != (blockHash{}) {
			n++
		}
		if n > length {
			best, length = at, n
		}
	}
	if _, ok := slices.BinarySearch(list, uint32(i)); ok {
		try(uint32(i))
	}
	for _, at := range list[:min(len(list), maxTries)] {
		try(at)
	}
	return best
}
