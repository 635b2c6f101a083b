package ota

import (
	"errors"
	"io"
	"slices"
	"time"

	"mios"
)

// An Absence is a way whose files no mirror had when they were asked for. The
// way is tried again later: files come back, which a way that does not fit
// never does.
type Absence struct {
	Why   string    `json:"why"`
	Times int       `json:"times"` // that it was asked for in vain
	Again time.Time `json:"again"` // not before
}

// An awayError is what a mirror says that has no such file, or does not give it.
type awayError struct{ error }

func (e awayError) Unwrap() error { return e.error }

// away marks the errors of mirrors that say so.
func away(err error) error {
	if errors.Is(err, mios.ErrNotFound) || errors.Is(err, mios.ErrDenied) {
		return awayError{err}
	}
	return err
}

func isAway(err error) bool { return errors.As(err, new(awayError)) }

// An awayBody marks the errors of a download that goes on at another mirror.
type awayBody struct{ io.ReadCloser }

func (b awayBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, away(err)
}

// absent notes that a way cannot be gone now; the wait until it is tried again
// doubles each time.
func (j *job) absent(w Way, err error) {
	in := j.rec.Install
	if in.Away == nil {
		in.Away = map[Way]Absence{}
	}
	a := in.Away[w]
	a.Why, a.Times = sentence(err), a.Times+1
	a.Again = j.cfg.Now().Add(min(firstRetry<<min(a.Times, 10), lastRetry)).UTC()
	in.Away[w] = a
	j.log.Warn("no mirror has what this way needs now", "way", w, "again", a.Again, "err", err)
}

// isOpen tells whether a way may be tried.
func (j *job) isOpen(w Way) bool {
	in := j.rec.Install
	a, gone := in.Away[w]
	return in.Failed[w] == "" && (!gone || !j.cfg.Now().Before(a.Again))
}

// weigh tells whether the ways are to be compared again before an update goes
// on: with its first attempt after a start, when one that was away is to be tried
// again, and when the rest of its own may not be fetched. What is in the slot by
// now is free.
func (j *job) weigh() bool {
	in := j.rec.Install
	switch {
	case j.rec.State != Downloading || in.Checkpoint.Finished:
		return false
	case j.weighed != j.rel.Target.SHA256 || j.affordable() != nil || !j.isOpen(in.way()):
		return true
	}
	return slices.ContainsFunc([]Way{Delta, Adaptive, Full}, func(w Way) bool {
		_, gone := in.Away[w]
		return gone && w != in.way() && j.isOpen(w)
	})
}
