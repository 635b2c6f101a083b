package apksig

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"mios"
	"mios/format/apk"
)

// The platform versions that schemes came with, as SDK versions.
const (
	sdkV2  = 24
	sdkV3  = 28
	sdkV31 = 33
)

// A Scheme is an APK signature scheme.
type Scheme int

// The schemes that are verified.
const (
	V2  Scheme = 2
	V3  Scheme = 3
	V31 Scheme = 31
)

func (s Scheme) String() string {
	if s == V31 {
		return "v3.1"
	}
	return fmt.Sprintf("v%d", int(s))
}

// Options say for which platforms a package is to be verified.
type Options struct {
	MinSDK int // 0: the manifest's; never below 24, from when on v2 counts
	MaxSDK int // 0: no end
}

// An Issue is something wrong with a signature, under AOSP's name for it
// (tools/apksig, ApkVerifier.Issue).
type Issue struct {
	Name   string // such as "V2_SIG_DID_NOT_VERIFY"
	Detail string // what was found
}

func (i Issue) String() string {
	if i.Detail == "" {
		return i.Name
	}
	return i.Name + ": " + i.Detail
}

// A Signature is that of one signer in one scheme.
type Signature struct {
	Scheme         Scheme
	MinSDK, MaxSDK int      // for which it counts
	Certificates   [][]byte // DER; the signer's own first
	Lineage        [][]byte // DER certificates that the signer succeeded, oldest first, itself last
}

// Digest returns the SHA-256 of the signer's certificate.
func (s *Signature) Digest() mios.Digest { return sha256.Sum256(s.Certificates[0]) }

// A Result is what verification found.
type Result struct {
	Signatures []Signature // those that are well-formed and verify, also beside errors
	Errors     []Issue     // empty: the package verifies
	Warnings   []Issue
}

// Verified reports whether the package is signed, and wholly as it was signed.
func (r *Result) Verified() bool { return len(r.Errors) == 0 }

// Signers returns the signatures that count on the newest platform of the
// range: several only with scheme v2.
func (r *Result) Signers() []Signature {
	var newest []Signature
	for _, s := range r.Signatures {
		if len(newest) > 0 && (s.Scheme > newest[0].Scheme || s.Scheme != V2 && s.Scheme == newest[0].Scheme && s.MaxSDK > newest[0].MaxSDK) {
			newest = nil
		}
		if len(newest) == 0 || s.Scheme == V2 && newest[0].Scheme == V2 {
			newest = append(newest, s)
		}
	}
	return newest
}

func (r *Result) fail(name, format string, args ...any) {
	r.Errors = append(r.Errors, Issue{name, fmt.Sprintf(format, args...)})
}

func (r *Result) warn(name, format string, args ...any) {
	r.Warnings = append(r.Warnings, Issue{name, fmt.Sprintf(format, args...)})
}

// A VerifyError is why a package is not verified. It wraps [mios.ErrDenied].
type VerifyError struct{ Issues []Issue }

func (e *VerifyError) Error() string {
	s := make([]string, len(e.Issues))
	for i, issue := range e.Issues {
		s[i] = issue.String()
	}
	return "signature: " + strings.Join(s, "; ")
}

func (e *VerifyError) Unwrap() error { return mios.ErrDenied }

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
	s, why, err := readSections(r, l)
	if err != nil {
		return nil, nil, err
	}
	v := &verifier{s: s, res: new(Result), least: max(o.MinSDK, sdkV2), most: o.MaxSDK, found: make(map[uint32]bool)}
	if v.most == 0 {
		v.most = math.MaxInt32
	}
	if v.most < v.least {
		return nil, nil, fmt.Errorf("verify for SDK versions %d to %d: no version from %d on, which v2 came with", o.MinSDK, v.most, sdkV2)
	}
	for _, step := range []func(context.Context) error{v.v31, v.v3, v.v2} {
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
	if len(v.res.Signatures) == 0 {
		v.unsigned(f, why)
	}
	return v.res, f, nil
}

// verifier is one verification on its way.
type verifier struct {
	s           *sections
	res         *Result
	least, most int
	found       map[uint32]bool // schemes that verified, by their number
	rotation    int             // the first SDK version of the v3.1 block; 0: there is none
}

// unsigned says why there is no signature that counts.
func (v *verifier) unsigned(f *apk.File, why string) {
	if why == "" {
		why = "the APK signing block holds no v2 or v3 signature"
	}
	if f.Entry("META-INF/MANIFEST.MF") == nil {
		v.res.fail("JAR_SIG_NO_MANIFEST", "%s, and there is no JAR signature", why)
		return
	}
	v.res.fail("V2_SIG_MISSING", "%s; a JAR signature (v1) alone is not enough: sign with v2 or v3", why)
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
