package apksig

import "context"

const (
	maxV2Signers = 10
	attrStripped = 0xbeeff00d // names a scheme that the package was signed with as well
)

// v2 verifies scheme v2 (AOSP tools/apksig, V2SchemeVerifier), for platforms
// that do not know v3 or if there is no v3 signature.
func (v *verifier) v2(ctx context.Context) error {
	if v.most < sdkV2 || v.least >= sdkV3 && len(v.found) > 0 {
		return nil
	}
	block, ok := v.s.pair(blockV2)
	if !ok {
		return nil
	}
	v.scheme = V2
	signers, malformed := readSigners(block, maxV2Signers, v.v2Signer)
	v.found[V2] = true
	switch n := len(signers); {
	case malformed:
		v.fail("V2_SIG_MALFORMED_SIGNERS", "their list is cut short")
	case n == 0:
		v.fail("V2_SIG_NO_SIGNERS", "")
	case n > maxV2Signers:
		v.fail("V2_SIG_MAX_SIGNATURES_EXCEEDED", "more than %d signers", maxV2Signers)
	}
	if len(v.res.Errors) > 0 {
		return nil
	}
	if err := v.verifyDigests(ctx, signers, "V2"); err != nil || len(v.res.Errors) > 0 {
		return err
	}
	v.digests[V2] = signedDigests(signers)
	for _, s := range signers {
		v.res.Signatures = append(v.res.Signatures, Signature{Scheme: V2, MinSDK: sdkV2, MaxSDK: newest, Certificates: s.certs})
	}
	return nil
}

// v2Signer verifies one signer. It returns false if those that follow cannot be
// read.
func (v *verifier) v2Signer(s *signer, c *cursor) bool {
	v.signer = s.String()
	defer func() { v.signer = "" }()
	s.data = c.bytes()
	sigs := c.sub()
	if s.key = c.bytes(); c.bad {
		return v.malformed(s, "V2", "the signer")
	}
	if !v.verifySignatures(s, "V2", sigs, max(v.least, sdkV2), v.most) {
		return true
	}
	signed := &cursor{b: s.data}
	digests, certs, attrs := signed.sub(), signed.sub(), signed.sub()
	if signed.bad {
		return v.malformed(s, "V2", "what is signed")
	}
	if !v.readCertificates(s, "V2", certs) || !v.readDigests(s, "V2", digests) {
		return !s.stop
	}
	var also []Scheme
	v.readAttrs(s, "V2", attrs, func(id uint32, value []byte) bool {
		if id != attrStripped {
			v.warn("V2_SIG_UNKNOWN_ADDITIONAL_ATTRIBUTE", "%#x", id)
			return true
		}
		ac := cursor{b: value}
		if scheme := Scheme(int32(ac.uint32())); v.knows(scheme) {
			also = append(also, scheme)
		} else if !ac.bad {
			v.warn("V2_SIG_UNKNOWN_APK_SIG_SCHEME_ID", "%d", int(scheme))
		}
		return !ac.bad
	})
	for _, scheme := range also {
		if !v.found[scheme] {
			v.fail("V2_SIG_MISSING_APK_SIG_REFERENCED", "the package was signed with scheme %v, of which nothing is left", scheme)
		}
	}
	return true
}
