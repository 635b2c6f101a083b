package cow

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"mios"
	"mios/format/payload"
)

func params(version uint32, param string, factor uint64) *payload.DynamicPartitions {
	return &payload.DynamicPartitions{SnapshotEnabled: true, VABCEnabled: true, VABCCompressionParam: param, CowVersion: version, CompressionFactor: factor,
		Groups: []payload.Group{{Name: "g", Size: 1 << 30, Partitions: []string{"system"}}}}
}

// image is a partition of n blocks of noise.
func image(n int) []byte {
	b := make([]byte, n*block)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func extents(list ...uint64) (out []payload.Extent) {
	for i := 0; i < len(list); i += 2 {
		out = append(out, payload.Extent{StartBlock: list[i], NumBlocks: list[i+1]})
	}
	return out
}

// TestEstimate counts by hand what libsnapshot's writers write without
// compression.
func TestEstimate(t *testing.T) {
	copied := []payload.MergeOperation{{SrcExtent: &payload.Extent{StartBlock: 50, NumBlocks: 10}, DstExtent: &payload.Extent{StartBlock: 0, NumBlocks: 10}},
		{SrcExtent: &payload.Extent{StartBlock: 40, NumBlocks: 3}, DstExtent: &payload.Extent{StartBlock: 40, NumBlocks: 3}}}
	const fixed2, fixed3 = 38 + 2<<20, 78 + 2<<20 + 64
	for _, tt := range []struct {
		name   string
		blocks int
		ops    []payload.Operation
		merge  []payload.MergeOperation
		size2  uint64 // before the one percent
		size3  uint64
		ops3   uint64
	}{
		{"one operation", 100, []payload.Operation{{Type: payload.ReplaceXZ, DstExtents: extents(0, 100)}}, nil,
			fixed2 + 1024*20 + 100*block + 84, fixed3 + (6+1)*16 + 100*block, minOps},
		// 100 blocks are 6 of 64 KiB and one of 16 KiB.
		{"two extents", 100, []payload.Operation{{Type: payload.BrotliBSDiff, DstExtents: extents(0, 31, 69, 31), SrcExtents: extents(0, 5)}, {Type: payload.Zero, DstExtents: extents(31, 38)}}, nil,
			fixed2 + 1024*20 + 62*block + 84, fixed3 + (2*(1+1+1+1+1)+38)*16 + 62*block, 48},
		// 31 blocks are 16, 8, 4, 2 and 1.
		{"copies", 100, []payload.Operation{{Type: payload.SourceCopy, SrcExtents: extents(50, 10, 10, 80, 20, 10), DstExtents: extents(0, 100)}}, copied,
			// 10 copies with a merge sequence, 80 that stay, 10 that no merge copies
			fixed2 + 1024*20 + 40 + 10*block + 84, fixed3 + 40 + (10+2)*16 + 10*block, minOps},
		{"what the device computes", 20, []payload.Operation{{Type: payload.Zero, DstExtents: extents(0, 10)}}, nil,
			fixed2 + 1024*20 + 10*block + 84, fixed3 + (10+10)*16 + 10*block, minOps},
		{"nothing but zeros", 20, []payload.Operation{{Type: payload.Discard, DstExtents: extents(0, 20)}}, nil,
			fixed2 + 21*20 + 84, fixed3 + 20*16, minOps},
		{"several clusters", 2500, []payload.Operation{{Type: payload.Replace, DstExtents: extents(0, 2500)}}, nil,
			// 1023 operations a cluster: two whole ones, and 455 with the label
			fixed2 + 3*1024*20 + 2500*block + 84, fixed3 + (64+64+28+1)*16 + 2500*block, 157},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := image(tt.blocks)
			p := &payload.Partition{Name: "system", NewInfo: &payload.PartitionInfo{Size: uint64(len(img))}, Operations: tt.ops, MergeOperations: tt.merge}
			got, err := Estimate(t.Context(), params(2, "none", 65536), p, bytes.NewReader(img))
			if want := tt.size2 + tt.size2/100; err != nil || got.Bytes != want || got.Ops != 0 {
				t.Errorf("version 2: %+v, %v; want %d bytes", got, err, want)
			}
			got, err = Estimate(t.Context(), params(3, "none", 65536), p, bytes.NewReader(img))
			if want := tt.size3 + tt.size3/100; err != nil || got.Bytes != want || got.Ops != tt.ops3 {
				t.Errorf("version 3: %+v, %v; want %d bytes, %d operations", got, err, want, tt.ops3)
			}
		})
	}
}

// TestCompression holds what is compressed against what comes out: noise stays as
// large as it is, but for version 2's gz and brotli, which keep what grows.
func TestCompression(t *testing.T) {
	img := append(image(64), bytes.Repeat([]byte("text of some words\n"), 64*block/19+1)...)[:128*block]
	p := &payload.Partition{Name: "system", NewInfo: &payload.PartitionInfo{Size: uint64(len(img))},
		Operations: []payload.Operation{{Type: payload.Replace, DstExtents: extents(0, 128)}}}
	for _, param := range []string{"gz", "gz,1", "lz4", "zstd", "zstd,9", "brotli", "brotli,4"} {
		for version := uint32(2); version <= 3; version++ {
			got, err := Estimate(t.Context(), params(version, param, 65536), p, bytes.NewReader(img))
			least := uint64(2<<20 + 64*block)
			if err != nil || got.Bytes < least || got.Bytes > least+least/20 {
				t.Errorf("version %d, %s: %+v, %v; want %d bytes and some", version, param, got, err, least)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	p := &payload.Partition{Name: "system", NewInfo: &payload.PartitionInfo{Size: block}, Operations: []payload.Operation{{DstExtents: extents(0, 1)}}}
	for _, d := range []*payload.DynamicPartitions{params(3, "tar", block), params(3, "zstd,x", block), params(3, "gz,77", block), params(4, "lz4", block),
		params(3, "lz4", 5000), params(3, "lz4", 2<<20)} {
		if got, err := Estimate(t.Context(), d, p, bytes.NewReader(image(1))); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Estimate with %+v = %+v, %v; want invalid", d, got, err)
		}
	}
	if _, err := Estimate(t.Context(), params(3, "lz4", block), p, bytes.NewReader(nil)); err == nil {
		t.Error("Estimate of an image that ends = nil")
	}
	if Wanted(nil, "system") || Wanted(params(3, "lz4", block), "boot") || !Wanted(params(3, "lz4", block), "system") {
		t.Error("Wanted is not of the partitions in super alone")
	}
}
