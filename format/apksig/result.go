package apksig

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"mios"
	"mios/format/apk"
)

// A Scheme is a way to sign an Android package.
type Scheme int

// The schemes, by the numbers that AOSP gives them.
const (
	V1  Scheme = 1 // JAR signature
	V2  Scheme = 2
	V3  Scheme = 3
	V4  Scheme = 4 // beside the package, in an .idsig file
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
	MinSDK int       // 0: the manifest's
	MaxSDK int       // 0: no end
	IDSig  io.Reader // the .idsig file beside the package, for scheme v4; nil: none
	File   *apk.File // the package, if it is open already; nil: it will be opened

	keep bool // for Inspect: the opened package is wanted
}

// An Issue is something wrong with a signature, under AOSP's name for it
// (tools/apksig, ApkVerifier.Issue).
type Issue struct {
	Name   string // such as "V2_SIG_DID_NOT_VERIFY"
	Scheme Scheme // of the signature that it is about; 0: none in particular
	Signer string // whose signature it is about: "META-INF/CERT.RSA", "signer 1"; "": nobody's in particular
	Detail string // what was found, and what was expected
}

// String gives the name, the signer and the detail in one line.
func (i Issue) String() string {
	s := i.Name
	for _, part := range []string{i.Signer, i.Detail} {
		if part != "" {
			s += ": " + part
		}
	}
	return s
}

// A Signature is that of one signer in one scheme.
type Signature struct {
	Scheme         Scheme
	Name           string   // v1: of the signature block, such as "META-INF/CERT.RSA"
	MinSDK, MaxSDK int      // for which it counts
	Certificates   [][]byte // DER; the signer's own first
	Lineage        *Lineage // v3, v3.1: of the certificates that the signer succeeded; nil: none
}

// Digest returns the SHA-256 of the signer's certificate.
func (s *Signature) Digest() mios.Digest { return sha256.Sum256(s.Certificates[0]) }

// A Result is what verification found.
type Result struct {
	Signatures []Signature // those that are well-formed and verify, also beside errors
	Stamp      *Stamp      // who vouches for the source of the package; nil: nobody
	Errors     []Issue     // empty: the package verifies
	Warnings   []Issue

	most int // the newest platform of the range
}

// Verified reports whether the package is signed, and wholly as it was signed.
func (r *Result) Verified() bool { return len(r.Errors) == 0 }

// VerifiedBy reports whether there is a signature of that scheme that verifies.
// Schemes that no platform of the range looks at are not verified.
func (r *Result) VerifiedBy(s Scheme) bool {
	for i := range r.Signatures {
		if r.Signatures[i].Scheme == s {
			return true
		}
	}
	return false
}

// Signers returns the signatures that count on the newest platform of the
// range: several only with the schemes v1 and v2.
func (r *Result) Signers() []Signature {
	for _, scheme := range []Scheme{V31, V3, V2, V1} {
		var out []Signature
		for _, s := range r.Signatures {
			switch {
			case s.Scheme != scheme:
			case scheme == V1 || scheme == V2:
				out = append(out, s)
			case s.MinSDK <= r.most: // they stand in the order of the versions that they are for
				out = []Signature{s}
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// maxIssues bounds how many errors and warnings are told: each costs memory, and
// a small package can have many.
const maxIssues = 1000

// maxDetail is how much is told of one, in bytes: names and digests come from
// the package, and can be of any length.
const maxDetail = 1 << 10

func newIssue(scheme Scheme, signer, name, format string, args ...any) Issue {
	detail := fmt.Sprintf(format, args...)
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return Issue{name, scheme, signer, detail}
}

func (r *Result) fail(scheme Scheme, signer, name, format string, args ...any) {
	r.report([]Issue{newIssue(scheme, signer, name, format, args...)}, nil)
}

// report adds what was found to the result.
func (r *Result) report(errors, warnings []Issue) {
	r.Errors = append(r.Errors, errors[:min(len(errors), max(0, maxIssues-len(r.Errors)))]...)
	r.Warnings = append(r.Warnings, warnings[:min(len(warnings), max(0, maxIssues-len(r.Warnings)))]...)
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

// Unwrap returns [mios.ErrDenied].
func (e *VerifyError) Unwrap() error { return mios.ErrDenied }
