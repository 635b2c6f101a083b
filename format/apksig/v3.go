package apksig

import (
	"cmp"
	"context"
	"slices"
)

// Attributes of a v3 signer (AOSP tools/apksig, V3SchemeConstants).
const (
	attrLineage        = 0x3ba06f8c // proof of rotation
	attrRotationMinSDK = 0x559f8b02 // from which SDK version on v3.1 counts
	attrRotationDev    = 0xc2a6b3ba // for a platform in development
)

// maxV3Signers is how many ranges of platform versions a package may have
// signers for.
const maxV3Signers = 32

// v31 verifies scheme v3.1: a v3 block whose signers count from some later
// platform version on, beside a v3 block for the platforms before.
func (v *verifier) v31(ctx context.Context) error {
	if v.most < sdkV31 {
		return nil
	}
	signers, err := v.v3Block(ctx, V31, blockV31)
	if err != nil || len(v.res.Errors) > 0 || len(signers) == 0 {
		return err
	}
	v.rotation = signers[0].least
	return nil
}

// v3 verifies scheme v3, of one signer for each range of platform versions
// (AOSP tools/apksig, V3SchemeVerifier).
func (v *verifier) v3(ctx context.Context) error {
	if v.most < sdkV3 {
		return nil
	}
	signers, err := v.v3Block(ctx, V3, blockV3)
	if err == nil && signers == nil && v.found[V31] && len(v.res.Errors) == 0 {
		v.fail("V31_BLOCK_FOUND_WITHOUT_V3_BLOCK", "v3.1 is for the platforms from %d on, and nothing for those before", v.rotation)
	}
	return err
}

// v3Block verifies the block with that id, and returns its signers by the
// platforms that they are for; nil if there is none.
func (v *verifier) v3Block(ctx context.Context, scheme Scheme, id uint32) ([]*signer, error) {
	block, ok := v.s.pair(id)
	if !ok {
		return nil, nil
	}
	v.scheme, v.found[scheme] = scheme, true
	signers, malformed := readSigners(block, maxV3Signers, v.v3Signer)
	switch {
	case malformed || len(signers) > maxV3Signers:
		v.fail("V3_SIG_MALFORMED_SIGNERS", "their list is cut short, or has more than %d", maxV3Signers)
	case len(signers) == 0:
		v.fail("V3_SIG_NO_SIGNERS", "")
	}
	if scheme == V3 {
		v.checkRotation(signers)
	}
	if len(v.res.Errors) > 0 {
		return signers, nil
	}
	if err := v.verifyDigests(ctx, signers, "V3"); err != nil || len(v.res.Errors) > 0 {
		return signers, err
	}
	slices.SortStableFunc(signers, func(a, b *signer) int { return cmp.Compare(a.most, b.most) })
	v.checkRanges(signers)
	if v.checkLineages(signers); len(v.res.Errors) > 0 {
		return signers, nil
	}
	v.digests[scheme] = signedDigests(signers)
	for _, s := range signers {
		v.res.Signatures = append(v.res.Signatures, Signature{
			Scheme: scheme, MinSDK: s.least, MaxSDK: s.most, Certificates: s.certs, Lineage: s.lineage,
		})
	}
	return signers, nil
}

// checkRanges wants the signers' ranges side by side, with none of the
// platforms left out that the block is for.
func (v *verifier) checkRanges(signers []*signer) {
	for i, s := range signers[1:] {
		before := signers[i]
		// A platform in development bears the version of the one before.
		if s.least != before.most+1 && (s.least != before.most || !s.dev) {
			v.fail("V3_INCONSISTENT_SDK_VERSIONS", "%v is for SDK versions %d to %d, %v for %d to %d",
				before, before.least, before.most, s, s.least, s.most)
			return
		}
	}
	first, last := signers[0].least, signers[len(signers)-1].most
	least, most := max(v.least, sdkV3), v.most
	switch {
	case v.scheme == V31: // the v3 block is for the platforms before
		least = v.most
	case v.rotation > 0:
		most = v.rotation - 1
	}
	if first > least || last < most {
		v.fail("V3_MISSING_SDK_VERSIONS", "signed for %d to %d, want %d to %d", first, last, least, most)
	}
}

