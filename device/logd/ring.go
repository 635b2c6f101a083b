package logd

import (
	"context"
	"sync"
)

// entryCost is what an entry takes beside its texts, about.
const entryCost = 128

// A Ring holds the newest entries, as many as fit into its size.
type Ring struct {
	limit int

	mu      sync.Mutex
	entries []Entry // a queue in a circle
	head, n int     // where it starts, how many it has
	first   uint64  // number of the first
	bytes   int
	grown   chan struct{} // closed at the next entry; nil while nobody waits

	settling settling
}

// NewRing returns a ring that takes about limit bytes.
func NewRing(limit int) *Ring {
	return &Ring{limit: limit, entries: make([]Entry, 64)}
}

func cost(e *Entry) int { return len(e.Tag) + len(e.Message) + entryCost }

// Append adds an entry and drops the oldest ones that no longer fit. It never
// waits.
func (r *Ring) Append(e Entry) {
	e.Tag, e.Message = clip(e.Tag, maxTag), clip(e.Message, MaxMessage)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += cost(&e)
	for r.n > 0 && r.bytes > r.limit {
		r.drop()
	}
	if r.n == len(r.entries) {
		next := make([]Entry, 2*r.n)
		for i := range r.n {
			next[i] = *r.at(i)
		}
		r.entries, r.head = next, 0
	}
	r.n++
	*r.at(r.n - 1) = e
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}

func (r *Ring) at(i int) *Entry { return &r.entries[(r.head+i)%len(r.entries)] }

// drop removes the oldest entry.
func (r *Ring) drop() {
	e := r.at(0)
	r.bytes -= cost(e)
	*e = Entry{}
	r.head = (r.head + 1) % len(r.entries)
	r.first++
	r.n--
}

// Clear removes the entries that match.
func (r *Ring) Clear(match func(*Entry) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := 0
	for i := range r.n {
		e := *r.at(i)
		if match(&e) {
			r.bytes -= cost(&e)
			continue
		}
		*r.at(kept) = e
		kept++
	}
	for i := kept; i < r.n; i++ {
		*r.at(i) = Entry{}
	}
	// Readers count from the end: what is left keeps the highest numbers.
	r.first += uint64(r.n - kept)
	r.n = kept
}

// From returns up to max entries from number seq on, and the number to go on
// with. A seq that has been dropped means the oldest that is left.
func (r *Ring) From(seq uint64, max int) (list []Entry, next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq = min(seq, r.first+uint64(r.n))
	i := 0
	if seq > r.first {
		i = int(seq - r.first)
	}
	end := min(i+max, r.n)
	list = make([]Entry, 0, end-i)
	for ; i < end; i++ {
		list = append(list, *r.at(i))
	}
	return list, r.first + uint64(end)
}

// Tail returns the number of the first of the newest max entries that match.
func (r *Ring) Tail(max int, match func(*Entry) bool) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.n
	for i > 0 && max > 0 {
		i--
		if match(r.at(i)) {
			max--
		}
	}
	return r.first + uint64(i)
}

// Wait returns once there is an entry with the number seq. The error is ctx's.
func (r *Ring) Wait(ctx context.Context, seq uint64) error {
	for {
		r.mu.Lock()
		if r.first+uint64(r.n) > seq {
			r.mu.Unlock()
			return nil
		}
		if r.grown == nil {
			r.grown = make(chan struct{})
		}
		grown := r.grown
		r.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
