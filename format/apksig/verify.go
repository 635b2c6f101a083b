package apksig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"mios/format/apk"
)

// The platform versions that schemes came with, as SDK versions.
const (
	sdkV2  = 24
	sdkV3  = 28
	sdkV31 = 33
)

// Verify verifies the package in the first size bytes of r as all platforms of
// the range would. An error means that the package could not be read: what is
// wrong with its signatures stands in the result.
//
// Schemes v2, v3 and v3.1 are verified; JAR signatures (v1) are not, for no
// platform from 24 on needs them beside v2. Memory is bounded by a chunk of
// 1 MiB a processor and by the size of the signing block.
func Verify(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Result, error) {
	res, _, err := verify(ctx, r, size, o)
	return res, err
}

// verify judges the signatures first, and then whether the file is a package
// that can be read in one way only: where both fail, a changed byte is the news.
func verify(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Result, *apk.File, error) {
	l, err := apk.FindLayout(r, size)
	if err != nil {
		return nil, nil, err
	}
	f, badZip := apk.Open(r, size)
	if badZip != nil {
		if _, ok := errors.AsType[*apk.FormatError](badZip); !ok {
			return nil, nil, badZip
		}
		f = new(apk.File)
	} else if o.MinSDK == 0 {
		info, err := f.Info()
		if err != nil {
			return nil, nil, err
		}
		o.MinSDK = info.MinSDK
	}
	s, _, err := readSections(r, l)
	if err != nil {
		return nil, nil, err
	}
	v := &verifier{s: s, res: new(Result), least: max(o.MinSDK, sdkV2), most: o.MaxSDK, found: make(map[Scheme]bool), digests: make(map[Scheme]map[digestKind][]byte), file: f, idsig: o.IDSig}
	if v.most == 0 {
		v.most = math.MaxInt32
	}
	if v.most < v.least {
		return nil, nil, fmt.Errorf("verify for SDK versions %d to %d: no version from %d on, which v2 came with", o.MinSDK, v.most, sdkV2)
	}
	for _, step := range []func(context.Context) error{v.v31, v.v3, v.v2, v.v4, v.v1, v.stamp} {
		if err := step(ctx); err != nil {
			return nil, nil, err
		}
		if len(v.res.Errors) > 0 {
			return v.res, f, nil
		}
	}
	if badZip != nil {
		return nil, nil, badZip
	}
	return v.res, f, nil
}

// verifier is one verification on its way.
type verifier struct {
	s           *sections
	res         *Result
	least, most int
	scheme      Scheme          // that is being verified, and that issues are about; 0: none
	found       map[Scheme]bool // schemes of which there is a signature, whether it verifies or not
	rotation    int             // the first SDK version of the v3.1 block; 0: there is none
	file        *apk.File       // nil: the package is no ZIP file that can be read in one way only
	idsig       io.Reader       // nil: none

	// digests are what the signers of each scheme that verified say the
	// package digests to; for V1 it is the SHA-256 of the JAR manifest, which
	// stands under chunkedSHA256. Stamps sign them.
	digests map[Scheme]map[digestKind][]byte
}

func (v *verifier) fail(name, format string, args ...any) {
	v.res.fail(v.scheme, "", name, format, args...)
}

func (v *verifier) warn(name, format string, args ...any) {
	v.res.warn(v.scheme, "", name, format, args...)
}

// Inspect verifies the package in the first size bytes of r, as a device of
// SDK version sdk would, and returns its facts: what a publisher writes into
// the repository and what an installer compares. The error of a package that
// does not verify is a [*VerifyError] and wraps [mios.ErrDenied].
func Inspect(ctx context.Context, r io.ReaderAt, size int64, sdk int) (*Package, error) {
	res, f, err := verify(ctx, r, size, Options{MinSDK: sdk, MaxSDK: sdk})
	if err != nil {
		return nil, err
	}
	if !res.Verified() {
		return nil, &VerifyError{res.Errors}
	}
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	p := &Package{Info: *info}
	for _, s := range res.Signers() {
		p.Signers = append(p.Signers, s.Digest())
	}
	return p, nil
}
