package fdroid_test

import (
	"testing"
	"time"

	"mios/storage/tree/dir"
)

// BenchmarkIndexes writes the indexes of 10,000 apps of two versions each, with
// the diffs from those before.
func BenchmarkIndexes(b *testing.B) {
	tr := dir.New(b.TempDir())
	c := config(b, tr)
	apps := some(10_000, 2)
	publish(b, c, apps...)
	b.ReportAllocs()
	n := 2
	for b.Loop() {
		n++
		apps[5000] = made(5000, n)
		c.Time = c.Time.Add(time.Minute)
		publish(b, c, apps...)
	}
}
