package apksig

import (
	"cmp"
	"context"
	"math"
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
	signers, ok, err := v.v3Block(ctx, blockV31, max(v.least, sdkV31), v.most)
	if err != nil || !ok || len(v.res.Errors) > 0 {
		return err
	}
	v.rotation = math.MaxInt32
	for _, s := range signers {
		v.rotation = min(v.rotation, s.least)
	}
	v.add(V31, signers)
	return nil
}

// v3 verifies scheme v3, of one signer for each range of platform versions
// (AOSP tools/apksig, V3SchemeVerifier).
func (v *verifier) v3(ctx context.Context) error {
	if v.most < sdkV3 {
		return nil
	}
	signers, ok, err := v.v3Block(ctx, blockV3, max(v.least, sdkV3), v.most)
	if err != nil || len(v.res.Errors) > 0 {
		return err
	}
	if !ok {
		if v.rotation > 0 {
			v.fail("V31_BLOCK_FOUND_WITHOUT_V3_BLOCK", "")
		}
		return nil
	}
	v.found[V3] = true
	for _, s := range signers {
		switch {
		case v.most < sdkV31: // platforms that know nothing of v3.1
		case s.rotation == 0 && v.rotation > 0:
			v.warn("V31_ROTATION_MIN_SDK_ATTR_MISSING", "%v", s)
		case s.rotation > 0 && v.rotation == 0 && s.rotation <= v.most:
			v.fail("V31_BLOCK_MISSING", "%v: the package was signed with scheme v3.1, of which nothing is left", s)
		case s.rotation != v.rotation && v.rotation > 0:
			v.fail("V31_ROTATION_MIN_SDK_MISMATCH", "%v: v3.1 from SDK version %d on, but its block says %d", s, s.rotation, v.rotation)
		}
	}
	if v.rotation == 0 || v.least < v.rotation {
		v.add(V3, signers)
	}
	return nil
}

// add adds the signatures that count for a platform version of the range.
func (v *verifier) add(scheme Scheme, signers []*signer) {
	for _, s := range signers {
		if s.most < v.least || s.least > v.most {
			continue
		}
		v.res.Signatures = append(v.res.Signatures, Signature{
			Scheme: scheme, MinSDK: s.least, MaxSDK: s.most, Certificates: s.certs, Lineage: s.lineage,
		})
	}
}

// v3Block verifies the block with that id, and reports whether there is one.
func (v *verifier) v3Block(ctx context.Context, id uint32, least, most int) ([]*signer, bool, error) {
	block, ok := v.s.pair(id)
	if !ok {
		return nil, false, nil
	}
	signers, malformed := readSigners(block, maxV3Signers, v.v3Signer)
	switch {
	case len(v.res.Errors) > 0:
		return nil, true, nil
	case malformed || len(signers) > maxV3Signers:
		v.fail("V3_SIG_MALFORMED_SIGNERS", "after signer %d", len(signers))
		return nil, true, nil
	case len(signers) == 0:
		v.fail("V3_SIG_NO_SIGNERS", "")
		return nil, true, nil
	}
	if err := v.verifyDigests(ctx, signers, "V3"); err != nil || len(v.res.Errors) > 0 {
		return nil, true, err
	}
	slices.SortStableFunc(signers, func(a, b *signer) int { return cmp.Compare(a.least, b.least) })
	v.checkRanges(signers, id, least, most)
	return signers, true, nil
}

// checkRanges wants the signers' ranges side by side, from least to most, and
// no signer with a shorter lineage than the one before.
func (v *verifier) checkRanges(signers []*signer, id uint32, least, most int) {
	var nodes []lineageNode
	for i, s := range signers {
		if i > 0 && s.least != signers[i-1].most+1 {
			v.fail("V3_INCONSISTENT_SDK_VERSIONS", "%v is for SDK versions %d to %d, the one before for %d to %d",
				s, s.least, s.most, signers[i-1].least, signers[i-1].most)
			return
		}
		if s.lineageNodes == nil {
			continue
		}
		if !extends(nodes, s.lineageNodes) {
			v.fail("V3_INCONSISTENT_LINEAGES", "%v", s)
			return
		}
		nodes = s.lineageNodes
	}
	first, last := signers[0].least, signers[len(signers)-1].most
	if v.rotation > 0 && id == blockV3 {
		most = min(most, v.rotation-1)
	}
	if id == blockV31 {
		least = max(least, first) // the v3 block is for the platforms before
	}
	if least <= most && (first > least || last < most) {
		v.fail("V3_MISSING_SDK_VERSIONS", "signed for %d to %d, want %d to %d", first, last, least, most)
	}
}

func (v *verifier) v3Signer(s *signer, c *cursor) bool {
	s.data = c.bytes()
	s.least, s.most = int(int32(c.uint32())), int(int32(c.uint32()))
	sigs := c.sub()
	s.key = c.bytes()
	if c.bad {
		v.fail("V3_SIG_MALFORMED_SIGNER", "signer %d", s.index)
		return false
	}
	if s.least < 0 || s.least > s.most {
		v.fail("V3_SIG_INVALID_SDK_VERSIONS", "signer %d: %d to %d", s.index, s.least, s.most)
		return false
	}
	if !v.verifySignatures(s, "V3", sigs, s.least, s.most) || !v.readSigned(s, "V3") {
		return false
	}
	least, most := int(int32(s.signed.uint32())), int(int32(s.signed.uint32()))
	if s.signed.bad {
		v.fail("V3_SIG_MALFORMED_SIGNER", "signer %d: signed data", s.index)
		return false
	}
	if least != s.least {
		v.fail("V3_MIN_SDK_VERSION_MISMATCH_BETWEEN_SIGNER_AND_SIGNED_DATA_RECORD", "signer %d: %d, but %d is signed", s.index, s.least, least)
	}
	if most != s.most {
		v.fail("V3_MAX_SDK_VERSION_MISMATCH_BETWEEN_SIGNER_AND_SIGNED_DATA_RECORD", "signer %d: %d, but %d is signed", s.index, s.most, most)
	}
	return v.readAttrs(s, "V3") && v.v3Attrs(s) && len(v.res.Errors) == 0
}

func (v *verifier) v3Attrs(s *signer) bool {
	for _, a := range s.attrs {
		switch a.id {
		case attrLineage:
			if !v.lineage(s, a.value) {
				return false
			}
		case attrRotationMinSDK:
			c := cursor{b: a.value}
			if s.rotation = int(int32(c.uint32())); c.bad {
				v.fail("V3_SIG_MALFORMED_ADDITIONAL_ATTRIBUTE", "signer %d: %#x", s.index, a.id)
				return false
			}
		case attrRotationDev:
		default:
			v.warn("V3_SIG_UNKNOWN_ADDITIONAL_ATTRIBUTE", "signer %d: %#x", s.index, a.id)
		}
	}
	return true
}
