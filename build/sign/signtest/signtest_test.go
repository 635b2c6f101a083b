package signtest_test

import (
	"os"
	"testing"

	"mios/build/sign/signtest"
)

func TestX(t *testing.T) {
	x := signtest.New(t, signtest.Options{})
	z := x.Zip(t)
	if d := os.Getenv("KEEP"); d != "" {
		os.RemoveAll(d)
		if err := os.Rename(x.Dir, d); err != nil {
			t.Fatal(err)
		}
		os.Rename(z, d+".zip")
	}
}
