// Package mios holds the nouns and the error kinds that the rest of miOS
// shares. It does no I/O.
package mios

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// The kinds of error that a caller may act on. Wrap them with what happened to
// what; every other error is internal: logged for the operator, not shown to
// a client.
var (
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("invalid")
	ErrDenied   = errors.New("denied")
	ErrConflict = errors.New("conflict")
)

// A Digest is the SHA-256 of some bytes, and their name everywhere in miOS.
type Digest [sha256.Size]byte

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest is the inverse of [Digest.String].
func ParseDigest(s string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("digest %q: %w", s, ErrInvalid)
	}
	return Digest(b), nil
}

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Digest) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDigest(string(b))
	return err
}

// An Arch is a processor architecture under the name that Go gives it.
type Arch string

// The architectures that products are built for.
const (
	AMD64 Arch = "amd64"
	ARM64 Arch = "arm64"
)

// ABI returns the name that Android gives the architecture, as in an APK's
// lib/ folder, or "" if miOS is not built for it.
func (a Arch) ABI() string {
	switch a {
	case AMD64:
		return "x86_64"
	case ARM64:
		return "arm64-v8a"
	}
	return ""
}
