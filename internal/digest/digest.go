// Package digest names files by their SHA-256.
package digest

import (
	"crypto/sha256"
	"io"
	"os"

	"mios"
)

// File returns the SHA-256 of the file at path.
func File(path string) (mios.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return mios.Digest{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return mios.Digest{}, err
	}
	return mios.Digest(h.Sum(nil)), nil
}
