package delta

import (
	"context"

	"mios/build/ota/cow"
	"mios/format/payload"
)

// snapshot fills in what a partition's manifest says for Virtual A/B with
// compression: in which order copies are merged, and how large the COW gets.
func (r *run) snapshot(ctx context.Context, img Image, class []uint32, taken []bool, out *payload.Partition) error {
	if !cow.Wanted(r.Header.Dynamic, out.Name) {
		return nil
	}
	if out.OldInfo != nil {
		out.MergeOperations = mergeOperations(mergeOrder(moves(class, taken)))
	}
	size, err := cow.Estimate(ctx, r.Header.Dynamic, out, img)
	out.EstimateCowSize, out.EstimateOpCountMax = size.Bytes, size.Ops
	return err
}
