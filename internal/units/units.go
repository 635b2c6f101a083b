// Package units writes numbers of bytes for people, in powers of 1024, as
// memory and partitions come. Files and downloads are in powers of 1000: see
// package progress.
package units

import "fmt"

// Binary is a size in the unit of which it has at least ten: "9000 bytes",
// "64.0 KiB", "512.0 MiB".
func Binary(n int64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	f := float64(n) / (1 << 10)
	for _, unit := range []string{"KiB", "MiB"} {
		if f < 10<<10 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1 << 10
	}
	return fmt.Sprintf("%.1f GiB", f)
}

// Exact is a size without rounding, in KiB if it is a whole number of them, as
// alignments are: "16 KiB", "4097 bytes".
func Exact(n int64) string {
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
