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
	index       int
	data        []byte // what is signed
	sigs        []record
	key         []byte // SubjectPublicKeyInfo
	digests     []record
	certs       [][]byte
	least, most int          // v3: the SDK versions that it is for
	verified    []*algorithm // that its signatures verified with
	whole       bool         // v3: it verified so far that its attributes are read
	rotation    []int        // v3: values of its attributes that name v3.1's first SDK version
	dev         bool         // v3.1: for a platform in development, which bears the version before
	lineage     *Lineage
	stop        bool // too malformed for the signers that follow to be read
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
		if !read(s, sc) || list.bad || len(signers) > most {
			break
		}
	}
	return signers, c.bad
}

// malformed fails for a signer after which the others cannot be told any more.
func (v *verifier) malformed(s *signer, n names, what string) bool {
	s.stop = true
	v.fail(n.of("MALFORMED_SIGNER"), "%s is cut short", what)
	return false
}

// verifySignatures verifies those signatures that platforms of the range would
// take, as AOSP's ApkSigningBlockUtils.getSignaturesToVerify does.
func (v *verifier) verifySignatures(s *signer, n names, sigs *cursor, least, most int) bool {
	var ok bool
	if s.sigs, ok = readRecords(sigs); !ok {
		v.fail(n.of("MALFORMED_SIGNATURE"), "signature %d", len(s.sigs)+1)
		return false
	}
	if len(s.sigs) == 0 {
		v.fail(n.of("NO_SIGNATURES"), "")
		return false
	}
	for _, r := range s.sigs {
		if r.alg == nil {
			v.warn(n.of("UNKNOWN_SIG_ALGORITHM"), "%#x", r.id)
		}
	}
	take := strongest(s.sigs, least, most)
	if len(take) == 0 {
		v.fail(n.of("NO_SUPPORTED_SIGNATURES"), "none for all of the SDK versions %d to %d", least, most)
		return false
	}
	key, err := parsePublicKey(s.key)
	if err != nil {
		v.fail(n.of("MALFORMED_PUBLIC_KEY"), "%v", err)
		return false
	}
	for _, r := range take {
		ok, err := r.alg.verify(key, s.data, r.value)
		if err != nil {
			v.fail(n.of("VERIFY_EXCEPTION"), "algorithm %#x: %v", r.id, err)
			return false
		}
		if !ok {
			v.fail(n.of("DID_NOT_VERIFY"), "algorithm %#x", r.id)
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

// readCertificates reads the signer's certificates, and compares the first with
// the key that the signatures verified with.
func (v *verifier) readCertificates(s *signer, n names, certs *cursor) bool {
	for certs.more() {
		c := certs.bytes()
		if certs.bad || len(s.certs) == maxRecords {
			return v.malformed(s, n, "the list of certificates")
		}
		if _, err := certificateKey(c); err != nil {
			v.fail(n.of("MALFORMED_CERTIFICATE"), "certificate %d: %v", len(s.certs)+1, err)
			return false
		}
		s.certs = append(s.certs, c)
	}
	if len(s.certs) == 0 {
		v.fail(n.of("NO_CERTIFICATES"), "")
		return false
	}
	own, err := certificateKey(s.certs[0])
	if err != nil || string(own) != string(s.key) && string(normalKey(own)) != string(s.key) {
		v.fail(n.of("PUBLIC_KEY_MISMATCH_BETWEEN_CERTIFICATE_AND_SIGNATURES_RECORD"), "")
		return false
	}
	return true
}

// readDigests reads the digests that are signed, which must be for the same
// algorithms as the signatures.
func (v *verifier) readDigests(s *signer, n names, digests *cursor) bool {
	var ok bool
	if s.digests, ok = readRecords(digests); !ok {
		v.fail(n.of("MALFORMED_DIGEST"), "digest %d", len(s.digests)+1)
		return false
	}
	if !slices.EqualFunc(s.sigs, s.digests, func(a, b record) bool { return a.id == b.id }) {
		v.fail(n.of("SIG_ALG_MISMATCH_BETWEEN_SIGNATURES_AND_DIGESTS_RECORDS"), "")
		return false
	}
	return true
}

// readAttrs reads the attributes, and has each looked at.
func (v *verifier) readAttrs(s *signer, n names, attrs *cursor, look func(id uint32, value []byte) bool) {
	for i := 1; attrs.more(); i++ {
		a := attrs.sub()
		id := a.uint32()
		if a.bad || i > maxRecords || !look(id, a.b) {
			v.fail(n.of("MALFORMED_ADDITIONAL_ATTRIBUTE"), "attribute %d", i)
			return
		}
	}
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
	sums, err := v.packageDigests(ctx, kinds)
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
				v.signer = s.String()
				v.fail(n.of("APK_DIGEST_DID_NOT_VERIFY"), "the package's digest is %s, but %s is signed",
					hex.EncodeToString(sum), hex.EncodeToString(d.value))
				v.signer = ""
			}
		}
	}
	return nil
}

func (s *signer) String() string { return fmt.Sprintf("signer %d", s.index) }
