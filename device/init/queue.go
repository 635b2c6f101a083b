package initd

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mios/format/initrc"
)

// slow is from how long on a command is worth a line in the log, AOSP's.
const slow = 50 * time.Millisecond

// An event is what actions wait for: a trigger, a property that was set, or,
// with neither, the moment from which on properties trigger actions.
type event struct {
	trigger     string
	name, value string
}

// A queue runs actions, one command after the other, in the order of the
// events that triggered them. AOSP's is ActionManager (action_manager.cpp).
type queue struct {
	log *slog.Logger
	get func(name string) string
	// run does a command.
	run func(ctx context.Context, c initrc.Command) error

	mu         sync.Mutex
	actions    []initrc.Action
	watched    map[string]bool // properties that some action names
	events     []event
	properties bool // set properties are events
	grown      chan struct{}
}

// add adds actions behind those that there are.
func (q *queue) add(actions []initrc.Action) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.watched == nil {
		q.watched = make(map[string]bool)
	}
	for _, a := range actions {
		for _, c := range a.Conditions {
			q.watched[c.Name] = true
		}
	}
	q.actions = append(q.actions, actions...)
}

// trigger queues an event.
func (q *queue) trigger(name string) { q.push(event{trigger: name}) }

// changed queues the event that a property was set.
func (q *queue) changed(name, value string) {
	q.mu.Lock()
	wanted := q.properties && q.watched[name]
	q.mu.Unlock()
	if wanted {
		q.push(event{name: name, value: value})
	}
}

func (q *queue) push(e event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, e)
	if q.grown != nil {
		close(q.grown)
		q.grown = nil
	}
}

// drop forgets the events that have not come up yet.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = nil
}

// next returns the next event. Without wait it returns false where it would
// have to wait for one.
func (q *queue) next(ctx context.Context, wait bool) (event, bool) {
	for {
		q.mu.Lock()
		if len(q.events) > 0 {
			e := q.events[0]
			q.events = q.events[1:]
			q.mu.Unlock()
			return e, true
		}
		if q.grown == nil {
			q.grown = make(chan struct{})
		}
		grown := q.grown
		q.mu.Unlock()
		if !wait {
			return event{}, false
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return event{}, false
		}
	}
}

// loop runs what events trigger until ctx ends or, without wait, until there
// are no more.
func (q *queue) loop(ctx context.Context, wait bool) {
	for ctx.Err() == nil {
		e, ok := q.next(ctx, wait)
		if !ok {
			return
		}
		for _, a := range q.matching(e) {
			q.execute(ctx, a)
		}
	}
}

// matching returns the actions that the event triggers.
func (q *queue) matching(e event) []initrc.Action {
	q.mu.Lock()
	actions := q.actions
	if e == (event{}) {
		q.properties = true
	}
	q.mu.Unlock()
	var list []initrc.Action
	for _, a := range actions {
		if a.Event == e.trigger && q.holds(a.Conditions, e) {
			list = append(list, a)
		}
	}
	return list
}

// holds tells whether the conditions are met; if the event is a property that
// was set, it must be among them, with the value that it had then.
func (q *queue) holds(conditions []initrc.Condition, e event) bool {
	if e.name != "" && !slices.ContainsFunc(conditions, func(c initrc.Condition) bool { return c.Name == e.name }) {
		return false
	}
	for _, c := range conditions {
		value := e.value
		if c.Name != e.name {
			value = q.get(c.Name)
		}
		if !c.Holds(value) {
			return false
		}
	}
	return true
}

// execute runs the commands of an action. One that fails does not keep the
// others from being run.
func (q *queue) execute(ctx context.Context, a initrc.Action) {
	for _, c := range a.Commands {
		if ctx.Err() != nil {
			return
		}
		start := time.Now()
		err := q.run(ctx, c)
		took := time.Since(start).Round(time.Millisecond)
		log := q.log.With("command", c.String(), "action", a.Trigger(), "at", location(a.File, c.Line))
		switch {
		case err != nil:
			log.Error("command failed", "err", err, "took", took)
		case took >= slow:
			log.Info("command done", "took", took)
		}
	}
}
