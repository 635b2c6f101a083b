package ota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mios/device/bootrecord"
	"mios/device/property"
	"mios/format/bootctl"
)

// healthProperty tells the rest of the device how the boot went.
const healthProperty = "sys.mios.health"

// boot is what comes before the first look for an update: it finds out what
// became of the last one, and whether this boot is a good one.
func (e *Engine) boot(ctx context.Context) error {
	rec, err := load(e.cfg.Store)
	if err != nil {
		e.log.Error("begin with a new state", "err", err)
	}
	e.rec = rec
	if err := e.settle(); err != nil {
		e.log.Error("what became of the last update is not known", "err", err)
	}
	e.show(func(s *Status) { s.State = CleanUp })
	e.health(ctx, "checking")
	return e.judge(ctx)
}

// judge decides by health checks whether this boot is a good one.
func (e *Engine) judge(ctx context.Context) error {
	failed := e.cfg.Health.Run(ctx, e.cfg.Device.Health)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e.outside = errors.Is(failed, errOutside)
	var err error
	if failed == nil {
		err = e.healthy(ctx)
	} else {
		err = e.unhealthy(ctx, failed)
	}
	if err != nil {
		e.log.Error("after the health checks", "err", err)
	}
	e.show(func(s *Status) {
		s.State = e.rec.State
		if err != nil {
			s.State, s.Error = Reporting, sentence(err)
		}
	})
	return ctx.Err()
}

// judgeAgain is called after a look for a release. A boot that was not healthy
// for an outside reason may be so once the repository has answered.
func (e *Engine) judgeAgain(ctx context.Context, looked error) error {
	if !e.outside || e.rec.State != Idle || looked != nil && !errors.Is(looked, errNothing) {
		return nil
	}
	return e.judge(ctx)
}

// settle finds out whether the slot that was updated is the one that runs. If
// another boot than the one that made it active runs the old slot, the release
// is bad.
func (e *Engine) settle() error {
	in := e.rec.Install
	switch {
	case in == nil:
		return e.relapse()
	case in.Slot == e.cfg.Slot && (e.rec.State == NeedReboot || e.rec.State == Finalizing):
		return nil // the health checks decide
	case in.Slot == e.cfg.Slot:
		// This slot was being written to; whoever booted it, it is not what the
		// record says.
		e.rec.State, e.rec.Install = Idle, nil
		return e.rec.save(e.cfg.Store)
	}
	news, err := e.refusals()
	if err != nil {
		return err
	}
	switch {
	case e.rec.State == NeedReboot && in.BootID == e.cfg.BootID:
		return nil // still to be rebooted
	case e.rec.State != NeedReboot && (e.rec.State != Finalizing || len(news) == 0):
		return nil // goes on where it was
	}
	reason := fmt.Sprintf("slot %s did not come up in its tries, and left no reason", in.Slot)
	if len(news) > 0 {
		r := news[len(news)-1]
		reason = fmt.Sprintf("slot %s did not stay: %s", in.Slot, r.Reason)
		if r.Partition != "" {
			reason = fmt.Sprintf("slot %s did not stay: %s: %s", in.Slot, r.Partition, r.Reason)
		}
	}
	e.log.Error("the update did not stay, and its release will not be tried again", "version", in.Version, "reason", reason)
	e.rec.reject(reason, e.cfg.Now())
	return e.rec.save(e.cfg.Store)
}

// relapse finds out whether a release that was found healthy did not stay so:
// this is the other slot, and the boot record has it that the release failed
// again and again. What merely could not be booted may be installed again.
func (e *Engine) relapse() error {
	p := e.rec.Proved
	if p == nil || p.Slot == e.cfg.Slot {
		return nil
	}
	all, err := e.bootRecord()
	if err != nil {
		return err
	}
	last, again := (bootrecord.Record{Refusals: all}).Repeated(p.Slot)
	if !again {
		return nil
	}
	reason := fmt.Sprintf("slot %s did not stay healthy: %s", p.Slot, last.Reason)
	e.log.Error("the release that ran before will not be tried again", "version", p.Version, "reason", reason)
	e.rec.Install, e.rec.Proved = p, nil
	e.rec.reject(reason, e.cfg.Now())
	return e.rec.save(e.cfg.Store)
}

// refusals returns what the boot record says of the slot that was updated since
// the update began, oldest first.
func (e *Engine) refusals() ([]bootrecord.Refusal, error) {
	all, err := e.bootRecord()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r bootrecord.Refusal) bool {
		return r.Slot != e.rec.Install.Slot || slices.ContainsFunc(e.rec.Install.Refusals, func(o bootrecord.Refusal) bool {
			return o.Slot == r.Slot && o.Partition == r.Partition && o.Reason == r.Reason && o.Time.Equal(r.Time)
		})
	}), nil
}

