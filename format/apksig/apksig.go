// Package apksig verifies and makes signatures of Android packages: JAR
// signatures (v1), APK Signature Scheme v2, v3, v3.1 and v4, source stamps and
// signing lineages, for any range of platform versions.
//
// It follows AOSP's tools/apksig, whose names for what can be wrong it bears.
package apksig

import (
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
	// Lineage is what the signer succeeded, as its signature of scheme v3 or v3.1
	// proves; nil: nothing.
	Lineage *Lineage
}
