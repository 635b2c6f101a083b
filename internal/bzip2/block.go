package bzip2

import "mios/internal/sais"

// writeBlock writes a block from its origin on.
func writeBlock(w *bitWriter, block []byte) {
	column, origin := sortRotations(block)
	w.write(24, uint64(origin))
	var used [256]bool
	for _, c := range column {
		used[c] = true
	}
	writeUsed(w, &used)
	symbols, n := indexes(column, &used)
	writeCodes(w, symbols, n)
}

// sortRotations sorts all rotations of s, and returns their last bytes, and
// which of them is s itself. Rotations of the least one are in the order of its
// suffixes.
func sortRotations(s []byte) (column []byte, origin int) {
	n, least := len(s), leastRotation(s)
	turned := append(append(make([]byte, 0, n), s[least:]...), s[:least]...)
	sa := make([]int32, n)
	sais.Sort(turned, sa)
	column = make([]byte, n)
	for i, at := range sa {
		if at == 0 {
			at = int32(n)
		}
		column[i] = turned[at-1]
		if int(at)%n == (n-least)%n {
			origin = i
		}
	}
	return column, origin
}

// leastRotation returns where the least rotation of s begins: of two
// candidates, one that is greater at some byte takes all up to there with it.
func leastRotation(s []byte) int {
	n := len(s)
	i, j, k := 0, 1, 0
	for i < n && j < n && k < n {
		x, y := i+k, j+k
		if x >= n {
			x -= n
		}
		if y >= n {
			y -= n
		}
		switch a, b := s[x], s[y]; {
		case a == b:
			k++
			continue
		case a > b:
			i += k + 1
		default:
			j += k + 1
		}
		if i == j {
			j++
		}
		k = 0
	}
	return min(i, j)
}

// writeUsed writes which bytes there are: which groups of 16, and which in them.
func writeUsed(w *bitWriter, used *[256]bool) {
	var groups uint64
	var in [16]uint64
	for c, u := range used {
		if u {
			groups |= 1 << (15 - c/16)
			in[c/16] |= 1 << (15 - c%16)
		}
	}
	w.write(16, groups)
	for _, bits := range in {
		if bits != 0 {
			w.write(16, bits)
		}
	}
}

// indexes turns bytes into indexes of a list that begins with what was used
// last: runs of index 0 as their length with digits 1 and 2 (symbols 0 and 1), the
// low one first, other indexes one higher, and then an end. It returns how many
// different symbols there may be.
func indexes(column []byte, used *[256]bool) ([]uint16, int) {
	var list [256]byte
	n := 0
	for c, u := range used {
		if u {
			list[n] = byte(c)
			n++
		}
	}
	out := make([]uint16, 0, len(column)/2+2)
	run := 0
	endRun := func() {
		for ; run > 0; run = (run - 1) / 2 {
			out = append(out, uint16((run-1)%2))
		}
	}
	for _, c := range column {
		if c == list[0] {
			run++
			continue
		}
		endRun()
		i, before := 1, list[0]
		for ; list[i] != c; i++ {
			before, list[i] = list[i], before
		}
		list[0], list[i] = c, before
		out = append(out, uint16(i+1))
	}
	endRun()
	return append(out, uint16(n+1)), n + 2
}
