package initd

import (
	"context"
	"fmt"
	"time"

	"mios/device/property"
)

const (
	// healthProperty is set by update_engine as soon as it begins to judge the
	// boot. From then on a verdict comes: its checks have time limits, and it is
	// a critical service.
	healthProperty = "sys.mios.health"
	// judgeTime is how long that may take.
	judgeTime = 10 * time.Minute
)

// expectJudge ends a boot that nobody begins to judge in time, because what
// should is not there, or its script cannot be read: it would never be found
// good nor bad.
func (d *Device) expectJudge(ctx context.Context, patience time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(patience):
	}
	if d.Props.Get(healthProperty) != "" {
		return
	}
	reason := fmt.Sprintf("nobody judged this boot within %v: update_engine did not start", patience)
	if err := d.failSlot(reason); err != nil {
		d.log.Error("mark the slot", "err", err)
	}
	d.log.Error("rebooting", "because", reason)
	if err := d.Props.Set(property.PowerControl, "reboot,unjudged"); err != nil {
		d.powerControl("reboot")
	}
}
