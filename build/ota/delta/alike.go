package delta

import (
	"cmp"
	"slices"

	"mios/format/payload"
)

const (
	// minVotes is how many fingerprints a region must have that nothing else
	// in a unit's source has.
	minVotes = 2
	// maxAlike is how much of the old image is added for its looks, in blocks.
	maxAlike = 8 << 20 / block
)

// lookAlikes adds to what a unit reads the regions of the old image that have
// content of it which its source has not.
func (e *encoder) lookAlikes(u *unit, plain []byte) error {
	if u.packed {
		return nil
	}
	room := maxSrc - int64(u.src.n)
	room = min(room, maxAlike, 4*int64(u.dst.n)+2*regionBlocks)
	if room < regionBlocks {
		return nil
	}
	have := map[uint32]bool{}
	for _, x := range u.src.extents {
		for r := x.StartBlock / regionBlocks; r <= (x.StartBlock+x.NumBlocks-1)/regionBlocks; r++ {
			have[uint32(r)] = true
		}
	}
	count := votes(e.prints, plain, have)
	type region struct {
		at uint32
		n  int
	}
	var list []region
	for at, n := range count {
		if n >= minVotes {
			list = append(list, region{at, n})
		}
	}
	slices.SortFunc(list, func(a, b region) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.at, b.at)) })
	list = list[:min(len(list), int(room)/regionBlocks)]
	slices.SortFunc(list, func(a, b region) int { return cmp.Compare(a.at, b.at) })
	total := uint64(e.old.Size / block)
	var more []payload.Extent
	for _, r := range list {
		from := uint64(r.at) * regionBlocks
		more = add(more, from, min(regionBlocks, total-from))
	}
	u.src.append(side{extents: more, n: blocks(more)})
	return nil
}
