package apksig

import (
	"bytes"
	"context"
	"slices"
)

// sdkSandbox is the platform version that came with targetSandboxVersion.
const sdkSandbox = 26

// sdkTargetV2 is the target SDK version from which on a JAR signature alone is
// not enough.
const sdkTargetV2 = 30

// sandbox wants a signature of a newer scheme than v1 on packages that ask for
// the second security sandbox.
func (v *verifier) sandbox(context.Context) error {
	if v.most < sdkSandbox {
		return nil
	}
	m, err := v.manifest()
	if err != nil {
		return err
	}
	if m.TargetSandboxVersion > 1 && len(v.found) == 0 {
		v.fail("NO_SIG_FOR_TARGET_SANDBOX_VERSION", "targetSandboxVersion is %d, which needs scheme v2 or newer", m.TargetSandboxVersion)
	}
	return nil
}

// jarScheme verifies v1, and wants more than that of packages that ask for the
// second sandbox. Errors of the one do not hide those of the other.
func (v *verifier) jarScheme(ctx context.Context) error {
	if err := v.v1(ctx); err != nil {
		return err
	}
	v.scheme = 0
	return v.sandbox(ctx)
}

// targetSDK wants a signature of a newer scheme than v1 on packages for newer
// platforms.
func (v *verifier) targetSDK(context.Context) error {
	if v.most < sdkTargetV2 { // below it no manifest asks for more: JARs have none
		return nil
	}
	m, err := v.manifest()
	if err != nil {
		return err
	}
	if m.TargetSDK < sdkTargetV2 || v.most < m.TargetSDK || v.res.VerifiedBy(V2) || v.res.VerifiedBy(V3) || v.res.VerifiedBy(V31) {
		return nil
	}
	v.fail("MIN_SIG_SCHEME_FOR_TARGET_SDK_NOT_MET", "the target SDK version is %d, which needs scheme v2 or newer: sign with it too", m.TargetSDK)
	return nil
}

// by returns the signatures of a scheme.
func (v *verifier) by(scheme Scheme) []Signature {
	var out []Signature
	for _, s := range v.res.Signatures {
		if s.Scheme == scheme {
			out = append(out, s)
		}
	}
	return out
}

// sameSigners wants the schemes to agree on who signed, but for what a lineage
// allows (AOSP tools/apksig, ApkVerifier.verify).
func (v *verifier) sameSigners(context.Context) error {
	v1, v2, v3 := v.by(V1), v.by(V2), v.by(V3)
	if len(v1) > 0 && len(v2) > 0 {
		v.missing(v1, v2, "V2_SIG_MISSING")
		v.missing(v2, v1, "JAR_SIG_MISSING")
	}
	old := v1
	if len(old) == 0 {
		old = v2
	}
	if len(v3) == 0 || len(old) == 0 {
		return nil
	}
	v.scheme = V3
	if len(old) != 1 {
		v.fail("V3_SIG_MULTIPLE_PAST_SIGNERS", "%d signers of scheme %v, and v3 knows only one at a time", len(old), old[0].Scheme)
	}
	cert := old[0].Certificates[0]
	if v.history == nil {
		if len(v3) != 1 {
			v.fail("V3_SIG_MULTIPLE_SIGNERS", "%d signers without a lineage", len(v3))
		}
		if !bytes.Equal(cert, v3[0].Certificates[0]) {
			v.fail("V3_SIG_PAST_SIGNERS_MISMATCH", "signers of the schemes %v and v3 differ, and there is no lineage", old[0].Scheme)
		}
	} else if at := v.history.Index(cert); at != 0 {
		v.fail("V3_SIG_PAST_SIGNERS_MISMATCH", "the signer of scheme %v is not the oldest of the lineage", old[0].Scheme)
	}
	return nil
}

// missing fails for the first signer of one scheme who did not sign by the other.
func (v *verifier) missing(by, other []Signature, name string) {
	for i, s := range by {
		same := func(o Signature) bool { return bytes.Equal(o.Certificates[0], s.Certificates[0]) }
		if !slices.ContainsFunc(other, same) {
			v.res.fail(s.Scheme, s.Name, name, "signer %d of scheme %v did not sign by scheme %v", i+1, s.Scheme, other[0].Scheme)
			return
		}
	}
}
