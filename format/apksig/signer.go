package apksig

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// names are AOSP's names for the issues of one scheme: "V2_SIG_" or "V3_SIG_"
// and what follows.
type names string

func (n names) of(what string) string { return string(n) + "_SIG_" + what }

// record is one signature or digest of a signer.
type record struct {
	id    uint32
	alg   *algorithm // nil: unknown
	value []byte
}

// signer is a signer's part of a scheme's block.
type signer struct {
	index        int
	data         []byte // what is signed
	sigs         []record
	key          []byte // SubjectPublicKeyInfo
	digests      []record
	certs        [][]byte
	attrs        []attribute
	least, most  int          // v3: the SDK versions that it is for
	verified     []*algorithm // that its signatures verified with
	signed       cursor       // what of data is not read yet
	rotation     int          // v3: value of its attribute that names v3.1's first SDK version
	lineage      *Lineage
	lineageNodes []lineageNode
}

type attribute struct {
	id    uint32
	value []byte
}

// maxRecords is how many signatures, digests, certificates or attributes a
// signer may have: each costs time or memory, and the schemes know of few.
const maxRecords = 128

// readRecords reads a sequence of pairs of algorithm and value.
func readRecords(c *cursor) ([]record, bool) {
	var out []record
	for c.more() {
		if len(out) == maxRecords {
			return out, false
		}
		p := c.sub()
		r := record{id: p.uint32(), value: p.bytes()}
		if p.bad {
			return out, false
		}
		r.alg = findAlgorithm(r.id)
		out = append(out, r)
	}
	return out, !c.bad
}

// readSigners reads the list of signers in a scheme's block, each by read,
// until that is false. It stops after one more than most.
func readSigners(block []byte, most int, read func(*signer, *cursor) bool) (signers []*signer, malformed bool) {
	c := &cursor{b: block}
	list := c.sub()
	for list.more() {
		sc := list.sub()
		s := &signer{index: len(signers) + 1}
		signers = append(signers, s)
		if list.bad || len(signers) > most || !read(s, sc) {
			break
		}
	}
	return signers, list.bad
}

// verifySignatures verifies those signatures that platforms of the range would
// take, as AOSP's ApkSigningBlockUtils.getSignaturesToVerify does.
func (v *verifier) verifySignatures(s *signer, n names, sigs *cursor, least, most int) bool {
	var ok bool
	if s.sigs, ok = readRecords(sigs); !ok {
		v.fail(n.of("MALFORMED_SIGNATURE"), "signer %d", s.index)
		return false
	}
	if len(s.sigs) == 0 {
		v.fail(n.of("NO_SIGNATURES"), "signer %d", s.index)
		return false
	}
	for _, r := range s.sigs {
		if r.alg == nil {
			v.warn(n.of("UNKNOWN_SIG_ALGORITHM"), "signer %d: %#x", s.index, r.id)
		}
	}
	take := strongest(s.sigs, least, most)
	if len(take) == 0 {
		v.fail(n.of("NO_SUPPORTED_SIGNATURES"), "signer %d, for SDK versions %d to %d", s.index, least, most)
		return false
	}
	for _, r := range take {
		key, err := parsePublicKey(s.key)
		if err != nil {
			v.fail(n.of("MALFORMED_PUBLIC_KEY"), "signer %d: %v", s.index, err)
			return false
		}
		ok, err := r.alg.verify(key, s.data, r.value)
		if err != nil {
			v.fail(n.of("VERIFY_EXCEPTION"), "signer %d: %#x: %v", s.index, r.id, err)
			return false
		}
		if !ok {
			v.fail(n.of("DID_NOT_VERIFY"), "signer %d: algorithm %#x", s.index, r.id)
			return false
		}
		s.verified = append(s.verified, r.alg)
	}
	return true
}

