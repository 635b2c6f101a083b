package apksig

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mios/format/apk"
)

// The platform versions that schemes came with, as SDK versions.
const (
	sdkV2  = 24
	sdkV3  = 28
	sdkV31 = 33
)

// Verify verifies the package in the first size bytes of r as all platforms of
// the range would, by all schemes that they look at: v3.1 from SDK version 33
// on, v3 from 28, v2 from 24, and JAR signatures (v1) before and if there is no
// other (AOSP tools/apksig, ApkVerifier). An error means that the package could
// not be read, or is refused for what it is as a file: what is wrong with its
// signatures stands in the result.
//
// Memory is bounded by a chunk of 1 MiB a processor, the signing block, the
// central directory and, for v1, the manifest and a signature file.
func Verify(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Result, error) {
	v, err := verify(ctx, r, size, o)
	if err != nil {
		return nil, err
	}
	return v.res, nil
}

// verify judges the signatures first, and then whether the file is a package
// that can be read in one way only: where both fail, a changed byte is the news.
func verify(ctx context.Context, r io.ReaderAt, size int64, o Options) (*verifier, error) {
	v, badZip, err := findSections(r, size, o)
	if err != nil {
		return nil, err
	}
	v.lookAhead(ctx)
	defer v.stop()
	if err := v.open(r, &badZip); err != nil {
		return nil, err
	}
	steps := []func(context.Context) error{v.v31, v.v3, v.v2, v.v4, v.jarScheme, v.stamp, v.sameSigners, v.v4Match, v.targetSDK}
	for _, step := range steps {
		v.scheme = 0
		if err := step(ctx); err != nil {
			return nil, err
		}
		if len(v.res.Errors) > 0 {
			return v, nil
		}
	}
	if e, ok := errors.AsType[*apk.FormatError](badZip); ok && e.Odd && !v.keep {
		return v, nil // devices install it
	}
	return v, badZip
}

// newVerifier reads the package. That it can be read in several ways is the
// second result, which counts only if there is nothing wrong with signatures.
func newVerifier(r io.ReaderAt, size int64, o Options) (v *verifier, badZip, err error) {
	if v, badZip, err = findSections(r, size, o); err == nil {
		err = v.open(r, &badZip)
	}
	return v, badZip, err
}

// findSections finds the parts of the package that signatures cover.
func findSections(r io.ReaderAt, size int64, o Options) (v *verifier, badZip, err error) {
	v = &verifier{
		least: o.MinSDK, most: o.MaxSDK, res: new(Result), idsig: o.IDSig, file: o.File, keep: o.keep,
		found: make(map[Scheme]bool), digests: make(map[Scheme]map[digestKind][]byte),
	}
	v.layout, badZip = apk.FindLayout(r, size)
	if isFormat(badZip) {
		v.layout, err = looseLayout(r, size)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case v.layout == nil:
		return nil, nil, badZip
	}
	if v.s, _, err = readSections(r, v.layout); err != nil {
		return nil, nil, err
	}
	if v.most == 0 {
		v.most = newest
	}
	v.res.most = v.most
	return v, badZip, nil
}

// open reads the package's directory and manifest.
func (v *verifier) open(r io.ReaderAt, badZip *error) error {
	if *badZip == nil && v.file == nil {
		f, err := v.layout.Open(r)
		if err != nil && !isFormat(err) {
			return err
		}
		if err == nil && v.keep {
			v.file = f
		}
		*badZip = err
	}
	if v.least == 0 {
		m, err := v.manifest()
		if err != nil {
			return err
		}
		v.least = m.MinSDK
	}
	if v.most < v.least {
		return fmt.Errorf("verify for SDK versions %d to %d: the package is for none of them; choose others", v.least, v.most)
	}
	return nil
}

// isFormat reports whether err is the package's fault, and not its reader's.
func isFormat(err error) bool {
	_, ok := errors.AsType[*apk.FormatError](err)
	return ok
}

