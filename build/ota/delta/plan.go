package delta

import (
	"slices"

	"mios/format/lz4diff"
	"mios/format/payload"
)

// Limits on what is compared at once, in blocks.
const (
	maxDst = 16 << 20 / block // that one operation writes
	maxSrc = 24 << 20 / block // that it reads
	minSrc = 4 << 20 / block  // and of a file, if that has as much
	// gap: so many blocks between two changed ones are compared and not copied,
	// which costs less than to say where each piece is.
	gap = 16
	// Operations on small files are made one as long as they write and read no
	// more than this.
	joinDst = 2 << 20 / block
	joinSrc = 8 << 20 / block
	// around is how much of the old image is compared with blocks of no file.
	around = 1 << 20 / block
	// maxStream is the largest deflate stream that is compared whole if some of
	// it changed.
	maxStream = 8 << 20 / block
	maxRest   = 4 << 20 / block
)

// A piece says where bytes of a file are in a unit's data.
type piece struct {
	f            *file
	off, len, at int64 // bytes
}

// A side is what a unit reads or writes.
type side struct {
	extents []payload.Extent
	pieces  []piece
	n       uint64 // blocks

	clusters []lz4diff.Block // of a unit that is packed
	expanded uint64          // bytes that they hold
}

// add appends blocks from to to of a file, as it counts them.
func (s *side) add(f *file, from, to uint64) {
	p := piece{f, int64(from) * block, int64(to-from) * block, int64(s.n) * block}
	if k := len(s.pieces) - 1; k >= 0 && s.pieces[k].f == f && s.pieces[k].off+s.pieces[k].len == p.off {
		s.pieces[k].len += p.len
	} else {
		s.pieces = append(s.pieces, p)
	}
	for _, x := range sublist(f.extents, from, to) {
		s.extents = add(s.extents, x.StartBlock, x.NumBlocks)
	}
	s.n += to - from
}

// append adds another side behind this one.
func (s *side) append(o side) {
	for _, p := range o.pieces {
		p.at += int64(s.n) * block
		s.pieces = append(s.pieces, p)
	}
	for _, x := range o.extents {
		s.extents = add(s.extents, x.StartBlock, x.NumBlocks)
	}
	s.n += o.n
	for _, c := range o.clusters {
		c.Offset += s.expanded
		s.clusters = append(s.clusters, c)
	}
	s.expanded += o.expanded
}

// sublist is blocks from to to of extents.
func sublist(extents []payload.Extent, from, to uint64) (out []payload.Extent) {
	at := uint64(0)
	for _, x := range extents {
		a, b := max(from, at), min(to, at+x.NumBlocks)
		if a < b {
			out = append(out, payload.Extent{StartBlock: x.StartBlock + a - at, NumBlocks: b - a})
		}
		if at += x.NumBlocks; at >= to {
			break
		}
	}
	return out
}

// A unit is what becomes one operation, or more if it has to be cut.
type unit struct {
	name     string
	packed   bool // of clusters of LZ4, which are compared by what they hold
	dst, src side
}

// A planner says what is compared with what.
type planner struct {
	old, new *tree
	class    []uint32 // of the new image's blocks, by classify
	taken    []bool   // blocks that are in a unit
	match    *matcher
	streams  func(*file) ([]span, error) // deflate streams of a file
	units    []*unit
	// algorithm is how the new image is compressed; nil: not in a way that is
	// known, or that matters.
	algorithm *lz4diff.Algorithm
}

// A span is bytes of a file.
type span struct{ off, end int64 }

// plan makes units of all that changed, and marks what is in them.
func (p *planner) plan() error {
	for i, f := range p.new.files {
		if err := p.file(f, uint32(i)+1); err != nil {
			return err
		}
	}
	p.join()
	p.rest()
	return nil
}

// file makes units of a file.
func (p *planner) file(f *file, owner uint32) error {
	list := numbers(f.extents)
	want := make([]bool, len(list))
	mine := func(i int) bool { return p.new.owner[list[i]] == owner && p.free(list[i]) }
	some := false
	for i, b := range list {
		if p.changed(b, owner) {
			want[i], some = true, true
		}
	}
	if !some {
		return nil
	}
	old := p.match.match(f, func(b uint64) uint32 { return p.class[b] })
	if p.packedFile(f, old, owner) {
		for i := range want { // what is left is of clusters that other files have, too
			want[i] = p.changed(list[i], owner)
		}
	}
	if err := p.widen(f, want, mine); err != nil {
		return err
	}
	fill(want, gap, mine)
	for from := 0; from < len(list); {
		u := &unit{name: f.name}
		first := -1
		last := from
		for ; from < len(list) && u.dst.n < maxDst; from++ {
			if !want[from] || p.taken[list[from]] {
				continue
			}
			p.taken[list[from]] = true
			if first < 0 {
				first = from
			}
			last = from
			u.dst.add(f, uint64(from), uint64(from)+1)
		}
		if u.dst.n == 0 {
			break
		}
		if old != nil {
			p.source(u, old, list, first, last+1)
		}
		p.units = append(p.units, u)
	}
	return nil
}

// free reports whether a block may be put into a unit.
func (p *planner) free(b uint32) bool { return p.class[b] != isComputed && !p.taken[b] }

