package apksig

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A StampSigner vouches for where a package comes from.
type StampSigner struct {
	Signer
	Lineage *Lineage  // of the signer's certificate, which ends it; nil: none
	Time    time.Time // when the package was stamped; zero: the stamp does not say
}

// check reports what the stamp could not be made of.
func (s *StampSigner) check() error {
	if _, _, err := s.algorithm(); err != nil {
		return fmt.Errorf("stamp: %w", err)
	}
	if s.Lineage != nil && s.Lineage.Index(s.Certificate) != s.Lineage.Len()-1 {
		return errors.New("stamp: its lineage ends with another certificate: give the key of its newest")
	}
	if !s.Time.IsZero() && s.Time.Unix() <= 0 {
		return fmt.Errorf("stamp: the time %v is before 1970: set the clock, or leave the time out", s.Time)
	}
	return nil
}

// entry returns the content of the entry that a stamped package has.
func (s *StampSigner) entry() []byte {
	sum := sha256.Sum256(s.Certificate)
	return sum[:]
}

// block returns the value of the pair that is the stamp of a package with those
// digests (AOSP tools/apksig, V2SourceStampSigner).
func (s *StampSigner) block(digests map[Scheme]map[digestKind][]byte) ([]byte, error) {
	alg, _, err := s.algorithm()
	if err != nil {
		return nil, err
	}
	algs := []*algorithm{alg}
	var schemes []byte
	for _, scheme := range slices.Sorted(maps.Keys(digests)) {
		sigs, err := s.signatures(algs, stampData(scheme, digests[scheme]))
		if err != nil {
			return nil, err
		}
		of := binary.LittleEndian.AppendUint32(nil, uint32(scheme))
		schemes = append(schemes, prefixed(append(of, prefixed(sigs)...))...)
	}
	attrs := prefixed(s.attributes())
	sigs, err := s.signatures(algs, attrs)
	if err != nil {
		return nil, err
	}
	return prefixed(prefixed(s.Certificate, schemes, attrs, sigs)), nil
}

func (s *StampSigner) attributes() []byte {
	le := binary.LittleEndian
	var b []byte
	if s.Lineage != nil {
		b = append(b, prefixed(append(le.AppendUint32(nil, attrStampLineage), s.Lineage.attribute()...))...)
	}
	if !s.Time.IsZero() {
		b = append(b, prefixed(le.AppendUint64(le.AppendUint32(nil, attrStampTime), uint64(s.Time.Unix())))...)
	}
	return b
}

// stampPair returns the pair of the signing block that is the stamp. It covers
// v2, v3 and v1, as far as the package is signed with them; AOSP's covers no
// v3.1.
func (p *signPlan) stampPair(sums map[digestKind][]byte) (pair, error) {
	digests := make(map[Scheme]map[digestKind][]byte)
	for scheme, signers := range map[Scheme][]blockSigner{V2: p.v2, V3: p.v3} {
		for _, s := range signers {
			for _, a := range s.algs {
				if digests[scheme] == nil {
					digests[scheme] = make(map[digestKind][]byte)
				}
				digests[scheme][a.digest] = sums[a.digest]
			}
		}
	}
	if len(p.v1) > 0 {
		digests[V1] = map[digestKind][]byte{chunkedSHA256: p.manifest}
	}
	b, err := p.stamp.block(digests)
	if err != nil {
		return pair{}, fmt.Errorf("stamp: %w", err)
	}
	return pair{blockStamp, b}, nil
}
