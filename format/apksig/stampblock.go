package apksig

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
)

// Ids of the pairs of a signing block that hold a stamp, and of a stamp's
// attributes (AOSP tools/apksig, SourceStampConstants).
const (
	blockStampV1     = 0x2b09189e
	blockStamp       = 0x6dff800d
	attrStampLineage = 0x9d6303f7
	attrStampTime    = 0xe43c5946
)

// stampCheck is the verification of one stamp's block (AOSP tools/apksig,
// SourceStampVerifier).
type stampCheck struct {
	stamp       *Stamp
	cert        []byte
	least, most int // SDK versions for which signatures are wanted
}

// v2 verifies a block with the signed digests of each scheme and attributes.
func (k *stampCheck) v2(block, digest []byte, digests map[Scheme]map[digestKind][]byte) *Stamp {
	c := (&cursor{b: block}).sub()
	return k.done(k.certificate(c, digest) && k.schemes(c, digests) && k.attributes(c))
}

// v1 verifies a block with the signed digests of one scheme.
func (k *stampCheck) v1(block, digest []byte, digests map[Scheme]map[digestKind][]byte) *Stamp {
	c := (&cursor{b: block}).sub()
	var data []byte
	for scheme, d := range digests {
		data = stampData(scheme, d)
	}
	return k.done(k.certificate(c, digest) && k.signed(data, c.sub()))
}

// done closes the stamp: whatever is wrong with one has an issue.
func (k *stampCheck) done(ok bool) *Stamp {
	switch {
	case ok && len(k.stamp.Issues) == 0:
		k.stamp.Status = StampVerified
		return k.stamp
	case len(k.stamp.Issues) == 0:
		k.malformed("the block is cut short")
	}
	k.stamp.Status = StampFailed
	return k.stamp
}

func (k *stampCheck) malformed(format string, args ...any) bool {
	k.stamp.fail("SOURCE_STAMP_MALFORMED_SIGNATURE", format, args...)
	return false
}

// certificate reads the stamp's certificate, which must be that whose digest
// the package's entry has.
func (k *stampCheck) certificate(c *cursor, digest []byte) bool {
	k.cert = c.bytes()
	if c.bad {
		return k.malformed("the block is cut short before the certificate")
	}
	if _, err := certificateKey(k.cert); err != nil {
		k.stamp.fail("SOURCE_STAMP_MALFORMED_CERTIFICATE", "%v", err)
		return false
	}
	k.stamp.Certificates = [][]byte{k.cert}
	if sum := sha256.Sum256(k.cert); !bytes.Equal(sum[:], digest) {
		k.stamp.fail("SOURCE_STAMP_CERTIFICATE_MISMATCH_BETWEEN_SIGNATURE_BLOCK_AND_APK",
			"the block's certificate has digest %s, but %s says %s", hex.EncodeToString(sum[:]), stampEntry, hex.EncodeToString(digest))
		return false
	}
	return true
}

// schemes verifies the stamp's signatures of the digests of each scheme that
// the package is signed with.
func (k *stampCheck) schemes(c *cursor, digests map[Scheme]map[digestKind][]byte) bool {
	list := c.sub()
	signatures := make(map[Scheme]*cursor)
	for n := 0; list.more(); n++ {
		sc := list.sub()
		scheme, sigs := Scheme(sc.uint32()), sc.sub()
		if sc.bad || n == maxRecords {
			return k.malformed("scheme %d of the block", n+1)
		}
		signatures[scheme] = sigs
	}
	if list.bad {
		return k.malformed("the list of schemes is cut short")
	}
	for _, scheme := range slices.Sorted(maps.Keys(digests)) {
		if scheme == V31 { // which AOSP's signers of stamps leave out
			k.stamp.note("SOURCE_STAMP_SIGNATURE_SCHEME_NOT_AVAILABLE", "%v", scheme)
			continue
		}
		sigs, ok := signatures[scheme]
		if !ok {
			k.stamp.fail("SOURCE_STAMP_NO_SIGNATURE", "the package is signed with %v, which the stamp does not cover", scheme)
			return false
		}
		if !k.signed(stampData(scheme, digests[scheme]), sigs) {
			return false
		}
	}
	return true
}

// stampDigestID returns AOSP's number for a way to digest (tools/apksig,
// ContentDigestAlgorithm). Of JAR signatures the manifest is digested.
func stampDigestID(scheme Scheme, kind digestKind) uint32 {
	switch {
	case scheme == V1:
		return 4
	case kind == chunkedSHA512:
		return 2
	case kind == veritySHA256:
		return 3
	}
	return 1
}

// stampData returns what a stamp signs for a scheme: the digests in the order
// of their numbers.
func stampData(scheme Scheme, digests map[digestKind][]byte) []byte {
	byID := make(map[uint32][]byte)
	for kind, value := range digests {
		byID[stampDigestID(scheme, kind)] = value
	}
	var b []byte
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		pair := binary.LittleEndian.AppendUint32(nil, id)
		b = append(b, prefixed(append(pair, prefixed(byID[id])...))...)
	}
	return b
}

