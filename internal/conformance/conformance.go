// Package conformance finds the vectors that other people's tools made, for
// tests.
package conformance

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder of a set of vectors, such as "avb". Without
// MIOS_CONFORMANCE in the environment the test is skipped by name; with it, a
// missing or empty folder is a failure.
func Dir(tb testing.TB, set string) string {
	tb.Helper()
	root := os.Getenv("MIOS_CONFORMANCE")
	if root == "" {
		tb.Skipf("conformance vectors %q: MIOS_CONFORMANCE is not set", set)
	}
	dir := filepath.Join(root, set)
	names, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatalf("conformance vectors: %v", err)
	}
	if len(names) == 0 {
		tb.Fatalf("conformance vectors: %s is empty", dir)
	}
	return dir
}

// Tally counts outcomes, and prints passed/total when the test ends. A set
// with no case is a failure.
type Tally struct{ passed, total int }

// New returns a tally for the set under the name what.
func New(tb testing.TB, what string) *Tally {
	c := new(Tally)
	tb.Cleanup(func() {
		tb.Helper()
		if c.total == 0 && !tb.Skipped() {
			tb.Errorf("conformance %s: no cases", what)
		}
		tb.Logf("conformance %s: %d/%d", what, c.passed, c.total)
	})
	return c
}

// Case counts one case.
func (c *Tally) Case(ok bool) {
	c.total++
	if ok {
		c.passed++
	}
}
