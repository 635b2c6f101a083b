package apksig

import (
	"context"
	"math"
)

const (
	maxV2Signers = 10
	attrStripped = 0xbeeff00d // names a scheme that the package was signed with as well
)

// v2 verifies scheme v2 (AOSP tools/apksig, V2SchemeVerifier), for platforms
// that do not know v3 or if there is no v3 signature.
func (v *verifier) v2(ctx context.Context) error {
	if v.found[V3] && v.least >= sdkV3 {
		return nil
	}
	block, ok := v.s.pair(blockV2)
	if !ok {
		return nil
	}
	signers, malformed := readSigners(block, maxV2Signers, v.v2Signer)
	switch {
	case len(v.res.Errors) > 0:
		return nil
	case malformed:
		v.fail("V2_SIG_MALFORMED_SIGNERS", "after signer %d", len(signers))
		return nil
	case len(signers) == 0:
		v.fail("V2_SIG_NO_SIGNERS", "")
		return nil
	case len(signers) > maxV2Signers:
		v.fail("V2_SIG_MAX_SIGNATURES_EXCEEDED", "%d signers, at most %d", len(signers), maxV2Signers)
		return nil
	}
	if err := v.verifyDigests(ctx, signers, "V2"); err != nil || len(v.res.Errors) > 0 {
		return err
	}
	v.found[V2] = true
	for _, s := range signers {
		v.res.Signatures = append(v.res.Signatures, Signature{Scheme: V2, MinSDK: sdkV2, MaxSDK: math.MaxInt32, Certificates: s.certs})
	}
	return nil
}

func (v *verifier) v2Signer(s *signer, c *cursor) bool {
	s.data = c.bytes()
	sigs := c.sub()
	s.key = c.bytes()
	if c.bad {
		v.fail("V2_SIG_MALFORMED_SIGNER", "signer %d", s.index)
		return false
	}
	if !v.verifySignatures(s, "V2", sigs, v.least, v.most) || !v.readSigned(s, "V2") || !v.readAttrs(s, "V2") {
		return false
	}
	for _, a := range s.attrs {
		if a.id != attrStripped {
			v.warn("V2_SIG_UNKNOWN_ADDITIONAL_ATTRIBUTE", "signer %d: %#x", s.index, a.id)
			continue
		}
		ac := cursor{b: a.value}
		id := ac.uint32()
		switch {
		case ac.bad:
			v.fail("V2_SIG_MALFORMED_ADDITIONAL_ATTRIBUTE", "signer %d: %#x", s.index, a.id)
			return false
		case id != 2 && (id != 3 || v.most < sdkV3):
			v.warn("V2_SIG_UNKNOWN_APK_SIG_SCHEME_ID", "signer %d: %d", s.index, id)
		case id == 3 && !v.found[V3]:
			v.fail("V2_SIG_MISSING_APK_SIG_REFERENCED", "signer %d: the package was signed with scheme v3, of which nothing is left", s.index)
			return false
		}
	}
	return true
}
