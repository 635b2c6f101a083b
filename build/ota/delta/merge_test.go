package delta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"mios/format/payload"
)

// TestMergeOrder merges copies in place, as a device does, and wants what is
// copied to another device.
func TestMergeOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 500 {
		n := 1 + r.IntN(60)
		class, taken := make([]uint32, n), make([]bool, n)
		for b := 0; b < n; {
			run := 1 + r.IntN(10)
			from := uint32(r.IntN(n))
			for ; run > 0 && b < n; run-- {
				class[b] = from
				if int(from) >= n || r.IntN(20) == 0 {
					class[b] = isChanged
				}
				taken[b] = class[b] == isChanged
				from++
				b++
			}
		}
		list := moves(class, taken)
		order := mergeOrder(list)
		device := make([]int, n)
		for i := range device {
			device[i] = i
		}
		merged := map[uint64]bool{}
		for _, m := range order {
			if m.src < m.dst+m.n && m.dst < m.src+m.n {
				t.Fatalf("round %d: %v overlaps itself", round, m)
			}
			copy(device[m.dst:m.dst+m.n], bytesOf(device[m.src:m.src+m.n]))
			for i := range m.n {
				merged[m.dst+i] = true
			}
		}
		for b := range device {
			if merged[uint64(b)] && device[b] != int(class[b]) {
				t.Fatalf("round %d: block %d is %d, want %d; moves %v, merged %v", round, b, device[b], class[b], list, order)
			}
		}
		if len(list) > 0 && len(order) == 0 {
			t.Fatalf("round %d: none of %v is merged", round, list)
		}
	}
}

func bytesOf(s []int) []int { return append([]int(nil), s...) }

// TestMergeCircle leaves out the smaller of two moves that swap places.
func TestMergeCircle(t *testing.T) {
	order := mergeOrder([]move{{100, 0, 10}, {0, 100, 8}, {500, 300, 1}})
	if got, want := fmt.Sprint(order), "[{500 300 1} {100 0 10}]"; got != want {
		t.Errorf("order %v, want %v", got, want)
	}
}

// TestSnapshot wants merge operations and estimates of partitions in super.
func TestSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("many deltas, one after the other")
	}
	r := rand.New(rand.NewPCG(3, 4))
	old := noise(r, 125*block)
	new := bytes.Clone(old)
	copy(new[25*block:], old[75*block:100*block]) // moved
	copy(new[55*block:], noise(r, 5*block))       // new
	clear(new[113*block:])
	for version, fixed := range map[uint32]uint64{2: 20, 3: 16} {
		for _, how := range []string{"none", "gz", "lz4", "zstd,3"} {
			h := header(MaxMinor)
			h.Dynamic = &payload.DynamicPartitions{
				SnapshotEnabled: true, VABCEnabled: true, CowVersion: version, VABCCompressionParam: how, CompressionFactor: 65536,
				Groups: []payload.Group{{Name: "main", Size: 1 << 30, Partitions: []string{"system"}}},
			}
			boot := partition(image(old), image(new))
			boot.Header.Name = "boot"
			got := generate(t, &Delta{Partitions: []Partition{partition(image(old), image(new)), boot}, Header: h})
			p := got.m.Partitions[0]
			if len(p.MergeOperations) != 1 || p.MergeOperations[0].DstExtent.NumBlocks != 25 {
				t.Errorf("merge operations %v, want one of 25 blocks", p.MergeOperations)
			}
			least := uint64(2<<20 + 5*block + 25*(fixed+4) + 12*fixed)
			if p.EstimateCowSize < least || p.EstimateCowSize > least+least/20 {
				t.Errorf("version %d, %s: COW of %d bytes, want %d and some", version, how, p.EstimateCowSize, least)
			}
			if ops := p.EstimateOpCountMax; version == 2 && ops != 0 || version == 3 && (ops < 37 || ops > 45) {
				t.Errorf("version %d: %d operations in the COW", version, ops)
			}
			if p := got.m.Partitions[1]; p.EstimateCowSize != 0 || p.MergeOperations != nil {
				t.Errorf("boot, which is not in super, has a COW of %d bytes", p.EstimateCowSize)
			}
		}
	}
}
