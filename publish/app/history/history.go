// Package history is an append-only list of what happened: who did what to
// what, when and why. Each event's hash covers the event before it, so that
// nobody can change, take out or insert one without breaking the chain from
// there on. It keeps nothing: package publish/app stores the events.
package history

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"mios"
)

// An Event is one change.
type Event struct {
	Seq     int64           `json:"seq"` // 1, 2 …, without a gap
	Time    time.Time       `json:"time"`
	Who     string          `json:"who"`
	What    string          `json:"what"`    // "release", "halt" …
	Package string          `json:"package"` // that it is about; "" is the store
	Why     string          `json:"why,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"` // what exactly
	Prev    mios.Digest     `json:"prev"`           // hash of the event before; zero at the first
	Hash    mios.Digest     `json:"hash"`
}

// Sum returns the hash of the event: SHA-256 of each field with its length
// before it, so that no two events have the same bytes.
func (e *Event) Sum() mios.Digest {
	h := sha256.New()
	h.Write(e.Prev[:])
	for _, s := range []string{
		fmt.Sprint(e.Seq), e.Time.UTC().Format(time.RFC3339Nano), e.Who, e.What, e.Package, e.Why, string(e.Data),
	} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return mios.Digest(h.Sum(nil))
}

// Follow makes e the event after prev, or the first if that is nil.
func (e *Event) Follow(prev *Event) {
	e.Seq, e.Prev = 1, mios.Digest{}
	if prev != nil {
		e.Seq, e.Prev = prev.Seq+1, prev.Hash
	}
	e.Hash = e.Sum()
}

// A BrokenError says where a chain breaks.
type BrokenError struct {
	Seq int64 // of the first event that is not as it was written
	Msg string
}

func (e *BrokenError) Error() string { return fmt.Sprintf("history: event %d: %s", e.Seq, e.Msg) }

// Unwrap returns [mios.ErrInvalid].
func (e *BrokenError) Unwrap() error { return mios.ErrInvalid }

// Verify reads all events from the first on and returns the last, or nil if
// there are none. The error of a chain that breaks is a [*BrokenError].
func Verify(events iter.Seq2[*Event, error]) (*Event, error) {
	var prev *Event
	for e, err := range events {
		if err != nil {
			return nil, err
		}
		want := Event{Seq: 1}
		if prev != nil {
			want = Event{Seq: prev.Seq + 1, Prev: prev.Hash}
		}
		switch {
		case e.Seq != want.Seq:
			return nil, &BrokenError{want.Seq, fmt.Sprintf("it is missing: the next one is %d", e.Seq)}
		case e.Hash != e.Sum():
			return nil, &BrokenError{e.Seq, "it was changed: its hash is of something else"}
		case e.Prev != want.Prev:
			return nil, &BrokenError{e.Seq, "it does not follow the event before it, which was changed or replaced"}
		}
		prev = e
	}
	return prev, nil
}
