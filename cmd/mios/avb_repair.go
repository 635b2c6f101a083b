package main

import (
	"context"
	"fmt"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/progress"
)

var avbRepair = command{"avb repair", "[flags] FILE", "repair a damaged image by its FEC\n" +
	"What the hash tree does not answer for is corrected from the parity behind it, as dm-verity does on a\n" +
	"device. Nothing is written unless all of it can be repaired.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o avbtool.RepairOptions
		fs.StringVar(&o.Output, "output", "", outputHelp)
		fs.StringVar(&o.VBMeta, "vbmeta_image", "", "`file` of the vbmeta image that has the descriptor (default: FILE's own)")
		fs.StringVar(&o.Partition, "partition_name", "", "`name` of the partition, if there are several")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		var report *avb.RepairReport
		err := e.story(*asJSON).Step(ctx, "repair "+fs.Arg(0), func(ctx context.Context, t *progress.Task) (err error) {
			if report, err = avbtool.Repair(ctx, fs.Arg(0), o, t.Bytes); err != nil {
				return err
			}
			t.Done("%s: %s", fs.Arg(0), repaired(report))
			return nil
		})
		if err != nil || !*asJSON {
			return err
		}
		if report.Blocks == nil {
			report.Blocks = []int64{}
		}
		return printJSON(e, struct {
			File   string  `json:"file"`
			Blocks []int64 `json:"repaired_blocks"` // offsets in bytes
			FEC    bool    `json:"repaired_fec"`
		}{fs.Arg(0), report.Blocks, report.FEC})
	}}

// repaired says what was wrong.
func repaired(r *avb.RepairReport) string {
	switch n := len(r.Blocks); {
	case n == 0 && !r.FEC:
		return "nothing to repair"
	case n == 0:
		return "the FEC was wrong, and is repaired"
	case r.FEC:
		return fmt.Sprintf("%d blocks and the FEC were wrong, and are repaired", n)
	default:
		return fmt.Sprintf("%d blocks were wrong, and are repaired; the first at %#x", n, r.Blocks[0])
	}
}
