package apksig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"mios/format/apk"
)

const (
	stampEntry = "stamp-cert-sha256" // SHA-256 of the stamp's certificate
	maxDigest  = 1 << 10             // bytes of that entry that are read
	sdkStamp   = 30                  // that stamps came with
)

// A StampStatus is what became of a source stamp, by AOSP's names for it
// (tools/apksig, SourceStampVerificationStatus).
type StampStatus string

// The statuses.
const (
	StampVerified       StampStatus = "STAMP_VERIFIED"
	StampFailed         StampStatus = "STAMP_VERIFICATION_FAILED"
	StampDigestMismatch StampStatus = "CERT_DIGEST_MISMATCH" // it is not by whom it was expected to be
	StampMissing        StampStatus = "STAMP_MISSING"
	StampNotVerified    StampStatus = "STAMP_NOT_VERIFIED" // a part of it is missing
	StampError          StampStatus = "VERIFICATION_ERROR" // the package's own signatures or the package are malformed
)

// A Stamp is a source stamp: who vouches for where the package comes from, such
// as a store. It says nothing about who signed the package.
type Stamp struct {
	Status       StampStatus
	Certificates [][]byte // DER; the stamp's own; none if it could not be read
	Lineage      *Lineage // of the stamp's certificate; nil: none
	Timestamp    int64    // when it was made, as it says, in seconds since 1970; 0: it does not say
	Issues       []Issue  // why it is not verified
	Notes        []Issue  // what else was found, which changes nothing
}

// Verified reports whether the stamp is whole and is that of the package.
func (s *Stamp) Verified() bool { return s.Status == StampVerified }

func (s *Stamp) fail(name, format string, args ...any) {
	s.Issues = append(s.Issues, Issue{Name: name, Signer: "stamp", Detail: fmt.Sprintf(format, args...)})
}

func (s *Stamp) note(name, format string, args ...any) {
	s.Notes = append(s.Notes, Issue{Name: name, Signer: "stamp", Detail: fmt.Sprintf(format, args...)})
}

// StampOptions say which stamp is expected, and for which platforms.
type StampOptions struct {
	Certificate []byte // SHA-256 of the stamp's certificate; nil: any certificate will do
	MinSDK      int    // 0: the manifest's
	MaxSDK      int    // 0: no end
	V1          bool   // the first form of stamps, which no platform looks at any more
}

