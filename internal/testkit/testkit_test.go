package testkit_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"mios/internal/testkit"
)

func TestBuffer(t *testing.T) {
	var b testkit.Buffer
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 100 {
				fmt.Fprintf(&b, "line of %d\n", i)
			}
		})
	}
	b.Wait(t, "line of 3\n")
	wg.Wait()
	if n := strings.Count(b.String(), "\n"); n != 400 {
		t.Errorf("%d lines, want 400", n)
	}
}

func TestRSA(t *testing.T) {
	first := testkit.RSA(0)
	if again := testkit.RSA(0); again != first || first.Equal(testkit.RSA(1)) {
		t.Error("the first key is not always the same one, or it is the second one")
	}
}
