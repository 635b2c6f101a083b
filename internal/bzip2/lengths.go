package bzip2

import "slices"

// codeLengths returns the lengths of a Huffman code for these frequencies, at
// most maxLength. A symbol that does not occur gets a code, too: the format
// wants one.
func codeLengths(frequency []int) []uint8 {
	weights := make([]int, len(frequency))
	for i, f := range frequency {
		weights[i] = max(f, 1)
		if f > 0 {
			weights[i] = f * 256 // one that does not occur costs next to nothing
		}
	}
	for {
		lengths, deepest := huffman(weights)
		if deepest <= maxLength {
			return lengths
		}
		for i, w := range weights {
			weights[i] = w/2 + 1
		}
	}
}

// huffman returns the lengths of the best code, and the greatest of them. The
// two lightest trees become one until there is one: leaves are sorted, and
// trees come in order anyway.
func huffman(weights []int) ([]uint8, int) {
	n := len(weights)
	leaves := make([]int, n)
	for i := range leaves {
		leaves[i] = i
	}
	slices.SortStableFunc(leaves, func(a, b int) int { return weights[a] - weights[b] })
	parent, weight := make([]int, 2*n-1), make([]int, 2*n-1)
	leaf, tree := 0, n
	lightest := func(end int) int {
		if tree == end || leaf < n && weights[leaves[leaf]] <= weight[tree] {
			leaf++
			return leaves[leaf-1]
		}
		tree++
		return tree - 1
	}
	of := func(i int) int {
		if i < n {
			return weights[i]
		}
		return weight[i]
	}
	for next := n; next < 2*n-1; next++ {
		a := lightest(next)
		b := lightest(next)
		weight[next] = of(a) + of(b)
		parent[a], parent[b] = next, next
	}
	depth, deepest := make([]int, 2*n-1), 0
	for i := 2*n - 3; i >= 0; i-- {
		depth[i] = depth[parent[i]] + 1
		deepest = max(deepest, depth[i])
	}
	lengths := make([]uint8, n)
	for i := range lengths {
		lengths[i] = uint8(min(depth[i], 255))
	}
	return lengths, deepest
}