// VerifyStamp verifies the source stamp of the package in the first size bytes
// of r. It verifies the signers of the package as far as the stamp needs them,
// but does not compare the package with what they signed: a stamp is worth
// something only on a package that [Verify] accepts (AOSP tools/apksig,
// ApkVerifier.verifySourceStamp). An error is one of reading r, or of options
// that contradict each other; all else stands in the stamp.
func VerifyStamp(ctx context.Context, r io.ReaderAt, size int64, o StampOptions) (*Stamp, error) {
	v, _, err := newVerifier(r, size, Options{MinSDK: max(1, o.MinSDK), MaxSDK: o.MaxSDK})
	if err != nil {
		return stampError(err)
	}
	j, err := v.jar()
	if err != nil {
		return stampError(err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.MinSDK == 0 && j.find(apk.ManifestName) == nil {
		return stampError(badJar(j.dirOff, "no %s: not an Android package", apk.ManifestName))
	}
	if j.find(stampEntry) == nil {
		return v.s.noStampEntry(&o), nil
	}
	if o.MinSDK == 0 {
		m, err := v.manifest()
		if err != nil {
			return stampError(err)
		}
		v.least = m.MinSDK
	}
	if v.least > v.most {
		return nil, fmt.Errorf("verify stamp for SDK versions %d to %d: the package is for none of them; choose others", v.least, v.most)
	}
	return v.stampAlone(&extractor{j: j}, &o)
}

// noStampEntry returns the stamp of a package without the entry of one.
func (s *sections) noStampEntry(o *StampOptions) *Stamp {
	if _, ok := s.pair(o.block()); ok {
		return unverified(StampNotVerified, "SOURCE_STAMP_SIGNATURE_BLOCK_WITHOUT_CERT_DIGEST", "no entry %s", stampEntry)
	}
	return unverified(StampMissing, "SOURCE_STAMP_CERT_DIGEST_AND_SIG_BLOCK_MISSING", "the package has no source stamp")
}

// block returns the id of the pair that holds the stamp.
func (o *StampOptions) block() uint32 {
	if o.V1 {
		return blockStampV1
	}
	return blockStamp
}

// stampError returns the stamp of a package that cannot be read, unless it is
// reading itself that failed.
func stampError(err error) (*Stamp, error) {
	if _, ok := errors.AsType[*apk.FormatError](err); !ok {
		return nil, err
	}
	return unverified(StampError, "MALFORMED_APK", "%v", err), nil
}

func unverified(status StampStatus, name, format string, args ...any) *Stamp {
	s := &Stamp{Status: status}
	s.fail(name, format, args...)
	return s
}

// stampAlone verifies the stamp of a package that has the entry of one, and
// whose signatures are not verified otherwise.
func (v *verifier) stampAlone(x *extractor, o *StampOptions) (*Stamp, error) {
	text, err := x.read(x.j.find(stampEntry), maxDigest)
	if err != nil {
		return stampError(err)
	}
	digest := []byte(text)
	if o.Certificate != nil && !bytes.Equal(digest, o.Certificate) {
		return unverified(StampDigestMismatch, "SOURCE_STAMP_EXPECTED_DIGEST_MISMATCH", "the stamp's certificate has digest %s, want %s",
			hex.EncodeToString(digest), hex.EncodeToString(o.Certificate)), nil
	}
	if err := v.stampDigests(x); err != nil {
		return stampError(err)
	}
	if len(v.res.Errors) > 0 {
		return &Stamp{Status: StampError, Issues: v.res.Errors}, nil
	}
	block, ok := v.s.pair(o.block())
	if !ok {
		return unverified(StampNotVerified, "SOURCE_STAMP_SIG_MISSING", "there is the entry %s, but no stamp in the signing block", stampEntry), nil
	}
	check := &stampCheck{stamp: new(Stamp), least: v.least, most: v.most}
	if o.V1 {
		return check.v1(block, digest, v.newestDigests()), nil
	}
	return check.v2(block, digest, v.digests), nil
}

// stampDigests collects what signers say that the package digests to, of each
// scheme that platforms of the range look at.
func (v *verifier) stampDigests(x *extractor) error {
	if v.most >= sdkV3 {
		if err := v.blockDigests(V3, blockV3, maxV3Signers, v.v3Signer); err != nil {
			return err
		}
	}
	if v.most >= sdkV2 && (v.least < sdkV3 || !v.found[V3]) && len(v.res.Errors) == 0 {
		least := v.least
		v.least = max(least, sdkV2)
		err := v.blockDigests(V2, blockV2, maxV2Signers, v.v2Signer)
		v.least = least
		if err != nil {
			return err
		}
	}
	if v.least >= sdkV2 && (v.found[V3] || v.found[V2]) {
		return nil
	}
	v.digests[V1] = make(map[digestKind][]byte) // of a package without a JAR manifest it is empty
	e := x.j.find(manifestName)
	if e == nil {
		return nil
	}
	h := sha256.New()
	err := x.copy(h, e)
	v.digests[V1][chunkedSHA256] = h.Sum(nil)
	return err
}

// blockDigests reads the signers of a scheme, and verifies each.
func (v *verifier) blockDigests(scheme Scheme, id uint32, most int, read func(*signer, *cursor) bool) error {
	block, ok := v.s.pair(id)
	if !ok {
		return nil
	}
	v.scheme = scheme
	defer func() { v.scheme = 0 }()
	signers, malformed := readSigners(block, most, read)
	if (malformed || len(signers) > most) && len(v.res.Errors) == 0 {
		v.fail(fmt.Sprintf("V%d_SIG_MALFORMED_SIGNERS", scheme), "after signer %d", len(signers))
	}
	v.found[scheme] = true
	v.digests[scheme] = signedDigests(signers)
	return nil
}

// signedDigests returns what signers say that the package digests to.
func signedDigests(signers []*signer) map[digestKind][]byte {
	out := make(map[digestKind][]byte)
	for _, s := range signers {
		for _, d := range s.digests {
			if d.alg != nil {
				out[d.alg.digest] = d.value
			}
		}
	}
	return out
}

// newestDigests returns those of the newest scheme that there is.
func (v *verifier) newestDigests() map[Scheme]map[digestKind][]byte {
	for _, scheme := range []Scheme{V3, V2, V1} {
		if d, ok := v.digests[scheme]; ok {
			return map[Scheme]map[digestKind][]byte{scheme: d}
		}
	}
	return nil
}

// stamp verifies the source stamp, if there is one (AOSP tools/apksig,
// V2SourceStampVerifier). It comes after the other schemes. What is wrong with
// a stamp is a warning only: the package is signed without it.
func (v *verifier) stamp(context.Context) error {
	v.scheme = 0
	j, err := v.jar()
	if err != nil {
		return err
	}
	e := j.find(stampEntry)
	if e == nil {
		return nil
	}
	block, ok := v.s.pair(blockStamp)
	if !ok {
		v.warn("SOURCE_STAMP_SIG_MISSING", "there is the entry %s, but no stamp in the signing block", stampEntry)
		return nil
	}
	digest, err := (&extractor{j: j}).read(e, maxDigest)
	if err != nil {
		return err
	}
	check := &stampCheck{stamp: new(Stamp), least: max(v.least, sdkStamp), most: v.most}
	v.res.Stamp = check.v2(block, []byte(digest), v.digests)
	return nil
}
