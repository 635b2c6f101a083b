//go:build !ramdisk

package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestClockFollows: the system's clock is put forward to what was learned, and
// back only as far as it was put forward.
func TestClockFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		began := time.Now().Round(0)
		for _, tt := range []struct {
			learned time.Duration // since began
			set     bool
			ahead   time.Duration
		}{
			{-time.Hour, false, 0},
			{time.Second / 2, false, 0},
			{time.Hour, true, time.Hour},
			{2 * time.Hour, true, 3 * time.Hour}, // the bubble's own clock stays where it is
			{-time.Hour, true, 2 * time.Hour},
			{-9 * time.Hour, true, 0},
			{-9 * time.Hour, false, 0},
		} {
			set := false
			err := c.follow(began.Add(tt.learned), func(time.Time) error { set = true; return nil })
			if err != nil || set != tt.set || time.Duration(c.ahead.Load()) != tt.ahead {
				t.Errorf("learned %v: %v, set %t, ahead %v; want %t, %v", tt.learned, err, set, time.Duration(c.ahead.Load()), tt.set, tt.ahead)
			}
			if got := c.Now().Round(0).Sub(began); got != -tt.ahead {
				t.Errorf("learned %v: Now is %v after the beginning, want %v", tt.learned, got, -tt.ahead)
			}
		}
		if err := c.follow(began.Add(time.Hour), func(time.Time) error { return errors.New("no") }); err == nil || c.ahead.Load() != 0 {
			t.Errorf("a clock that cannot be set: %v, ahead %v", err, c.ahead.Load())
		}
	})
}
