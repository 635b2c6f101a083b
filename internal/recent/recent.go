// Package recent keeps values by key in the order of their last use. It has no
// bound and no lock: whoever has a list says when the oldest has to go.
package recent

import "container/list"

// A List keeps values by key. The zero List is empty.
type List[K comparable, V any] struct {
	keys  map[K]*list.Element // of item[K, V]
	order list.List           // the last one used comes first
}

type item[K comparable, V any] struct {
	key   K
	value V
}

// Peek returns the value of a key; that is no use of it.
func (l *List[K, V]) Peek(key K) (value V, ok bool) {
	el, ok := l.keys[key]
	if !ok {
		return value, false
	}
	return el.Value.(item[K, V]).value, true
}

// Get returns the value of a key, which is the last one used then.
func (l *List[K, V]) Get(key K) (value V, ok bool) {
	el, ok := l.keys[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(el)
	return el.Value.(item[K, V]).value, true
}

// Put sets the value of a key, which is the last one used then.
func (l *List[K, V]) Put(key K, value V) {
	if el, ok := l.keys[key]; ok {
		el.Value = item[K, V]{key, value}
		l.order.MoveToFront(el)
		return
	}
	if l.keys == nil {
		l.keys = map[K]*list.Element{}
	}
	l.keys[key] = l.order.PushFront(item[K, V]{key, value})
}

// Oldest returns what was used the longest ago; ok is false if the list is
// empty.
func (l *List[K, V]) Oldest() (key K, value V, ok bool) {
	el := l.order.Back()
	if el == nil {
		return key, value, false
	}
	it := el.Value.(item[K, V])
	return it.key, it.value, true
}

// Delete takes a key out, if it is there.
func (l *List[K, V]) Delete(key K) {
	if el, ok := l.keys[key]; ok {
		l.order.Remove(el)
		delete(l.keys, key)
	}
}

// Len returns how many keys there are.
func (l *List[K, V]) Len() int { return len(l.keys) }
