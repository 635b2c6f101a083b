package apk_test

import (
	"path/filepath"
	"testing"

	"mios/internal/conformance"
)

// BenchmarkBadging opens real packages and reads all that they show of
// themselves, as mios app inspect does.
func BenchmarkBadging(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(conformance.Dir(b, "apps"), "*.apk"))
	if err != nil || len(files) == 0 {
		b.Fatal("no packages", err)
	}
	for _, path := range files {
		b.Run(filepath.Base(path), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
