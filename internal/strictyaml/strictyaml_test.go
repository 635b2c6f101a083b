package strictyaml

import (
	"errors"
	"strings"
	"testing"

	"mios"
)

func TestUnmarshal(t *testing.T) {
	type doc struct {
		Name string   `yaml:"name"`
		List []string `yaml:"list"`
	}
	var d doc
	if err := Unmarshal([]byte("name: a\nlist: [b, c]\n"), &d); err != nil || d.Name != "a" || len(d.List) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, tt := range []struct{ in, want string }{
		{"name: a\nother: b\n", "2:1: "},
		{"name: a\nname: b\n", "2:1: "},
		{"name: a\nlist: b\n", "2:7: "},
		{"name: a\nlist: !x\n", "2:7: "},
		{"name: &a b\nlist: [*a]\n", "1:7: "},
		{"name: [a\n", ":"},
	} {
		if err := Unmarshal([]byte(tt.in), new(doc)); !errors.Is(err, mios.ErrInvalid) || !strings.HasPrefix(err.Error(), tt.want) && tt.want != ":" {
			t.Errorf("%q: error %v, want one at %s", tt.in, err, tt.want)
		}
	}
}
