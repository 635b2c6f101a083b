package initd

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mios/device/bootrecord"
	"mios/format/bootctl"
)

// TestUnjudged fails the slot of a boot that nobody judges, and only of such a
// one.
func TestUnjudged(t *testing.T) {
	for _, health := range []string{"", "checking", "healthy"} {
		d := newDevice(t)
		putMisc(t, d, false)
		synctest.Test(t, func(t *testing.T) {
			if health != "" {
				d.Props.Set(healthProperty, health)
			}
			d.Props.Changed = nil // nobody reboots
			begin := time.Now()
			d.expectJudge(t.Context(), judgeTime)
			if took := time.Since(begin); took != judgeTime {
				t.Errorf("it took %v, want %v", took, judgeTime)
			}
		})
		b, err := os.ReadFile(d.path("/dev/vdz1"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := bootctl.ParseControl(b[bootctl.ControlOffset:])
		if err != nil {
			t.Fatal(err)
		}
		rec, err := bootrecord.Read(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if health == "" {
			want = "reboot,unjudged"
		}
		if got := d.Props.Get("sys.powerctl"); got != want || c.Slots[0].Bootable() != (want == "") || len(rec.Refusals) == 0 != (want == "") {
			t.Errorf("health %q: sys.powerctl is %q, control %+v, record %+v; want %q", health, got, c, rec, want)
		}
	}
}

// TestKeepsFailing gives a slot up that was found healthy in each boot and then
// failed, if there is another one.
func TestKeepsFailing(t *testing.T) {
	for _, other := range []bool{true, false} {
		d := newDevice(t)
		putMisc(t, d, true)
		control := func() *bootctl.Control {
			b, err := os.ReadFile(d.path("/dev/vdz1"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := bootctl.ParseControl(b[bootctl.ControlOffset:])
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if !other {
			c := control()
			c.MarkUnbootable(1)
			b, err := c.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			misc, err := d.misc()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := misc.WriteAt(b, bootctl.ControlOffset); err != nil {
				t.Fatal(err)
			}
			misc.Close()
		}
		for n := range 3 {
			if !control().Slots[0].Bootable() {
				t.Fatalf("given up after %d failures", n)
			}
			if err := d.failSlot("critical service x died"); err != nil {
				t.Fatal(err)
			}
		}
		if got := control().Slots[0].Bootable(); got == other {
			t.Errorf("with another slot: %v; bootable after 3 failures: %v", other, got)
		}
	}
}
