package main

import (
	"os"
	"path/filepath"
)

// emptied returns what removes the folder dir, and those above it, that are not
// there yet now, if they are empty then: a command that failed leaves nothing
// behind.
func emptied(dir string) func() {
	var missing []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); err == nil || d == filepath.Dir(d) {
			break
		}
		missing = append(missing, d)
	}
	return func() {
		for _, d := range missing {
			if os.Remove(d) != nil {
				return
			}
		}
	}
}
