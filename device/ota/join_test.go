package ota

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"mios"
)

// gated is a mirror that answers once its gate is open.
type gated struct {
	Fetcher
	gate chan struct{}
}

func (g gated) Open(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	<-g.gate
	return g.Fetcher.Open(ctx, path, off, n)
}

// TestUpdateJoins asks for an update while the engine is at one of its own
// accord: the person gets that one, not a refusal.
func TestUpdateJoins(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.device.Update.AutoReboot = false
		ctx, cancel := context.WithCancel(t.Context())
		cfg := w.config(w.load(), &fakeProps{w: w, reboot: func() {}})
		gate := make(chan struct{})
		cfg.Fetcher = gated{cfg.Fetcher, gate}
		e := New(cfg)
		done, updated := make(chan error, 1), make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		synctest.Wait()
		if s, _ := e.Status(); !s.State.moving() {
			t.Errorf("state %s, want one of an update under way", s.State)
		}
		if err := e.Check(ctx); !errors.Is(err, mios.ErrConflict) {
			t.Errorf("Check = %v, want a conflict", err)
		}
		go func() { updated <- e.Update(ctx) }()
		synctest.Wait()
		close(gate)
		if err := <-updated; err != nil {
			t.Errorf("Update = %v", err)
		}
		if s, _ := e.Status(); s.State != NeedReboot {
			t.Errorf("state %s, want %s", s.State, NeedReboot)
		}
		if err := e.Update(ctx); !errors.Is(err, mios.ErrConflict) {
			t.Errorf("Update once more = %v, want a conflict", err)
		}
		cancel()
		<-done
	})
}
