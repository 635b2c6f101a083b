//go:build ramdisk

package main

import (
	"context"
	"os"

	"mios/device/boot"
	"mios/device/kexec"
	"mios/device/kmod"
)

// isLoader reports whether this /init is the ROM's: the ROM's initramfs alone
// holds the key that slots must be signed by.
func isLoader() bool {
	_, err := os.Stat(boot.KeyFile)
	return err == nil
}

// loader is PID 1 of the ROM's initramfs. It does not return.
func loader(context.Context, []string) int {
	boot.Main(boot.Machine{Modules: kmod.LoadAll, Load: kexec.Load, Exec: kexec.Exec})
	return 1
}
