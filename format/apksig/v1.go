package apksig

import "context"

// v1 verifies JAR signatures, which platforms before 24 heed, and later ones if
// there is no other (AOSP tools/apksig, V1SchemeVerifier).
func (v *verifier) v1(context.Context) error {
	if len(v.res.Signatures) > 0 {
		return nil
	}
	v.scheme = V1
	if v.file.Entry("META-INF/MANIFEST.MF") == nil {
		v.fail("JAR_SIG_NO_MANIFEST", "no signature of any scheme")
		return nil
	}
	v.fail("V2_SIG_MISSING", "a JAR signature (v1) alone is not enough: sign with v2 or v3")
	return nil
}
