package property

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"mios"
)

// maxProperties bounds the store.
const maxProperties = 16384

// A Store holds properties. The zero value is empty and ready.
type Store struct {
	// Changed, if set, is called after each successful set, in order, and
	// must not set properties itself. It is set before the first use.
	Changed func(name, value string)
	// Types restricts values. It is set before the first use.
	Types []Type

	setting    sync.Mutex        // held during a whole Set, so that Changed sees them in order
	persistent string            // path of the file, "" before OpenPersistent
	saved      map[string]string // what is in it

	mu     sync.Mutex
	values map[string]string
	waits  map[string]*wait
}

// A wait is closed when a name's value changes. It counts who uses it.
type wait struct {
	done  chan struct{}
	users int
}

// Get returns a property's value, "" if it is not set.
func (s *Store) Get(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name]
}

// List returns all properties in byte order of their names.
func (s *Store) List() []Property {
	s.mu.Lock()
	list := make([]Property, 0, len(s.values))
	for n, v := range s.values {
		list = append(list, Property{n, v})
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Set sets a property, by the rules of names, values, types and read-only
// names; who may do so is the caller's business ([MaySet]). A persist.
// property is on disk when Set returns, once [Store.OpenPersistent] was
// called. The error wraps [mios.ErrInvalid] or [mios.ErrDenied], unless the
// disk is at fault.
func (s *Store) Set(name, value string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := CheckValue(name, value); err != nil {
		return err
	}
	if t := typeOf(s.Types, name); !CheckType(t, value) {
		return fmt.Errorf("property %s: %w: %q is not of type %s", name, mios.ErrInvalid, value, t)
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	known := s.known(name)
	switch {
	case known && strings.HasPrefix(name, "ro."):
		return fmt.Errorf("property %s: %w: read-only and already set", name, mios.ErrDenied)
	case !known && s.count() >= maxProperties:
		return fmt.Errorf("property %s: %w: %d properties are set already", name, mios.ErrDenied, maxProperties)
	}
	if strings.HasPrefix(name, "persist.") {
		if err := s.save(name, value); err != nil {
			return fmt.Errorf("property %s: %w", name, err)
		}
	}
	s.put(name, value)
	if s.Changed != nil {
		s.Changed(name, value)
	}
	return nil
}

func (s *Store) known(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.values[name]
	return ok
}

func (s *Store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

// put stores the value and wakes who waits for it.
func (s *Store) put(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = make(map[string]string)
	}
	s.values[name] = value
	if w := s.waits[name]; w != nil {
		close(w.done)
		delete(s.waits, name)
	}
}

// Wait returns the property's value once it is value, or, where value is "",
// once it is not empty. The error is ctx's.
func (s *Store) Wait(ctx context.Context, name, value string) (string, error) {
	for {
		have, w := s.check(name, value)
		if w == nil {
			return have, nil
		}
		select {
		case <-w.done:
		case <-ctx.Done():
			s.leave(name, w)
			return "", ctx.Err()
		}
	}
}

// check returns the value if it is the one that is waited for, else what to
// wait on.
func (s *Store) check(name, value string) (string, *wait) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.values[name]
	if have != "" && (value == "" || have == value) {
		return have, nil
	}
	w := s.waits[name]
	if w == nil {
		w = &wait{done: make(chan struct{})}
		if s.waits == nil {
			s.waits = make(map[string]*wait)
		}
		s.waits[name] = w
	}
	w.users++
	return "", w
}

func (s *Store) leave(name string, w *wait) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.users--; w.users == 0 && s.waits[name] == w {
		delete(s.waits, name)
	}
}
