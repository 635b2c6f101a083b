package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"mios"
	"mios/publish/app/history"
	"mios/storage/record"
)

// The kinds of work that a change leaves in the outbox, done in this order.
const (
	workTree   = "tree"   // devices see another state of a package
	workFDroid = "fdroid" // and so do F-Droid's clients
	workDelta  = "delta"  // a package may want deltas
)

// A change is one transaction: rows, the events that tell of them, and the
// outbox rows for what follows.
type change struct {
	*record.Tx
	who   string
	at    time.Time
	last  *history.Event // nil before the first one
	count int64          // of submissions ever
	woken bool
}

// change runs f in a transaction. f may run several times.
func (s *Store) change(ctx context.Context, who string, f func(c *change) error) error {
	if err := plain("name of who does it", who, maxWho); err != nil {
		return err
	}
	if who == "" {
		return fmt.Errorf("store: nobody does it: %w: say who", mios.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var woken bool
	var own error // of f, or nil
	err := s.cfg.DB.Tx(ctx, func(tx *record.Tx) error {
		c := &change{Tx: tx, who: who, at: s.now()}
		if err := c.begin(); err != nil {
			return err
		}
		own = f(c)
		woken = c.woken
		return own
	})
	if errors.Is(err, mios.ErrConflict) && !errors.Is(err, own) {
		return fmt.Errorf("store: %v", err) // the database was busy: that refuses nothing
	}
	if err == nil && woken {
		signal(s.wake)
	}
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// begin takes the head, which all changes write, so that they come one after
// the other.
func (c *change) begin() error {
	if _, err := c.Exec(`UPDATE store_head SET id = 1 WHERE id = 1`); err != nil {
		return err
	}
	var seq int64
	var hash string
	if err := c.QueryRow(`SELECT event, hash, submission FROM store_head WHERE id = 1`).Scan(&seq, &hash, &c.count); err != nil {
		return err
	}
	if seq == 0 {
		return nil
	}
	c.last = &history.Event{Seq: seq}
	return c.last.Hash.UnmarshalText([]byte(hash))
}

// event adds to the history what was done to a package, and why; data says what
// exactly.
func (c *change) event(what, pkg, why string, data any) error {
	if err := plain("reason", why, maxWhy); err != nil {
		return err
	}
	e := &history.Event{Time: c.at, Who: c.who, What: what, Package: pkg, Why: why}
	if data != nil {
		b, err := json.Marshal(data)
		if err != nil {
			return err
		}
		e.Data = b
	}
	e.Follow(c.last)
	c.last = e
	if _, err := c.Exec(`INSERT INTO store_events (seq, time, who, what, package, why, data, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Seq, e.Time.Unix(), e.Who, e.What, e.Package, e.Why, string(e.Data), e.Prev, e.Hash); err != nil {
		return err
	}
	_, err := c.Exec(`UPDATE store_head SET event = ?, hash = ? WHERE id = 1`, e.Seq, e.Hash)
	return err
}

// later puts work into the outbox. It comes after the event that is the reason.
func (c *change) later(kind, pkg string) error {
	c.woken = true
	var revision int64
	if c.last != nil {
		revision = c.last.Seq
	}
	return enqueue(c.Tx, kind, pkg, revision)
}

func enqueue(tx *record.Tx, kind, pkg string, revision int64) error {
	_, err := tx.Exec(`INSERT INTO store_outbox (kind, package, revision) VALUES (?, ?, ?)
		ON CONFLICT (kind, package) DO UPDATE SET revision = excluded.revision`, kind, pkg, revision)
	return err
}

// History verifies the whole history and returns a package's events, or all
// with "". The error of a chain that breaks is a [*history.BrokenError]; the
// events before the break come with it.
func (s *Store) History(ctx context.Context, pkg string) ([]history.Event, error) {
	var list []history.Event
	head, err := s.audit(ctx, func() func(*history.Event) {
		list = []history.Event{}
		return func(e *history.Event) {
			if pkg == "" || e.Package == pkg {
				list = append(list, *e)
			}
		}
	})
	if err == nil && pkg != "" && len(list) == 0 {
		err = fmt.Errorf("package %s: it has no history: %w (%d events of others are there)", pkg, mios.ErrNotFound, head.Seq)
	}
	return list, err
}

// An Audit is what [Store.Audit] found.
type Audit struct {
	Events int64       `json:"events"`
	Head   mios.Digest `json:"head"` // the newest event's hash: whoever keeps it can show later that nothing before it was changed
}

// Audit verifies the whole history. With a head that an earlier audit gave, it
// must still be part of it. The error of a chain that breaks is a
// [*history.BrokenError].
func (s *Store) Audit(ctx context.Context, earlier mios.Digest) (*Audit, error) {
	var found bool
	head, err := s.audit(ctx, func() func(*history.Event) {
		found = earlier == mios.Digest{}
		return func(e *history.Event) { found = found || e.Hash == earlier }
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("history: no event has the hash %s that it had once: %w: events were taken out or replaced since", earlier, mios.ErrInvalid)
	}
	return &Audit{Events: head.Seq, Head: head.Hash}, nil
}

// audit verifies the chain up to the head, and shows each event that is right to
// what begin returns, which is called for each try.
func (s *Store) audit(ctx context.Context, begin func() func(*history.Event)) (*history.Event, error) {
	var last *history.Event
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		last = new(history.Event)
		f := begin()
		var head history.Event
		var hash string
		if err := tx.QueryRow(`SELECT event, hash FROM store_head WHERE id = 1`).Scan(&head.Seq, &hash); err != nil {
			return err
		}
		e, err := history.Verify(func(yield func(*history.Event, error) bool) {
			for e, err := range events(tx) {
				if !yield(e, err) {
					return
				}
				if err == nil {
					f(e)
				}
			}
		})
		if err != nil {
			return err
		}
		if e != nil {
			last = e
		}
		if last.Seq != head.Seq || last.Seq > 0 && last.Hash.String() != hash {
			return &history.BrokenError{Seq: last.Seq + 1, Msg: fmt.Sprintf("the history ends before it, and event %d was written", head.Seq)}
		}
		return nil
	})
	return last, err
}

// events reads the history from its beginning.
func events(tx *record.Tx) iter.Seq2[*history.Event, error] {
	return func(yield func(*history.Event, error) bool) {
		rows, err := tx.Query(`SELECT seq, time, who, what, package, why, data, prev, hash FROM store_events ORDER BY seq`)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			e := new(history.Event)
			var at int64
			var data, prev, hash string
			err := rows.Scan(&e.Seq, &at, &e.Who, &e.What, &e.Package, &e.Why, &data, &prev, &hash)
			if err == nil {
				err = e.Prev.UnmarshalText([]byte(prev))
			}
			if err == nil {
				err = e.Hash.UnmarshalText([]byte(hash))
			}
			if errors.Is(err, mios.ErrInvalid) {
				err = &history.BrokenError{Seq: e.Seq, Msg: "its hashes cannot be read"}
			}
			e.Time = time.Unix(at, 0).UTC()
			if data != "" {
				e.Data = json.RawMessage(data)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}
