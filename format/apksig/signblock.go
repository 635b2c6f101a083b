package apksig

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A blockSigner is one signer of the signing block.
type blockSigner struct {
	Signer
	algs []*algorithm
	spki []byte

	least, most int      // v3: platforms that it is for
	lineage     *Lineage // v3: nil, none
	rotation    int      // v3: where v3.1 begins; 0: there is none
	dev         bool     // v3.1: least is a platform in development
}

func (o *SignOptions) blockSigner(s Signer) (blockSigner, error) {
	algs, spki, err := s.algorithms(o.Verity, o.PSS)
	return blockSigner{Signer: s, algs: algs, spki: spki, most: math.MaxInt32}, err
}

// digestRecords are the digests of the package for each of the algorithms.
func (s *blockSigner) digestRecords(sums map[digestKind][]byte) []byte {
	var b []byte
	for _, a := range s.algs {
		b = append(b, a.record(sums[a.digest])...)
	}
	return b
}

// block returns the whole signing block (AOSP tools/apksig,
// DefaultApkSignerEngine.outputZipSectionsInternal).
func (p *signPlan) block(sums map[digestKind][]byte) ([]byte, error) {
	var pairs []pair
	for _, scheme := range []struct {
		id      uint32
		signers []blockSigner
		sign    func(*blockSigner, map[digestKind][]byte) ([]byte, error)
	}{
		{blockV2, p.v2, p.signV2},
		{blockV31, p.v31, (*blockSigner).signV3},
		{blockV3, p.v3, (*blockSigner).signV3},
	} {
		if len(scheme.signers) == 0 {
			continue
		}
		var list []byte
		for i := range scheme.signers {
			b, err := scheme.sign(&scheme.signers[i], sums)
			if err != nil {
				return nil, fmt.Errorf("signer %d: %w", i+1, err)
			}
			list = append(list, prefixed(b)...)
		}
		pairs = append(pairs, pair{scheme.id, prefixed(list)})
	}
	if p.stamp != nil {
		stamp, err := p.stampPair(sums)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, stamp)
	}
	return appendBlock(nil, pairs), nil
}

// signV2 returns a signer of scheme v2 (AOSP tools/apksig, V2SchemeSigner).
func (p *signPlan) signV2(s *blockSigner, sums map[digestKind][]byte) ([]byte, error) {
	var attrs []byte
	if len(p.v3) > 0 { // a stripped v3 signature shall be noticed
		attrs = attribute4(attrStripped, 3)
	}
	data := prefixed(s.digestRecords(sums), prefixed(s.certificates()...), attrs, nil)
	sigs, err := s.signatures(s.algs, data)
	if err != nil {
		return nil, err
	}
	return prefixed(data, sigs, s.spki), nil
}

// signV3 returns a signer of scheme v3 or v3.1 (AOSP tools/apksig,
// V3SchemeSigner).
func (s *blockSigner) signV3(sums map[digestKind][]byte) ([]byte, error) {
	le := binary.LittleEndian
	sdks := le.AppendUint32(le.AppendUint32(nil, uint32(s.least)), uint32(s.most))
	var attrs []byte
	if s.lineage != nil {
		attrs = append(attrs, prefixed(append(le.AppendUint32(nil, attrLineage), s.lineage.attribute()...))...)
	}
	if s.dev {
		attrs = append(attrs, prefixed(le.AppendUint32(nil, attrRotationDev))...)
	}
	if s.rotation > 0 {
		attrs = append(attrs, attribute4(attrRotationMinSDK, uint32(s.rotation))...)
	}
	data := append(prefixed(s.digestRecords(sums), prefixed(s.certificates()...)), sdks...)
	data = append(data, prefixed(attrs)...)
	sigs, err := s.signatures(s.algs, data)
	if err != nil {
		return nil, err
	}
	return append(append(prefixed(data), sdks...), prefixed(sigs, s.spki)...), nil
}

// attribute4 is an attribute whose value has four bytes.
func attribute4(id, value uint32) []byte {
	return prefixed(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, id), value))
}
