package image

import (
	"io/fs"
	"slices"
	"testing"

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
