package qemu_test

import (
	"path/filepath"
	"testing"

	"mios"
	"mios/desk"
)

// TestBoot boots both architectures, all the way from the loader to healthy, and
// watches whom they talk to.
func TestBoot(t *testing.T) {
	for _, arch := range []mios.Arch{mios.AMD64, mios.ARM64} {
		t.Run(string(arch), func(t *testing.T) {
			t.Parallel()
			wire := filepath.Join(t.TempDir(), "wire.pcap")
			d := boot(t, build(t, desk.BuildSpec{Version: "1", Arch: arch}), func(cfg *desk.DeviceConfig) { cfg.Capture = wire })
			d.healthy()
			d.want("1 _a healthy")
			if got := d.shell("getprop ro.product.cpu.abi"); got != arch.ABI() {
				t.Errorf("ro.product.cpu.abi = %q, want %q", got, arch.ABI())
			}
			// Apps make no user namespaces, and nobody starts another kernel.
			if got := d.shell("cat /proc/sys/user/max_user_namespaces /proc/sys/kernel/kexec_load_disabled"); got != "0\n1" {
				t.Errorf("user namespaces and kexec_load_disabled are %q, want 0 and 1", got)
			}
			if got := d.shell("cat /proc/1/timerslack_ns /proc/$(pidof netd)/timerslack_ns"); got != "1000000\n1000000" {
				t.Errorf("the timer slack of init and of a service is %q, want 1 ms", got)
			}
			if got := d.shell("logcat -d -s init:W"); got != "" {
				t.Errorf("init warns in a boot in which all is well:\n%s", got)
			}
			checkWire(t, wire)
		})
	}
}
