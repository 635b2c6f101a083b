// Package apksig verifies and makes signatures of Android packages: APK
// Signature Scheme v2 and v3, for platform versions from 24 (Android 7.0) on.
package apksig

import (
	"context"
	"crypto"
	"errors"
	"io"

	"mios"
	"mios/format/apk"
)

// A Package is what a verified package says of itself, and who signed it.
type Package struct {
	apk.Info
	// Signers are the SHA-256 of the DER certificates of whoever signed, in
	// the order of the signature: Signers[0] is what F-Droid and the
	// repository call the signer. More than one only with scheme v2.
	Signers []mios.Digest
}

// Inspect verifies the package in the first size bytes of r, as a device of
// SDK version sdk would, and returns its facts: what a publisher writes into
// the repository and what an installer compares. The error of a package that
// does not verify wraps mios.ErrDenied and names what AOSP calls the issue.
func Inspect(ctx context.Context, r io.ReaderAt, size int64, sdk int) (*Package, error) {
	return nil, errors.ErrUnsupported
}

// A Signer is a key and its certificate.
type Signer struct {
	Key         crypto.Signer // RSA or ECDSA; called without a source of randomness, so that signatures are deterministic
	Certificate []byte        // DER
}

// SignOptions say how to sign.
type SignOptions struct {
	Signer Signer
	V2, V3 bool // at least one
}

// Sign writes the package in the first size bytes of r, signed, to w. A
// signing block that it has is replaced.
func Sign(ctx context.Context, r io.ReaderAt, size int64, o SignOptions, w io.Writer) error {
	return errors.ErrUnsupported
}
