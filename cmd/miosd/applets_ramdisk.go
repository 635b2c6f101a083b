//go:build ramdisk

package main

import "context"

// applets is what runs before the system partition is mounted: /init, which is
// the loader in the ROM's initramfs and the first stage in a boot image's.
func applets(yield func(applet) bool) {
	yield(applet{"init", func(ctx context.Context, args []string) int {
		if isLoader() {
			return loader(ctx, args)
		}
		return firstStage.run(ctx, args)
	}})
}