func (e *Engine) bootRecord() ([]bootrecord.Refusal, error) {
	misc, err := e.cfg.Disk.Open("misc")
	if err != nil {
		return nil, fmt.Errorf("boot record: %w", err)
	}
	defer misc.Close()
	r, err := bootrecord.Read(misc)
	return r.Refusals, err
}

// health sets the property that says how the boot went.
func (e *Engine) health(ctx context.Context, value string) {
	e.show(func(s *Status) { s.Health = value })
	if err := e.cfg.Properties.Set(ctx, healthProperty, property.Clip(value)); err != nil {
		e.log.Error("set "+healthProperty, "err", err)
	}
}

// healthy keeps this slot.
func (e *Engine) healthy(ctx context.Context) error {
	err := e.control(func(c *bootctl.Control, mine, _ int) error {
		if !c.Slots[mine].Successful {
			c.MarkSuccessful(mine)
			e.log.Info("boot successful", "slot", e.cfg.Slot)
		}
		return nil
	})
	if err == nil {
		err = e.countBoots()
	}
	if err != nil {
		e.health(ctx, "failed: "+err.Error())
		return err
	}
	if in := e.rec.Install; in != nil && in.Slot == e.cfg.Slot {
		e.log.Info("update complete", "version", in.Version)
		e.rec.forgive(in.Digest)
		in.Refusals = nil
		e.rec.State, e.rec.Install, e.rec.Proved = Idle, nil, in
		err = e.rec.save(e.cfg.Store)
	}
	err = errors.Join(err, e.blame())
	e.health(ctx, "healthy")
	return err
}

// blame lays it on the releases that failed for an outside reason, now that the
// same checks hold without them.
func (e *Engine) blame() error {
	changed := false
	for i := range e.rec.Bad {
		changed = changed || e.rec.Bad[i].Outside
		e.rec.Bad[i].Outside = false
	}
	if !changed {
		return nil
	}
	return e.rec.save(e.cfg.Store)
}

// endure is for a boot that is not healthy for an outside reason. It is no boot
// that the loader should count, for another slot would do no better, and no
// release that failed for such a reason is to blame.
func (e *Engine) endure() error {
	if err := e.countBoots(); err != nil {
		return err
	}
	n := len(e.rec.Bad)
	e.rec.Bad = slices.DeleteFunc(e.rec.Bad, func(b Bad) bool { return b.Outside })
	if len(e.rec.Bad) == n {
		return nil
	}
	return e.rec.save(e.cfg.Store)
}

// countBoots tells the loader that this slot came up, so that it begins to count
// its boots again.
func (e *Engine) countBoots() error {
	misc, err := e.cfg.Disk.Open("misc")
	if err != nil {
		return fmt.Errorf("boot record: %w", err)
	}
	defer misc.Close()
	return bootrecord.Healthy(misc, e.cfg.Slot)
}

// unhealthy gives this slot up for the other one, if it has never been healthy
// and there is another one. If it returns, the device stays where it is.
func (e *Engine) unhealthy(ctx context.Context, failed error) error {
	e.health(ctx, "failed: "+failed.Error())
	e.log.Error("this boot is not healthy", "err", failed)
	leave := false
	err := e.control(func(c *bootctl.Control, mine, other int) error {
		leave = !c.Slots[mine].Successful && c.Slots[other].Bootable()
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; and %v", failed, err)
	}
	if !leave {
		if e.outside {
			if err := e.endure(); err != nil {
				e.log.Error("this slot may be given up", "err", err)
			}
		}
		return failed
	}
	e.show(func(s *Status) { s.State = RollingBack })
	for {
		err := e.giveUp(ctx, failed)
		if err == nil {
			<-ctx.Done() // the reboot is under way
			return ctx.Err()
		}
		e.log.Error("give this slot up", "slot", e.cfg.Slot, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(firstRetry):
		}
	}
}

// giveUp leaves the reason where the other slot finds it, makes this slot
// unbootable, and reboots. It may be repeated.
func (e *Engine) giveUp(ctx context.Context, failed error) error {
	misc, err := e.cfg.Disk.Open("misc")
	if err != nil {
		return err
	}
	defer misc.Close()
	refusal := bootrecord.Refusal{Slot: e.cfg.Slot, Reason: failed.Error(), Time: e.cfg.Now().UTC()}
	if err := bootrecord.Add(misc, refusal); err != nil {
		return err
	}
	if in := e.rec.Install; in != nil && in.Slot == e.cfg.Slot {
		e.rec.reject(failed.Error(), e.cfg.Now())
		e.rec.Bad[len(e.rec.Bad)-1].Outside = e.outside
		if err := e.rec.save(e.cfg.Store); err != nil {
			return err
		}
	}
	err = e.control(func(c *bootctl.Control, mine, _ int) error {
		c.MarkUnbootable(mine)
		return nil
	})
	if err != nil {
		return err
	}
	return e.powerctl(ctx)
}
