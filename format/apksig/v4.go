package apksig

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
)

const sdkV4 = 30

// v4 verifies scheme v4, if there is an .idsig file (AOSP tools/apksig,
// V4SchemeVerifier). It comes after v3.1, v3 and v2, whose digest it signs;
// [verifier.v4Match] looks for that. Who gives such a file wants it verified: an
// error in it is one of the package, which AOSP's result passes over.
func (v *verifier) v4(ctx context.Context) error {
	if v.idsig == nil || v.most < sdkV2 {
		return nil
	}
	v.scheme, v.found[V4] = V4, true
	defer func() { v.signer = "" }()
	sig, err := ReadIDSig(v.idsig)
	if err != nil {
		if e, ok := errors.AsType[*FormatError](err); ok {
			v.fail("V4_SIG_MALFORMED_SIGNERS", "%v", e)
			return nil
		}
		return err
	}
	size := v.layout.EndOff + int64(len(v.layout.End))
	for i := range sig.Signers {
		v.signer = fmt.Sprintf("signer %d", i+1)
		if name, detail := sig.verify(&sig.Signers[i], size); name != "" {
			v.fail(name, "%s", detail)
			return nil
		}
	}
	v.signer = "signer 1"
	if err := v.v4Tree(ctx, sig, size); err != nil || len(v.res.Errors) > 0 {
		return err
	}
	v.idsigners = sig.Signers
	for _, s := range sig.Signers {
		v.res.Signatures = append(v.res.Signatures, Signature{Scheme: V4, MinSDK: sdkV4, MaxSDK: math.MaxInt32, Certificates: [][]byte{s.Certificate}})
	}
	return nil
}

// verify verifies one signer of a package of size bytes, and returns the issue
// that it has, if any.
func (s *IDSig) verify(signer *IDSigSigner, size int64) (name, detail string) {
	alg := findAlgorithm(signer.Algorithm)
	if alg == nil {
		return "V4_SIG_UNKNOWN_SIG_ALGORITHM", fmt.Sprintf("%#x", signer.Algorithm)
	}
	key, err := parsePublicKey(signer.PublicKey)
	if err != nil {
		return "V4_SIG_MALFORMED_PUBLIC_KEY", err.Error()
	}
	ok, err := alg.verify(key, s.signed(signer, size), signer.Signature)
	if err != nil {
		return "V4_SIG_VERIFY_EXCEPTION", fmt.Sprintf("algorithm %#x: %v", alg.id, err)
	}
	if !ok {
		return "V4_SIG_DID_NOT_VERIFY", fmt.Sprintf("algorithm %#x: another file, or the package is not of %d bytes", alg.id, size)
	}
	if len(signer.Certificate) == 0 {
		return "V4_SIG_NO_CERTIFICATE", ""
	}
	own, err := certificateKey(signer.Certificate)
	if err != nil {
		return "V4_SIG_MALFORMED_CERTIFICATE", err.Error()
	}
	if !bytes.Equal(own, signer.PublicKey) && !bytes.Equal(normalKey(own), signer.PublicKey) {
		return "V4_SIG_PUBLIC_KEY_MISMATCH_BETWEEN_CERTIFICATE_AND_SIGNATURES_RECORD", "the certificate is of another key"
	}
	return "", ""
}

// v4Tree builds the hash tree of the package, and compares it with the root
// that is signed and with the tree that follows in the file, if one does.
func (v *verifier) v4Tree(ctx context.Context, sig *IDSig, size int64) error {
	file, err := newTreeComparer(v.idsig, size)
	if err != nil {
		return err
	}
	t := new(hashTree)
	if file != nil {
		t.page = file.page
	}
	root, err := t.build(ctx, v.s.r, size)
	if err != nil {
		return err
	}
	if !bytes.Equal(root, sig.Root) {
		v.fail("V4_SIG_APK_ROOT_DID_NOT_VERIFY", "the package's hash tree has root %s, but %s is signed",
			hex.EncodeToString(root), hex.EncodeToString(sig.Root))
		return nil
	}
	if file == nil {
		return nil
	}
	differ, err := file.end()
	if differ != nil {
		v.fail("V4_SIG_APK_TREE_DID_NOT_VERIFY", "%v", differ)
	}
	return err
}

// v4Match compares the signers of v4 with those of v3.1 and v3, or of v2: they
// must be the same, and must have signed the same digests. It comes when all
// schemes verified (AOSP tools/apksig, ApkVerifier.verify).
func (v *verifier) v4Match(context.Context) error {
	if len(v.idsigners) == 0 {
		return nil
	}
	v.scheme = V4
	want := []Scheme{V2}
	switch {
	case v.res.VerifiedBy(V31):
		want = []Scheme{V3, V31}
	case v.res.VerifiedBy(V3):
		want = []Scheme{V3}
	case !v.res.VerifiedBy(V2):
		v.fail("V4_SIG_V2_V3_SIGNERS_MISMATCH", "there is no v2 or v3 signature that v4 could be of")
		return nil
	}
	if len(v.idsigners) != len(want) {
		name := "V4_SIG_MULTIPLE_SIGNERS"
		if len(want) == 2 {
			name = "V41_SIG_NEEDS_TWO_SIGNERS"
		}
		v.fail(name, "%d signers, want %d", len(v.idsigners), len(want))
		return nil
	}
	for i, scheme := range want {
		v.v4MatchSigner(&v.idsigners[i], scheme)
	}
	return nil
}

func (v *verifier) v4MatchSigner(signer *IDSigSigner, scheme Scheme) {
	var certs [][]byte
	for _, s := range v.res.Signatures {
		if s.Scheme == scheme {
			certs = append(certs, s.Certificates[0])
		}
	}
	if len(certs) != 1 {
		v.fail("V4_SIG_MULTIPLE_SIGNERS", "%d signers of %v, want one", len(certs), scheme)
		return
	}
	if !bytes.Equal(certs[0], signer.Certificate) {
		v.fail("V4_SIG_V2_V3_SIGNERS_MISMATCH", "%v is signed by somebody else", scheme)
	}
	if want := v4Digest(v.digests[scheme]); !bytes.Equal(want, signer.Digest) {
		v.fail("V4_SIG_V2_V3_DIGESTS_MISMATCH", "%v signed the digest %s, v4 %s", scheme, hex.EncodeToString(want), hex.EncodeToString(signer.Digest))
	}
}

// v4Digest returns that of the package's digests which v4 signs once more, the
// strongest; nil if there is none.
func v4Digest(digests map[digestKind][]byte) []byte {
	for _, kind := range []digestKind{chunkedSHA512, veritySHA256, chunkedSHA256} {
		if d, ok := digests[kind]; ok {
			return d
		}
	}
	return nil
}
