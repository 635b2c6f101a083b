package apksig

import (
	"errors"
	"fmt"
	"slices"
)

// A signPlan is who signs what.
type signPlan struct {
	minSDK      int
	v1          []v1Signer
	v2, v3, v31 []blockSigner
	stamp       *StampSigner // nil: none
	manifest    []byte       // SHA-256 of the JAR manifest, for the stamp
}

// maxSigners is how many may sign with v1 or v2 (AOSP tools/apksig,
// ApkSigningBlockUtils and V1SchemeConstants, MAX_APK_SIGNERS).
const maxSigners = 10

// maxPageAlign is the largest power of two that the extra field which aligns can
// name.
const maxPageAlign = 1 << 15

// Check returns the error with which [Sign] refuses these options for a package
// whose oldest platform has SDK version minSDK, or nil.
func (o *SignOptions) Check(minSDK int) error {
	if _, err := o.plan(minSDK); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// plan decides who signs what for packages whose oldest platform is minSDK.
func (o *SignOptions) plan(minSDK int) (*signPlan, error) {
	switch {
	case !o.V1 && !o.V2 && !o.V3:
		return nil, errors.New("no scheme is asked for: ask for v1, v2 or v3")
	case len(o.Signers) == 0:
		return nil, errors.New("no key to sign with: give a signer")
	case len(o.Signers) > maxSigners:
		return nil, fmt.Errorf("%d signers: Android takes at most %d", len(o.Signers), maxSigners)
	case o.Lineage == nil && len(o.Signers) > 1 && o.V3:
		return nil, errors.New("several signers, and v3, which has one: give the lineage that joins them, or leave v3 off")
	case o.Lineage == nil && (o.RotationMinSDK != 0 || o.RotationDev):
		return nil, errors.New("an SDK version for the rotation, but no lineage: give the lineage")
	case o.IDSig != nil && !o.V2 && !o.V3:
		return nil, errors.New("v4 signs the digest of v2 or v3: ask for one of them")
	case o.IDSig != nil && !o.V3 && len(o.Signers) > 1:
		return nil, errors.New("v4 has one signer: leave it off, or sign with one key")
	case (o.Verity || o.PSS) && !o.V2 && !o.V3:
		return nil, errors.New("verity digests and PSS are for v2 and v3: ask for one of them")
	case o.PageAlign < 0 || o.PageAlign > maxPageAlign || o.PageAlign&(o.PageAlign-1) != 0:
		return nil, fmt.Errorf("pages of %d bytes: give a power of two up to %d", o.PageAlign, maxPageAlign)
	}
	p := &signPlan{minSDK: minSDK, stamp: o.Stamp}
	if p.stamp != nil {
		if err := p.stamp.check(); err != nil {
			return nil, err
		}
	}
	old := o.Signers
	if o.Lineage != nil {
		oldest, err := o.rotate(p)
		if err != nil {
			return nil, err
		}
		old = []Signer{*oldest}
	} else if o.V3 {
		s, err := o.blockSigner(o.Signers[0])
		if err != nil {
			return nil, err
		}
		s.least = s.algs[0].minSDK
		p.v3 = []blockSigner{s}
	}
	return p, o.planOld(p, old)
}

// planOld plans v1 and v2.
func (o *SignOptions) planOld(p *signPlan, signers []Signer) error {
	for i, s := range signers {
		if o.V2 {
			b, err := o.blockSigner(s)
			if err != nil {
				return signerError(signers, i, err)
			}
			p.v2 = append(p.v2, b)
		}
		if o.V1 {
			v, err := newV1Signer(s, i, p.minSDK)
			if err != nil {
				return signerError(signers, i, err)
			}
			if j := slices.IndexFunc(p.v1, func(other v1Signer) bool { return other.name == v.name }); j >= 0 {
				return fmt.Errorf("signers %d and %d are both named %s: give them different names", j+1, i+1, v.name)
			}
			p.v1 = append(p.v1, v)
		}
	}
	return nil
}

func signerError(signers []Signer, i int, err error) error {
	if len(signers) == 1 {
		return err
	}
	return fmt.Errorf("signer %d: %w", i+1, err)
}

// rotate plans v3 and v3.1 with a lineage, and returns who signs v1 and v2
// (AOSP tools/apksig, DefaultApkSignerEngine.processV3Configs).
func (o *SignOptions) rotate(p *signPlan) (*Signer, error) {
	var oldest, newest *Signer
	last := -1
	for i := range o.Signers {
		s := &o.Signers[i]
		at := o.Lineage.Index(s.Certificate)
		if at < 0 {
			return nil, signerError(o.Signers, i, errors.New("its certificate is not in the lineage: give one of the lineage's signers"))
		}
		if at == 0 {
			oldest = s
		}
		if at > last {
			last, newest = at, s
		}
	}
	start, err := o.rotationStart(p.minSDK)
	if err != nil {
		return nil, err
	}
	whole := start <= max(sdkV3, p.minSDK) && !o.RotationDev
	switch {
	case last == 0:
		return nil, errors.New("of the lineage only the oldest signer is there: give the newest as well, or leave the lineage off")
	case !o.V3:
		return nil, errors.New("a lineage is for v3: ask for v3, or leave the lineage off")
	case oldest == nil && (o.V1 || o.V2):
		return nil, errors.New("v1 and v2 are signed by the lineage's oldest signer, which is missing: give it, or sign with v3 alone")
	case oldest == nil && !whole:
		return nil, fmt.Errorf("platforms before SDK version %d want the lineage's oldest signer, which is missing: give it, or rotate from %d on", start, sdkV3)
	}
	s, err := o.blockSigner(*newest)
	if err != nil {
		return nil, err
	}
	s.least, s.dev = start, o.RotationDev
	if s.lineage, err = o.Lineage.Until(newest.Certificate); err != nil {
		return nil, err
	}
	if whole {
		p.v3 = []blockSigner{s}
		if oldest == nil {
			oldest = newest // signs nothing: neither v1 nor v2 is asked for
		}
		return oldest, nil
	}
	before, err := o.blockSigner(*oldest)
	if err != nil {
		return nil, err
	}
	before.least, before.most, before.rotation = before.algs[0].minSDK, start-1, start
	if o.RotationDev {
		before.most = start
	}
	p.v3, p.v31 = []blockSigner{before}, []blockSigner{s}
	return oldest, nil
}

// rotationStart is the first platform that sees the newest signer. Scheme v3 is
// for all platforms that know it or for none, so before v3.1 that is the first.
func (o *SignOptions) rotationStart(minSDK int) (int, error) {
	start := o.RotationMinSDK
	if start == 0 {
		start = sdkV31
	}
	switch {
	case start < sdkV3:
		return 0, fmt.Errorf("rotation from SDK version %d on: no platform before %d knows of it, so give %d or more", start, sdkV3, sdkV3)
	case start < sdkV31 && o.RotationDev:
		return 0, fmt.Errorf("rotation for a platform in development from SDK version %d on: that needs v3.1, so give %d or more", start, sdkV31)
	case start < sdkV31:
		return sdkV3, nil
	}
	return start, nil
}

// v4 returns who signs the .idsig file: who signed with v3, or with v2, and who
// signed with v3.1.
func (p *signPlan) v4() []Signer {
	var out []Signer
	old := p.v3
	if len(old) == 0 {
		old = p.v2
	}
	for _, s := range append(slices.Clip(old), p.v31...) {
		out = append(out, s.Signer)
	}
	return out
}

// digestKinds are the digests of the package that are needed.
func (p *signPlan) digestKinds() map[digestKind]bool {
	kinds := make(map[digestKind]bool)
	for _, s := range slices.Concat(p.v2, p.v3, p.v31) {
		for _, a := range s.algs {
			kinds[a.digest] = true
		}
	}
	return kinds
}
