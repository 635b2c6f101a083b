package ota

import (
	"strings"
	"testing"
	"time"

	"mios/device/bootrecord"
	"mios/format/bootctl"
)

// TestRelapse gives up a release after it was found healthy, as init does when
// a critical service keeps dying, and for damage, which an update mends.
func TestRelapse(t *testing.T) {
	for _, tt := range []struct {
		name      string
		partition string
		reasons   int
		again     bool // the release is installed once more
	}{
		{"keeps failing", "", 3, false},
		{"failed once", "", 1, true},
		{"damaged", "system_b", 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.until(func(s Status) bool { return s.Version == "2" && rests(s) })
				misc := &fakePart{w, "misc"}
				for range tt.reasons {
					f := bootrecord.Refusal{Slot: "_b", Partition: tt.partition, Reason: "critical service x died", Time: time.Now()}
					if err := bootrecord.Add(misc, f); err != nil {
						t.Fatal(err)
					}
				}
				c := w.control()
				c.MarkUnbootable(1)
				must(misc.WriteAt(must(c.Bytes()), bootctl.ControlOffset))
				misc.Sync()
				want := "1"
				if tt.again {
					want = "2"
				}
				if ran := w.until(func(s Status) bool { return s.Version == want && rests(s) }); ran.version != want {
					t.Errorf("release %s runs, want %s", ran.version, want)
				}
				bad := w.status.Bad
				if tt.again && len(bad) != 0 || !tt.again && (len(bad) != 1 || bad[0].Version != "2" || !strings.Contains(bad[0].Reason, "did not stay healthy: critical service x died")) {
					t.Errorf("bad releases are %+v", bad)
				}
			})
		})
	}
}
