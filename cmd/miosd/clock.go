//go:build !ramdisk

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mios/api/repo"
)

// A clock is the system's without what this process has put it forward.
type clock struct{ ahead atomic.Int64 } // nanoseconds

// Now returns the time as the device's clock chip has it.
func (c *clock) Now() time.Time { return time.Now().Add(-time.Duration(c.ahead.Load())) }

// follow sets the system's clock to a time that was learned, if that is later;
// what was put forward on the word of a thief's key it takes back.
func (c *clock) follow(learned time.Time, set func(time.Time) error) error {
	d := learned.Round(0).Sub(time.Now().Round(0)) // by the wall's clock, not the monotonic one
	if ahead := time.Duration(c.ahead.Load()); d < 0 {
		d = max(d, -ahead)
	}
	if d.Abs() < time.Second {
		return nil
	}
	if err := set(time.Now().Round(0).Add(d)); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	c.ahead.Add(int64(d))
	return nil
}

func setSystemClock(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

// A timedRepository keeps the system's clock from falling below the newest
// signed time that the repository's client has seen: TLS wants it right, too.
type timedRepository struct {
	*repo.Client
	clock *clock
	log   *slog.Logger
}

// Refresh implements ota.Repository.
func (r *timedRepository) Refresh(ctx context.Context) error {
	err := r.Client.Refresh(ctx)
	r.setClock()
	return err
}

func (r *timedRepository) setClock() {
	if err := r.clock.follow(r.Client.Now(), setSystemClock); err != nil {
		r.log.Error("the clock is behind what the repository said", "err", err)
	}
}
