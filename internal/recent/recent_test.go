package recent

import (
	"slices"
	"testing"
)

// TestList uses keys in an order, and takes the oldest until none is left.
func TestList(t *testing.T) {
	var l List[string, int]
	if _, _, ok := l.Oldest(); ok || l.Len() != 0 {
		t.Errorf("the zero List is not empty")
	}
	if _, ok := l.Get("a"); ok {
		t.Errorf("Get finds a key that is not there")
	}
	l.Delete("a")
	for i, key := range []string{"a", "b", "c", "d"} {
		l.Put(key, i)
	}
	if v, ok := l.Peek("a"); v != 0 || !ok {
		t.Errorf("Peek(a) = %d, %v, want 0, true", v, ok)
	}
	if v, ok := l.Get("b"); v != 1 || !ok {
		t.Errorf("Get(b) = %d, %v, want 1, true", v, ok)
	}
	l.Put("c", 20)
	l.Delete("d")
	if _, ok := l.Peek("d"); ok || l.Len() != 3 {
		t.Errorf("after Delete(d): it is there: %v, %d keys, want 3", ok, l.Len())
	}
	var keys []string
	var values []int
	for key, v, ok := l.Oldest(); ok; key, v, ok = l.Oldest() {
		keys, values = append(keys, key), append(values, v)
		l.Delete(key)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(keys, want) {
		t.Errorf("oldest first: %q, want %q", keys, want)
	}
	if want := []int{0, 1, 20}; !slices.Equal(values, want) {
		t.Errorf("values: %d, want %d", values, want)
	}
}
