package image

import (
	"io/fs"
	"slices"
	"testing"

	"mios"
	"mios/build/product"
	"mios/format/initrc"
)

// TestCoreScripts holds that the scripts of base core are right, have no
// option without effect, and define the services of docs/device.md.
func TestCoreScripts(t *testing.T) {
	names, err := fs.Glob(core, "core/init/*.rc")
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	for _, n := range names {
		src, err := core.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		s, err := initrc.Parse(n, src)
		if err != nil {
			t.Error(err)
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		for _, v := range s.Services {
			services = append(services, v.Name)
			if len(v.Ignored) > 0 {
				t.Errorf("%s: service %s has options without effect: %v", n, v.Name, v.Ignored)
			}
		}
	}
	slices.Sort(services)
	if want := []string{"adbd", "installd", "netd", "update_engine"}; !slices.Equal(services, want) {
		t.Errorf("services %q, want %q", services, want)
	}
}

// TestCmdline holds that a kernel that panics restarts, whatever product it is of,
// unless the product says otherwise.
func TestCmdline(t *testing.T) {
	for _, tt := range []struct {
		arch mios.Arch
		own  string
		want string
	}{
		{mios.AMD64, "", "console=ttyS0 no_timer_check panic=5"},
		{mios.ARM64, "quiet panic=60", "console=ttyAMA0 panic=5 quiet panic=60"},
	} {
		p := new(product.Product)
		p.Kernel.Cmdline = tt.own
		b := &builder{Config: &Config{Arch: tt.arch, Product: p}}
		if got := b.cmdline(); got != tt.want {
			t.Errorf("%s: cmdline of %q is %q, want %q", tt.arch, tt.own, got, tt.want)
		}
	}
}
