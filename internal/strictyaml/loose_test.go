package strictyaml_test

import (
	"errors"
	"strings"
	"testing"

	"mios"
	"mios/internal/strictyaml"
)

func TestLoose(t *testing.T) {
	var v struct{ A []string }
	if err := strictyaml.Loose([]byte("b: 1\na: [x, 2.0]\n"), &v); err != nil || len(v.A) != 2 {
		t.Errorf("%v, %v", v, err)
	}
	for _, in := range []string{"a: &x [*x]\n", "a: !!binary x\n", "a: [\n", "a: &x {b: 1}\nc:\n  <<: *x\n", "a: {\n\t"} {
		if err := strictyaml.Loose([]byte(in), &v); !errors.Is(err, mios.ErrInvalid) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Loose(%q) = %v", in, err)
		}
	}
}