// strongest picks, for each platform version at which an algorithm appears,
// the strongest signature. Without one for the oldest platform it picks none.
func strongest(sigs []record, least, most int) []record {
	best := make(map[int]record)
	for _, r := range sigs {
		if r.alg == nil || r.alg.minSDK > most {
			continue
		}
		if b, ok := best[r.alg.minSDK]; !ok || r.alg.digest > b.alg.digest {
			best[r.alg.minSDK] = r
		}
	}
	if len(best) == 0 || slices.Min(slices.Collect(maps.Keys(best))) > least {
		return nil
	}
	return slices.SortedFunc(maps.Values(best), func(a, b record) int { return cmp.Compare(a.id, b.id) })
}

// readSigned reads digests and certificates out of what is signed.
func (v *verifier) readSigned(s *signer, n names) bool {
	s.signed = cursor{b: s.data}
	digests, certs := s.signed.sub(), s.signed.sub()
	if s.signed.bad {
		v.fail(n.of("MALFORMED_SIGNER"), "signer %d: signed data", s.index)
		return false
	}
	for certs.more() && len(s.certs) <= maxRecords {
		s.certs = append(s.certs, certs.bytes())
	}
	if certs.bad || len(s.certs) > maxRecords {
		v.fail(n.of("MALFORMED_CERTIFICATE"), "signer %d", s.index)
		return false
	}
	if len(s.certs) == 0 {
		v.fail(n.of("NO_CERTIFICATES"), "signer %d", s.index)
		return false
	}
	var own []byte
	for i, c := range s.certs {
		key, err := certificateKey(c)
		if err != nil {
			v.fail(n.of("MALFORMED_CERTIFICATE"), "signer %d: certificate %d: %v", s.index, i, err)
			return false
		}
		if i == 0 {
			own = key
		}
	}
	if string(own) != string(s.key) && string(normalKey(own)) != string(s.key) {
		v.fail(n.of("PUBLIC_KEY_MISMATCH_BETWEEN_CERTIFICATE_AND_SIGNATURES_RECORD"), "signer %d", s.index)
		return false
	}
	var ok bool
	if s.digests, ok = readRecords(digests); !ok {
		v.fail(n.of("MALFORMED_DIGEST"), "signer %d", s.index)
		return false
	}
	if !slices.EqualFunc(s.sigs, s.digests, func(a, b record) bool { return a.id == b.id }) {
		v.fail(n.of("SIG_ALG_MISMATCH_BETWEEN_SIGNATURES_AND_DIGESTS_RECORDS"), "signer %d", s.index)
		return false
	}
	return true
}

// readAttrs reads the attributes that come next in what is signed.
func (v *verifier) readAttrs(s *signer, n names) bool {
	attrs := s.signed.sub()
	for attrs.more() {
		a := attrs.sub()
		at := attribute{id: a.uint32(), value: a.b}
		if a.bad || len(s.attrs) == maxRecords {
			attrs.bad = true
			break
		}
		s.attrs = append(s.attrs, at)
	}
	if attrs.bad {
		v.fail(n.of("MALFORMED_ADDITIONAL_ATTRIBUTE"), "signer %d, attribute %d", s.index, len(s.attrs))
	}
	return !attrs.bad
}

// verifyDigests compares the digests that signers signed with the package.
func (v *verifier) verifyDigests(ctx context.Context, signers []*signer, n names) error {
	kinds := make(map[digestKind]bool)
	for _, s := range signers {
		for _, a := range s.verified {
			kinds[a.digest] = true
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	sums, err := v.s.digests(ctx, kinds)
	if err == errVerityPage {
		v.fail(n.of("APK_DIGEST_DID_NOT_VERIFY"), "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range signers {
		for _, d := range s.digests {
			if d.alg == nil || !kinds[d.alg.digest] {
				continue
			}
			if sum := sums[d.alg.digest]; string(sum) != string(d.value) {
				v.fail(n.of("APK_DIGEST_DID_NOT_VERIFY"), "signer %d: the package's digest is %s, but %s is signed",
					s.index, hex.EncodeToString(sum), hex.EncodeToString(d.value))
			}
		}
	}
	return nil
}

func (s *signer) String() string { return fmt.Sprintf("signer %d", s.index) }