// changed reports whether a block is one that only this file's unit writes.
func (p *planner) changed(b uint32, owner uint32) bool {
	return p.class[b] == isChanged && !p.taken[b] && p.new.owner[b] == owner
}

// widen adds the rest of deflate streams of which a block changed: they can
// only be unpacked whole.
func (p *planner) widen(f *file, want []bool, mine func(int) bool) error {
	spans, err := p.streams(f)
	if err != nil {
		return err
	}
	for _, s := range spans {
		from, to := int(s.off/block), min(int((s.end+block-1)/block), len(want))
		if to-from > maxStream || from >= to || !slices.Contains(want[from:to], true) {
			continue
		}
		for i := from; i < to; i++ {
			want[i] = want[i] || mine(i)
		}
	}
	return nil
}

// fill closes gaps up to a size.
func fill(want []bool, gap int, mine func(int) bool) {
	last := -1
	for i, w := range want {
		if !w {
			continue
		}
		if last >= 0 && i-last-1 <= gap {
			for k := last + 1; k < i; k++ {
				want[k] = mine(k)
			}
		}
		last = i
	}
}

// source adds to a unit what blocks from to to of a new file, list, are
// compared with: the old file, or a window of it.
func (p *planner) source(u *unit, old *file, list []uint32, from, to int) {
	n, span := int(old.blocks()), to-from
	window := min(maxSrc, max(minSrc, 16*int(u.dst.n), span+span/2))
	if n <= window {
		u.src.add(old, 0, uint64(n))
		return
	}
	pad := (window - min(window, span)) / 2
	a := min(max(0, from+p.shift(old, list, from)-pad), n-window)
	u.src.add(old, uint64(a), uint64(a+window))
}

// shift says how far the block of the new file before from that is copied, or
// the first behind it, has moved in the file.
func (p *planner) shift(old *file, list []uint32, from int) int {
	at := map[uint32]int{}
	for i, b := range numbers(old.extents) {
		at[b] = i
	}
	for i := from; i >= 0; i-- {
		if k, ok := at[p.class[list[i]]]; ok {
			return k - i
		}
	}
	for i := from; i < len(list); i++ {
		if k, ok := at[p.class[list[i]]]; ok {
			return k - i
		}
	}
	return 0
}

// numbers lists the blocks of extents.
func numbers(extents []payload.Extent) []uint32 {
	out := make([]uint32, 0, blocks(extents))
	for _, x := range extents {
		for b := x.StartBlock; b < x.StartBlock+x.NumBlocks; b++ {
			out = append(out, uint32(b))
		}
	}
	return out
}

// join makes one of small units that follow each other.
func (p *planner) join() {
	var out []*unit
	for _, u := range p.units {
		if k := len(out) - 1; k >= 0 && out[k].packed == u.packed && out[k].dst.n+u.dst.n <= joinDst && out[k].src.n+u.src.n <= joinSrc &&
			max(out[k].dst.expanded+u.dst.expanded, out[k].src.expanded+u.src.expanded) <= maxExpanded {
			last := out[k]
			last.dst.append(u.dst)
			if !overlap(last.src.extents, u.src.extents) {
				last.src.append(u.src)
			}
			last.name += " " + u.name
			continue
		}
		out = append(out, u)
	}
	p.units = out
}

func overlap(a, b []payload.Extent) bool {
	for _, x := range a {
		for _, y := range b {
			if x.StartBlock < y.StartBlock+y.NumBlocks && y.StartBlock < x.StartBlock+x.NumBlocks {
				return true
			}
		}
	}
	return false
}

// rest makes units of what is in no file: metadata, or all of an image without
// a file system that is known. It is compared with the same place of the old one.
func (p *planner) rest() {
	var u *unit
	end := func() {
		if u == nil {
			return
		}
		first, last := u.dst.extents[0], u.dst.extents[len(u.dst.extents)-1]
		u.src.extents = p.near(first.StartBlock, last.StartBlock+last.NumBlocks)
		u.src.n = blocks(u.src.extents)
		p.units = append(p.units, u)
		u = nil
	}
	for b := 0; b < len(p.class); b++ {
		if p.class[b] != isChanged || p.taken[b] {
			continue
		}
		if u != nil {
			last := u.dst.extents[len(u.dst.extents)-1]
			next := int(last.StartBlock + last.NumBlocks)
			if u.dst.n >= maxRest || b-next > around {
				end()
			} else if b-next <= gap {
				for i := next; i < b && p.free(uint32(i)); i++ {
					p.take(u, i)
				}
			}
		}
		if u == nil {
			u = &unit{name: "blocks of no file"}
		}
		p.take(u, b)
	}
	end()
}

func (p *planner) take(u *unit, b int) {
	u.dst.extents = add(u.dst.extents, uint64(b), 1)
	u.dst.n++
	p.taken[b] = true
}

// near is the blocks of no file around a place of the old image.
func (p *planner) near(from, to uint64) (out []payload.Extent) {
	from, to = from-min(from, around), min(to+around, uint64(len(p.old.owner)))
	n := 0
	for b := from; b < to && n < maxSrc; b++ {
		if p.old.owner[b] == 0 {
			out = add(out, b, 1)
			n++
		}
	}
	return out
}
