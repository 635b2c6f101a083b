package qemu_test

import (
	"testing"

	"mios"
	"mios/desk"
)

// TestBoot boots both architectures, all the way from the loader to healthy.
func TestBoot(t *testing.T) {
	for _, arch := range []mios.Arch{mios.AMD64, mios.ARM64} {
		t.Run(string(arch), func(t *testing.T) {
			t.Parallel()
			d := boot(t, build(t, desk.BuildSpec{Version: "1", Arch: arch}), nil)
			d.healthy()
			d.want("1 _a healthy")
			if got := d.shell("getprop ro.product.cpu.abi"); got != arch.ABI() {
				t.Errorf("ro.product.cpu.abi = %q, want %q", got, arch.ABI())
			}
		})
	}
}