// checkLineages wants no signer with a shorter lineage than the one before, and
// all lineages to be parts of one.
func (v *verifier) checkLineages(signers []*signer) {
	var all []*Lineage
	length := 0
	for _, s := range signers {
		if s.lineage == nil {
			continue
		}
		if s.lineage.Len() < length {
			v.fail("V3_INCONSISTENT_LINEAGES", "%v has a lineage of %d certificates, a signer before it one of %d", s, s.lineage.Len(), length)
			return
		}
		length = s.lineage.Len()
		all = append(all, s.lineage)
	}
	merged, err := mergeLineages(all...)
	if err != nil {
		v.fail("V3_INCONSISTENT_LINEAGES", "%v", err)
		return
	}
	if v.history == nil { // v3.1's comes first, and counts
		v.history = merged
	}
}

// v3Signer verifies one signer. It returns false if those that follow cannot be
// read.
func (v *verifier) v3Signer(s *signer, c *cursor) bool {
	v.signer = s.String()
	defer func() { v.signer = "" }()
	s.data = c.bytes()
	s.least, s.most = int(int32(c.uint32())), int(int32(c.uint32()))
	if !c.bad && (s.least < 0 || s.least > s.most) {
		v.fail("V3_SIG_INVALID_SDK_VERSIONS", "%d to %d", s.least, s.most)
	}
	sigs := c.sub()
	if s.key = c.bytes(); c.bad {
		return v.malformed(s, "V3", "the signer")
	}
	if !v.verifySignatures(s, "V3", sigs, s.least, s.most) {
		return true
	}
	signed := &cursor{b: s.data}
	digests, certs := signed.sub(), signed.sub()
	least, most := int(int32(signed.uint32())), int(int32(signed.uint32()))
	attrs := signed.sub()
	if signed.bad {
		return v.malformed(s, "V3", "what is signed")
	}
	if least != s.least {
		v.fail("V3_MIN_SDK_VERSION_MISMATCH_BETWEEN_SIGNER_AND_SIGNED_DATA_RECORD", "%d, but %d is signed", s.least, least)
	}
	if most != s.most {
		v.fail("V3_MAX_SDK_VERSION_MISMATCH_BETWEEN_SIGNER_AND_SIGNED_DATA_RECORD", "%d, but %d is signed", s.most, most)
	}
	if !v.readCertificates(s, "V3", certs) || !v.readDigests(s, "V3", digests) {
		return !s.stop
	}
	s.whole = true
	v.readAttrs(s, "V3", attrs, func(id uint32, value []byte) bool { return v.v3Attr(s, id, value) })
	return true
}

// v3Attr looks at one attribute, and reports whether it is well-formed.
func (v *verifier) v3Attr(s *signer, id uint32, value []byte) bool {
	switch id {
	case attrLineage:
		if s.lineage != nil {
			v.fail("V3_SIG_MALFORMED_LINEAGE", "a second one")
			return true
		}
		v.lineage(s, value)
	case attrRotationMinSDK:
		c := cursor{b: value}
		s.rotation = append(s.rotation, int(int32(c.uint32())))
		return !c.bad
	case attrRotationDev:
		s.dev = true
		if v.scheme == V3 {
			v.warn("V31_ROTATION_TARGETS_DEV_RELEASE_ATTR_ON_V3_SIGNER", "only a v3.1 signer may have it")
		}
	default:
		v.warn("V3_SIG_UNKNOWN_ADDITIONAL_ATTRIBUTE", "%#x", id)
	}
	return true
}

// checkRotation compares what v3 signers say of the v3.1 block with what there
// is.
func (v *verifier) checkRotation(signers []*signer) {
	if v.most < sdkV31 { // platforms that know nothing of v3.1
		return
	}
	for _, s := range signers {
		v.signer = s.String()
		if s.whole && len(s.rotation) == 0 && v.rotation > 0 {
			v.warn("V31_ROTATION_MIN_SDK_ATTR_MISSING", "v3.1 is from SDK version %d on", v.rotation)
		}
		for _, from := range s.rotation {
			switch {
			case v.rotation == 0:
				v.fail("V31_BLOCK_MISSING", "the package was signed with scheme v3.1 from SDK version %d on, of which nothing is left", from)
			case from != v.rotation:
				v.fail("V31_ROTATION_MIN_SDK_MISMATCH", "v3.1 is from SDK version %d on, but its block says %d", from, v.rotation)
			}
		}
	}
	v.signer = ""
}