// verifier is one verification on its way.
type verifier struct {
	s           *sections
	layout      *apk.Layout
	res         *Result
	least, most int
	scheme      Scheme          // that is being verified, and that issues are about; 0: none
	signer      string          // that is being verified, and that issues are about; "": none
	found       map[Scheme]bool // schemes of which there is a signature, whether it verifies or not
	rotation    int             // the first SDK version of the v3.1 block; 0: there is none
	keep        bool            // file is wanted
	file        *apk.File       // nil: it is not wanted or not open yet, or the package can be read in several ways
	entries     *jar            // the package as v1 sees it; nil: not read yet
	read        *apk.Manifest   // nil: not read yet
	idsig       io.Reader       // nil: none
	idsigners   []IDSigSigner   // of v4, if it verified
	history     *Lineage        // of all v3.1 signers, or else v3 signers; nil: none

	// digests are what the signers of each scheme that verified say the
	// package digests to; for V1 it is the SHA-256 of the JAR manifest, which
	// stands under chunkedSHA256. Stamps sign them.
	digests map[Scheme]map[digestKind][]byte

	ahead *ahead                // nil: nothing is being digested
	sums  map[digestKind][]byte // the package's digests, as far as they are known
}

func (v *verifier) fail(name, format string, args ...any) {
	v.res.report([]Issue{newIssue(v.scheme, v.signer, name, format, args...)}, nil)
}

func (v *verifier) warn(name, format string, args ...any) {
	v.res.report(nil, []Issue{newIssue(v.scheme, v.signer, name, format, args...)})
}

// knows reports whether a platform of the range knows that scheme, which a
// signature of an older one may name as another that there is.
func (v *verifier) knows(s Scheme) bool {
	return s == V2 && v.most >= sdkV2 || s == V3 && v.most >= sdkV3
}

// jar returns the package as v1 sees it.
func (v *verifier) jar() (*jar, error) {
	if v.entries == nil {
		j, err := readJar(v.s.r, v.layout)
		if err != nil {
			return nil, err
		}
		v.entries = j
	}
	return v.entries, nil
}

// manifest returns the package's AndroidManifest.xml, whether or not it is a
// ZIP file that can be read in one way only.
func (v *verifier) manifest() (*apk.Manifest, error) {
	if v.read != nil {
		return v.read, nil
	}
	if v.file != nil {
		info, err := v.file.Info()
		if err != nil {
			return nil, err
		}
		v.read = &info.Manifest
		return v.read, nil
	}
	j, err := v.jar()
	if err != nil {
		return nil, err
	}
	e := j.find(apk.ManifestName)
	if e == nil {
		return nil, badJar(v.layout.DirOff, "no %s: not an Android package", apk.ManifestName)
	}
	text, err := (&extractor{j: j}).read(e, apk.MaxManifest)
	if err != nil {
		return nil, err
	}
	if v.read, err = apk.ParseManifest([]byte(text)); err != nil {
		return nil, err
	}
	return v.read, nil
}

// Inspect verifies the package in the first size bytes of r, as a device of
// SDK version sdk would, and returns its facts: what a publisher writes into
// the repository and what an installer compares. The label is the one in American
// English, if it stands in the resource table. The error of a package that
// does not verify is a [*VerifyError] and wraps [mios.ErrDenied].
func Inspect(ctx context.Context, r io.ReaderAt, size int64, sdk int) (*Package, error) {
	v, err := verify(ctx, r, size, Options{MinSDK: sdk, MaxSDK: sdk, keep: true})
	if err != nil {
		return nil, err
	}
	if !v.res.Verified() {
		return nil, &VerifyError{v.res.Errors}
	}
	info, err := v.file.Info()
	if err != nil {
		return nil, err
	}
	p := &Package{Info: *info}
	want := apk.Device{}.Config()
	if label, err := v.file.Text(p.Application.Label, &want); err == nil { // a broken table leaves the manifest's words
		p.Label = label
	}
	for _, s := range v.res.Signers() {
		p.Signers, p.Lineage = append(p.Signers, s.Digest()), s.Lineage
	}
	return p, nil
}
