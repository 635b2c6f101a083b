package delta

import (
	"cmp"
	"slices"
)

// A print is a fingerprint of some bytes of the old image, wherever in a block
// they begin, and where they are. They find what looks alike and was moved by a
// number of bytes that is no number of blocks.
type print struct {
	hash uint32
	at   uint32 // block
}

const (
	// printBits: of 1<<printBits places, one has a fingerprint.
	printBits = 10
	// maxSame is how many places with the same fingerprint are of use.
	maxSame = 8
)

// gear are random numbers that a byte adds to the rolling hash: those of
// splitmix64.
var gear = func() (t [256]uint64) {
	x := uint64(0)
	for i := range t {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t[i] = z ^ z>>31
	}
	return t
}()

// A printer takes fingerprints of what is written to it: of 64 bytes each, at
// places that those bytes themselves choose.
type printer struct {
	h    uint64
	list []print
}

// write takes the bytes of an image at off, which follow those of before.
func (p *printer) write(b []byte, off int64) {
	h := p.h
	for i, c := range b {
		h = h<<1 + gear[c]
		if h>>(64-printBits) == 0 {
			p.list = append(p.list, print{uint32(h >> (32 - printBits)), uint32((off + int64(i)) / block)})
		}
	}
	p.h = h
}

// sorted returns the fingerprints by hash and place, without those that are in
// so many places that they say nothing.
func (p *printer) sorted() []print {
	slices.SortFunc(p.list, func(a, b print) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.at, b.at))
	})
	list := slices.Compact(p.list)
	out := list[:0]
	for i := 0; i < len(list); {
		j := i + 1
		for j < len(list) && list[j].hash == list[i].hash {
			j++
		}
		if j-i <= maxSame {
			out = append(out, list[i:j]...)
		}
		i = j
	}
	return slices.Clip(out)
}

// votes returns how many fingerprints of b each region of the old image has;
// regions are regionBlocks long. Those that a region has which is in have count
// for none.
func votes(prints []print, b []byte, have map[uint32]bool) map[uint32]int {
	var p printer
	p.write(b, 0)
	out := map[uint32]int{}
	slices.SortFunc(p.list, func(a, b print) int { return cmp.Compare(a.hash, b.hash) })
	p.list = slices.CompactFunc(p.list, func(a, b print) bool { return a.hash == b.hash })
	for _, x := range p.list {
		from, _ := slices.BinarySearchFunc(prints, x.hash, func(p print, h uint32) int { return cmp.Compare(p.hash, h) })
		to, known := from, false
		for ; to < len(prints) && prints[to].hash == x.hash; to++ {
			known = known || have[prints[to].at/regionBlocks]
		}
		if known {
			continue
		}
		for _, y := range prints[from:to] {
			out[y.at/regionBlocks]++
		}
	}
	return out
}

// regionBlocks is the grain in which look-alikes are used: 64 KiB.
const regionBlocks = 16
