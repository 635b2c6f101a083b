package lazyregexp

import "testing"

func TestRegexp(t *testing.T) {
	r := New(`^a(b+)$`)
	if !r.MatchString("abb") || r.Match([]byte("a")) {
		t.Error("want abb to match, and a not to")
	}
	if m := r.FindStringSubmatch("abb"); len(m) != 2 || m[1] != "bb" {
		t.Errorf("FindStringSubmatch = %q", m)
	}
	if got := New("b+").FindString("abbc"); got != "bb" {
		t.Errorf("FindString = %q", got)
	}
	if got := r.ReplaceAllString("ab", "c$1"); got != "cb" {
		t.Errorf("ReplaceAllString = %q", got)
	}
	wrong := New("(") // must not panic before it is used
	defer func() {
		if recover() == nil {
			t.Error("an expression that is wrong was used, want a panic")
		}
	}()
	wrong.MatchString("")
}
