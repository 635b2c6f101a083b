package repo

import "sync"

// A memory holds what was used last, up to max bytes twice: when it is full, what
// was not used since it was full before goes. Its methods may be called
// concurrently.
type memory[K comparable, V any] struct {
	max int64

	mu       sync.Mutex
	now, old map[K]remembered[V] // old are those that now had before it was full
	size     int64               // of now's
}

type remembered[V any] struct {
	v    V
	size int64
}

// get returns what is held by a key.
func (m *memory[K, V]) get(k K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.now[k]
	if !ok {
		if r, ok = m.old[k]; ok {
			m.keep(k, r)
		}
	}
	return r.v, ok
}

// put holds a value of so many bytes.
func (m *memory[K, V]) put(k K, v V, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(k, remembered[V]{v, size})
}

func (m *memory[K, V]) keep(k K, r remembered[V]) {
	if m.size += r.size - m.now[k].size; m.now == nil || m.size > m.max {
		m.now, m.old, m.size = map[K]remembered[V]{}, m.now, r.size
	}
	m.now[k] = r
}
