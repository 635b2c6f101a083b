package ota

import (
	"context"
	"slices"
	"time"

	"mios"
)

// A Status is what the engine tells of itself.
type Status struct {
	State     State  `json:"state"`
	Version   string `json:"version"`    // that runs
	BuildTime int64  `json:"build_time"` // of what runs
	Slot      string `json:"slot"`       // that runs
	Health    string `json:"health"`     // checking, healthy, or failed: REASON
	// Update is the release that was found or is being installed, if there is one.
	Update *Progress `json:"update,omitempty"`
	// Error is why the last attempt failed, in one sentence; empty if it did not.
	Error     string    `json:"error,omitempty"`
	Bad       []Bad     `json:"bad,omitempty"` // releases that are not tried again
	LastCheck time.Time `json:"last_check,omitzero"`

	looked bool // for a release, since the boot
}

// Progress is how far an update is.
type Progress struct {
	Version   string      `json:"version"`
	BuildTime int64       `json:"build_time"`
	Digest    mios.Digest `json:"digest"` // of the payload
	Slot      string      `json:"slot"`   // that it is written to
	Done      int64       `json:"done"`   // bytes of Total that have been applied
	Total     int64       `json:"total"`  // bytes of what is fetched
	// Notes are what the vendor says is new, the first 4 KiB of it.
	Notes string `json:"notes,omitempty"`
	// Way is how the device comes to the release, once that is known, and Why it
	// is that one.
	Way Way    `json:"way,omitempty"`
	Why string `json:"why,omitempty"`
	// Spent is how many bytes were fetched for it, by whatever way.
	Spent int64 `json:"spent,omitempty"`
}

// Status returns what the engine is at, and a channel that is closed when that
// changes.
func (e *Engine) Status() (Status, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	if s.Update != nil {
		p := *s.Update
		s.Update = &p
	}
	return s, e.changed
}

// Follow calls f with the status now and whenever it changes, until ctx ends or
// f returns false.
func (e *Engine) Follow(ctx context.Context, f func(Status) bool) error {
	for {
		s, changed := e.Status()
		if !f(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// show changes the status; what follows from the record is brought up to date.
// Only Run's goroutine may call it.
func (e *Engine) show(change func(*Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if in := e.rec.Install; in != nil {
		e.status.Update = &Progress{
			Version: in.Version, BuildTime: in.BuildTime, Digest: in.Digest, Slot: in.Slot, Done: max(in.reached, in.Checkpoint.Offset), Total: in.Size,
			Way: in.way(), Why: in.Why, Spent: in.Spent, Notes: in.Notes,
		}
	}
	e.status.Bad, e.status.LastCheck = slices.Clone(e.rec.Bad), e.rec.LastCheck
	change(&e.status)
	close(e.changed)
	e.changed = make(chan struct{})
}
