package strictyaml_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mios"
	"mios/internal/strictyaml"
)

// laughs is a document of some lines whose last list has n^depth values once
// everything is written out.
func laughs(n, depth int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "l0: &l0 [%s]\n", strings.TrimSuffix(strings.Repeat("lol,", n), ","))
	for i := 1; i < depth; i++ {
		fmt.Fprintf(&b, "l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d,", i-1), n), ","))
	}
	return b.String()
}

// TestHostile reads what is made to end the program, or to fill its memory: both
// readers refuse it, where it stands.
func TestHostile(t *testing.T) {
	deep := 20_000
	var indented strings.Builder
	for i := range 300 {
		fmt.Fprintf(&indented, "%sa:\n", strings.Repeat(" ", i))
	}
	for name, in := range map[string]string{
		"itself in a list": "a: &x [*x]\n", "itself in a map": "a: &x {b: *x}\n", "itself in a block": "a: &x\n  - *x\n", "the document itself": "&x\n- *x\n",
		"two of each other": "a: &x [&y [*x, *y]]\n", "merged with itself": "a: &x\n  <<: *x\n", "a key of itself": "&x {*x : 1}\n", "an alias of nothing": "a: *x\n",
		"a billion laughs": laughs(10, 9), "merges of merges": "a: &a {k: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n",
		"a tag": "a: !!binary x\n", "lists in lists": strings.Repeat("[", deep), "maps in maps": strings.Repeat("{a: ", deep), "pairs in lists": strings.Repeat("[a: ", deep),
		"lists in lists, closed": strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"entries in entries":     strings.Repeat("- ", deep) + "a", "keys in keys": strings.Repeat("? ", deep) + "a", "both": strings.Repeat("- ? ", deep) + "a",
		"blocks in blocks": indented.String(), "much": strings.Repeat("# more\n", 1<<18),
	} {
		for which, read := range map[string]func([]byte, any) error{"Unmarshal": strictyaml.Unmarshal, "Loose": strictyaml.Loose} {
			for _, v := range []any{new(any), new(map[string]any), &struct{ A []string }{}} {
				err := read([]byte(in), v)
				if !errors.Is(err, mios.ErrInvalid) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
					t.Errorf("%s: %s into %T = %v", name, which, v, err)
				}
			}
		}
	}
}

// TestNested: what people write is not too deep.
func TestNested(t *testing.T) {
	in := "# about\nlist:\n  - name: a\n    more: [{a: 1}, [2, '[[[[[[']]\n  - - - x\n    - |\n      {{{{{\n      [[[[[\n  - \"&x *y !z\"\nother: {a: {b: {c: [d]}}}\n"
	var v map[string]any
	if err := strictyaml.Unmarshal([]byte(in), &v); err != nil || len(v) != 2 {
		t.Errorf("%v, %v", v, err)
	}
	long := strings.Repeat("- a: [1, 2]\n  b: {c: d}\n", 2000)
	var list []any
	if err := strictyaml.Unmarshal([]byte(long), &list); err != nil || len(list) != 2000 {
		t.Errorf("%d entries, %v", len(list), err)
	}
}

// FuzzGuard: nothing ends the program.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"a: &x [*x]\n", laughs(3, 3), "- - - a\n", "? [a: {b: c}]\n: d\n", "a: |\n  b\n", "[[", "- ? - ? a", "a: !!map {b: 1}\n", "\tb", "--- a\n--- b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var v any
		if err := strictyaml.Unmarshal(in, &v); err != nil && !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Unmarshal(%q) = %v", in, err)
		}
		if err := strictyaml.Loose(in, &v); err != nil && !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Loose(%q) = %v", in, err)
		}
	})
}
