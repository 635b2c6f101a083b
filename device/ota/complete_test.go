package ota

import (
	"context"
	"testing"
	"testing/synctest"
)

// TestCompleteComesAfterTheJudgement has an engine that learns what an update
// needs only once its boot has been judged, and finds one nevertheless.
func TestCompleteComesAfterTheJudgement(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.device.Update.Interval, w.device.Update.AutoReboot = 0, false
		ctx, cancel := context.WithCancel(context.Background())
		whole := w.config(w.load(), &fakeProps{w: w, reboot: cancel})
		c := whole
		c.ID, c.Region, c.Repository, c.Fetcher, c.PayloadKeys, c.AVBKey, c.RollbackIndex = "", "", nil, nil, nil, nil, nil
		calls, health := 0, ""
		var e *Engine
		c.Complete = func(_ context.Context, c *Config) {
			s, _ := e.Status()
			calls, health = calls+1, s.Health
			c.ID, c.Region, c.Repository, c.Fetcher = whole.ID, whole.Region, whole.Repository, whole.Fetcher
			c.PayloadKeys, c.AVBKey, c.RollbackIndex = whole.PayloadKeys, whole.AVBKey, whole.RollbackIndex
		}
		e = New(c)
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		synctest.Wait()
		if calls != 1 || health != "healthy" {
			t.Errorf("Complete was called %d times, when health was %q; want once, when healthy", calls, health)
		}
		if err := e.Check(ctx); err != nil {
			t.Error(err)
		}
		if s, _ := e.Status(); s.State != Available || s.Update.Version != "2" {
			t.Errorf("status after a check is %+v", s)
		}
		cancel()
		<-done
	})
}
