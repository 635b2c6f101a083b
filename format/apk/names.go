package apk

import "hash/maphash"

// A nameIndex finds entries by their names: a hash table of their numbers, which
// takes a fifth of what a map from strings does.
type nameIndex struct {
	seed  maphash.Seed
	slots []int32 // number of an entry plus one; 0: free
}

// newNameIndex returns one for up to n entries.
func newNameIndex(n int) nameIndex {
	size := 1
	for size < 2*n {
		size *= 2
	}
	return nameIndex{maphash.MakeSeed(), make([]int32, size)}
}

// find returns the slot of the entry of that name, or the free one where it
// belongs. The slot holds 0 then.
func (x *nameIndex) find(entries []Entry, name string) *int32 {
	mask := uint64(len(x.slots) - 1)
	for h := maphash.String(x.seed, name); ; h++ {
		slot := &x.slots[h&mask]
		if *slot == 0 || entries[*slot-1].Name == name {
			return slot
		}
	}
}
