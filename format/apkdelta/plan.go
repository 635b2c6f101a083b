package apkdelta

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// maxEntries is how many entries of one file are expanded: so many as a ZIP
// archive has at most without ZIP64.
const maxEntries = 1<<16 - 1

// How an entry is expanded. In the new file, 1 to 9 is the level at which
// zlib's deflate makes it again.
const (
	unused   = 0  // of old: nothing of it is needed, and it is not expanded
	inflated = 1  // of old
	puffed   = 10 // as package puffin has it
)

// maxPuffed is how many bytes a puffed entry may have, on both sides: it is in
// memory as a whole.
const maxPuffed = 4 << 20

// An entry is a deflate stream in a file, which stands expanded in what is
// compared.
type entry struct {
	off    int64 // in the file
	packed int64 // bytes there
	size   int64 // bytes expanded
	how    uint64
	at     int64 // of what it expands to, in the expanded file
}

// A plan tells which entries of a file are expanded.
type plan []entry

// expanded returns how many bytes a file of that size has when it is expanded.
func (p plan) expanded(size int64) int64 {
	for i := range p {
		size += p[i].size - p[i].packed
	}
	return size
}

// place sets where the entries lie in the expanded file.
func (p plan) place() {
	shift := int64(0)
	for i := range p {
		p[i].at = p[i].off + shift
		shift += p[i].size - p[i].packed
	}
}

// scratch returns how many bytes are expanded.
func (p plan) scratch() int64 {
	n := int64(0)
	for i := range p {
		if p[i].how != unused {
			n += p[i].size
		}
	}
	return n
}

func (p plan) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	end := int64(0)
	for _, e := range p {
		b = binary.AppendUvarint(b, uint64(e.off-end))
		b = binary.AppendUvarint(b, uint64(e.packed))
		b = binary.AppendUvarint(b, uint64(e.size))
		b = binary.AppendUvarint(b, e.how)
		end = e.off + e.packed
	}
	return b
}

// numbers reads varints.
type numbers struct {
	b   []byte
	bad error
}

// next returns a number up to most.
func (n *numbers) next(most uint64) uint64 {
	v, size := binary.Uvarint(n.b)
	switch {
	case n.bad != nil:
	case size <= 0:
		n.bad = fmt.Errorf("a number is cut off or too large")
	case v > most:
		n.bad = fmt.Errorf("number %d, at most %d", v, most)
	default:
		n.b = n.b[size:]
		return v
	}
	return 0
}

// parsePlan reads the plan of a file of that size; how may be up to most.
func parsePlan(n *numbers, size int64, most uint64) (plan, error) {
	count := n.next(maxEntries)
	p, end, total := plan{}, int64(0), size
	for i := range count {
		var e entry
		e.off = end + int64(n.next(uint64(size-end)))
		e.packed = int64(n.next(uint64(size - e.off)))
		e.size = int64(n.next(MaxSize))
		e.how = n.next(most)
		if n.bad != nil {
			return nil, fmt.Errorf("entry %d: %w", i, n.bad)
		}
		if e.how == puffed && max(e.size, e.packed) > maxPuffed {
			return nil, fmt.Errorf("entry %d: %d bytes puffed, at most %d", i, e.size, maxPuffed)
		}
		if total += e.size - e.packed; total > MaxSize {
			return nil, fmt.Errorf("entry %d: the file expands to more than %d bytes", i, int64(MaxSize))
		}
		end = e.off + e.packed
		p = append(p, e)
	}
	if n.bad != nil {
		return nil, n.bad
	}
	p.place()
	return p, nil
}

// find returns the first entry that ends after a place of the expanded file.
func (p plan) find(at int64) int {
	return sort.Search(len(p), func(i int) bool { return p[i].at+p[i].size > at })
}

// signed returns a number of either sign, up to MaxSize.
func (n *numbers) signed() int64 {
	v, size := binary.Varint(n.b)
	switch {
	case n.bad != nil:
	case size <= 0:
		n.bad = fmt.Errorf("a number is cut off or too large")
	case v > MaxSize || v < -MaxSize:
		n.bad = fmt.Errorf("number %d, at most %d either way", v, int64(MaxSize))
	default:
		n.b = n.b[size:]
		return v
	}
	return 0
}
