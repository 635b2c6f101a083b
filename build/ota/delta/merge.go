package delta

import (
	"cmp"
	"slices"

	"mios/format/payload"
)

// cowCopy is CowMergeOperation's COW_COPY.
const cowCopy = 0

// A move is a run of blocks that a snapshot copies when it is merged: the old
// image's blocks from src on become dst of the same device.
type move struct{ src, dst, n uint64 }

// moves returns the runs of blocks that are copied from elsewhere in the old
// image. None overlaps itself.
func moves(class []uint32, taken []bool) (out []move) {
	for b, from := range class {
		if taken[b] || from >= lastMark || int(from) == b {
			continue
		}
		src, dst := uint64(from), uint64(b)
		if k := len(out) - 1; k >= 0 && out[k].src+out[k].n == src && out[k].dst+out[k].n == dst {
			if m := &out[k]; m.n < max(m.src, m.dst)-min(m.src, m.dst) {
				m.n++
				continue
			}
		}
		out = append(out, move{src, dst, 1})
	}
	return out
}

// mergeOrder puts moves, which are in the order of dst, in an order in which
// none overwrites what a later one reads. Where they wait for each other in a
// circle, the smallest of it is left out: the snapshot keeps its blocks. It is
// what merge_sequence_generator.cc is for.
func mergeOrder(list []move) []move {
	after := make([][]int32, len(list))  // those that overwrite what one reads
	before := make([][]int32, len(list)) // those that read what one overwrites
	wait := make([]int, len(list))
	for i, m := range list {
		k, _ := slices.BinarySearchFunc(list, m.src, func(o move, src uint64) int { return cmp.Compare(o.dst+o.n-1, src) })
		for ; k < len(list) && list[k].dst < m.src+m.n; k++ {
			if k != i {
				after[i] = append(after[i], int32(k))
				before[k] = append(before[k], int32(i))
				wait[k]++
			}
		}
	}
	s := sorter{list: list, after: after, before: before, wait: wait, done: make([]bool, len(list))}
	return s.sort()
}

// A sorter sorts moves so that each comes before those that wait for it.
type sorter struct {
	list          []move
	after, before [][]int32
	wait          []int
	done          []bool
	free          []int32
}

func (s *sorter) sort() (out []move) {
	left := len(s.list)
	for i := range s.list {
		if s.wait[i] == 0 {
			s.free = append(s.free, int32(i))
		}
	}
	for at := int32(0); left > 0; left-- {
		if len(s.free) > 0 {
			i := s.free[0]
			s.free = s.free[1:]
			out = append(out, s.list[i])
			s.finish(i)
			continue
		}
		for s.done[at] {
			at++
		}
		s.finish(s.smallest(at))
	}
	return out
}

// finish lets those go on that waited for move i.
func (s *sorter) finish(i int32) {
	s.done[i] = true
	for _, k := range s.after[i] {
		if s.wait[k]--; s.wait[k] == 0 && !s.done[k] {
			s.free = append(s.free, k)
		}
	}
}

// smallest returns the smallest move of a circle that move i waits for.
func (s *sorter) smallest(i int32) int32 {
	seen := map[int32]int{}
	var path []int32
	for {
		if at, ok := seen[i]; ok {
			path = path[at:]
			break
		}
		seen[i] = len(path)
		path = append(path, i)
		for _, k := range s.before[i] {
			if !s.done[k] {
				i = k
				break
			}
		}
	}
	return slices.MinFunc(path, func(a, b int32) int { return cmp.Or(cmp.Compare(s.list[a].n, s.list[b].n), cmp.Compare(a, b)) })
}

// mergeOperations is a sequence of moves as the manifest has it.
func mergeOperations(list []move) (out []payload.MergeOperation) {
	for _, m := range list {
		out = append(out, payload.MergeOperation{
			Type:      cowCopy,
			SrcExtent: &payload.Extent{StartBlock: m.src, NumBlocks: m.n},
			DstExtent: &payload.Extent{StartBlock: m.dst, NumBlocks: m.n},
		})
	}
	return out
}