// signed verifies the stamp's signatures of data: of those that the platforms
// of the range can verify, the strongest.
func (k *stampCheck) signed(data []byte, sigs *cursor) bool {
	if sigs.bad {
		return k.malformed("the block is cut short before a signature")
	}
	all, ok := readRecords(sigs)
	if !ok {
		return k.malformed("signature %d", len(all)+1)
	}
	var known []record
	for _, r := range all {
		if r.alg == nil {
			k.stamp.note("SOURCE_STAMP_UNKNOWN_SIG_ALGORITHM", "%#x", r.id)
			continue
		}
		known = append(known, record{id: r.id, alg: r.alg.anywhere(), value: r.value})
	}
	if len(known) == 0 {
		k.stamp.fail("SOURCE_STAMP_NO_SIGNATURE", "%d signatures, none with a known algorithm", len(all))
		return false
	}
	take := strongest(known, k.least, k.most)
	if len(take) == 0 {
		k.stamp.fail("SOURCE_STAMP_NO_SUPPORTED_SIGNATURE", "for SDK versions %d to %d", k.least, k.most)
		return false
	}
	key, err := stampKey(k.cert)
	for _, r := range take {
		ok := false
		if err == nil {
			ok, err = r.alg.verify(key, data, r.value)
		}
		if err != nil {
			k.stamp.fail("SOURCE_STAMP_VERIFY_EXCEPTION", "algorithm %#x: %v", r.id, err)
			return false
		}
		if !ok {
			k.stamp.fail("SOURCE_STAMP_DID_NOT_VERIFY", "algorithm %#x: the stamp is of other content", r.id)
			return false
		}
	}
	return true
}

func stampKey(cert []byte) (crypto.PublicKey, error) {
	der, err := certificateKey(cert)
	if err != nil {
		return nil, err
	}
	return parsePublicKey(der)
}

// anywhere returns the algorithm as one that any platform with the underlying
// cryptography can verify, with a scheme that knows it or without (AOSP
// tools/apksig, SignatureAlgorithm.getJcaSigAlgMinSdkVersion).
func (a *algorithm) anywhere() *algorithm {
	b := *a
	switch a.key {
	case rsaPSS:
		b.minSDK = 23
	case ecdsaKey:
		b.minSDK = 11
	default:
		b.minSDK = 1
	}
	return &b
}

// attributes reads what comes after the schemes, in blocks that have it.
func (k *stampCheck) attributes(c *cursor) bool {
	if !c.more() {
		return !c.bad
	}
	data, sigs := c.bytes(), c.sub()
	if !k.signed(data, sigs) {
		return false
	}
	attrs := (&cursor{b: data}).sub()
	for n := 1; attrs.more(); n++ {
		ac := attrs.sub()
		id := ac.uint32()
		if ac.bad || n > maxRecords || !k.attribute(id, ac) {
			k.stamp.fail("SOURCE_STAMP_MALFORMED_ATTRIBUTE", "attribute %d", n)
			return false
		}
	}
	return !attrs.bad
}

// attribute reads one attribute; false says that it is malformed.
func (k *stampCheck) attribute(id uint32, value *cursor) bool {
	switch id {
	case attrStampLineage:
		k.lineage(value.b)
	case attrStampTime: // of which more than 8 bytes count for nothing
		if len(value.b) < 8 {
			return false
		}
		if t := int64(binary.LittleEndian.Uint64(value.b)); t > 0 {
			k.stamp.Timestamp = t
		} else {
			k.stamp.fail("SOURCE_STAMP_INVALID_TIMESTAMP", "%d", t)
		}
	default:
		k.stamp.note("SOURCE_STAMP_UNKNOWN_ATTRIBUTE", "%#x", id)
	}
	return true
}

// lineage reads the lineage of the stamp's certificate, which ends with it.
func (k *stampCheck) lineage(value []byte) {
	l, fault := readLineage(value)
	k.stamp.Lineage = l
	switch {
	case fault == nil && l.Index(k.cert) < l.Len()-1:
		k.stamp.fail("SOURCE_STAMP_POR_CERT_MISMATCH", "the lineage does not end with the stamp's certificate")
	case fault == nil:
	case fault.kind == lineageUnproven:
		k.stamp.fail("SOURCE_STAMP_POR_DID_NOT_VERIFY", "lineage: %s", fault.msg)
	case fault.kind == lineageUnknown:
		k.stamp.fail("SOURCE_STAMP_POR_CERT_MISMATCH", "lineage: %s", fault.msg)
	default:
		k.stamp.fail("SOURCE_STAMP_MALFORMED_LINEAGE", "lineage: %s", fault.msg)
	}
}
