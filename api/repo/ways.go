package repo

import (
	"fmt"
	"path"
	"strings"

	"mios"
	"mios/format/chunks"
)

// MaxDeltas is how many deltas a release may have.
const MaxDeltas = 100

// A Delta is a payload for the devices that run one build: what they have is
// what it was made from.
type Delta struct {
	Target Target `json:"target"`
	// From is the SHA-256 of the first FromSize bytes of the vbmeta partition of
	// the build that it is for, which say what all others hold.
	From     mios.Digest `json:"from"`
	FromSize int64       `json:"from_size"`
	// FromVersion is for people.
	FromVersion string `json:"from_version,omitempty"`
}

// Adaptive is a release as chunks, for devices that run any build: see
// mios/format/chunks.
type Adaptive struct {
	Index Target `json:"index"`
	Pack  Target `json:"pack"`
	// Root is the SHA-256 of the index's first RootSize bytes, which have the
	// hashes of all the rest.
	Root     mios.Digest `json:"root"`
	RootSize int64       `json:"root_size"`
}

// DeltaFile is the name, beside the release's payload, of a delta for the devices
// whose vbmeta has that SHA-256.
func DeltaFile(from mios.Digest) string { return fmt.Sprintf("delta-%.12s.bin", from) }

// checkWays says what is wrong with a release's deltas and chunks.
func (r *OSRelease) checkWays() error {
	dir := path.Dir(r.Target.Path)
	if len(r.Deltas) > MaxDeltas {
		return fmt.Errorf("os release %s: %d deltas: %w: at most %d", r.Version, len(r.Deltas), mios.ErrInvalid, MaxDeltas)
	}
	for i := range r.Deltas {
		d := &r.Deltas[i]
		switch {
		case d.Target.Path != path.Join(dir, DeltaFile(d.From)):
			return fmt.Errorf("os release %s: delta at %q: %w: want %s", r.Version, d.Target.Path, mios.ErrInvalid, path.Join(dir, DeltaFile(d.From)))
		case d.Target.Length <= 0 || d.FromSize <= 0 || d.FromSize > 1<<20:
			return fmt.Errorf("os release %s: delta of %d bytes from a vbmeta of %d: %w", r.Version, d.Target.Length, d.FromSize, mios.ErrInvalid)
		}
	}
	if a := r.Adaptive; a != nil {
		switch {
		case a.Index.Path != path.Join(dir, chunks.IndexFile) || a.Pack.Path != path.Join(dir, chunks.PackFile):
			return fmt.Errorf("os release %s: chunks in %q and %q: %w: want them in %s", r.Version, a.Index.Path, a.Pack.Path, mios.ErrInvalid, dir)
		case a.RootSize <= 0 || a.RootSize > a.Index.Length || a.RootSize > MaxMetadata || a.Pack.Length < 0:
			return fmt.Errorf("os release %s: index of %d bytes with a root of %d: %w", r.Version, a.Index.Length, a.RootSize, mios.ErrInvalid)
		}
	}
	return nil
}

// Ways says for people by what a device can come to the release.
func (r *OSRelease) Ways() string {
	ways := []string{"full"}
	if r.Adaptive != nil {
		ways = append(ways, "adaptive")
	}
	switch n := len(r.Deltas); n {
	case 0:
	case 1:
		ways = append(ways, "1 delta")
	default:
		ways = append(ways, fmt.Sprintf("%d deltas", n))
	}
	return strings.Join(ways, ", ")
}
