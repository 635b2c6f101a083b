// Package conformance finds the vectors that other people's tools made, for
// tests.
package conformance

import (
	"errors"
	"fmt"
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
		line := fmt.Sprintf("conformance %s: %d/%d", what, c.passed, c.total)
		tb.Log(line)
		if err := record(line); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// record appends a line to the file that MIOS_TALLY names, if it does: go test
// shows logs of failed tests only.
func record(line string) error {
	path := os.Getenv("MIOS_TALLY")
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

// Case counts one case.
func (c *Tally) Case(ok bool) {
	c.total++
	if ok {
		c.passed++
	}
}
