package apksig

import (
	"bytes"
	"crypto"
	"fmt"
	"math/big"
	"slices"
)

// Object identifiers of PKCS #7, as the bytes that encode them.
const (
	oidSignedData    = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	oidContentType   = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03"
	oidMessageDigest = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04"
)

// signedData is what counts of a PKCS #7 SignedData (RFC 5652, of which Android
// knows RFC 2315's part).
type signedData struct {
	content string // type of what is signed
	certs   []berValue
	infos   []signerInfo
}

// A signerInfo is one signature in it.
type signerInfo struct {
	issuer         []byte   // nil: the signer is named in a way that Android does not know
	serial         *big.Int // of the signer's certificate
	digest, cipher string   // algorithms
	attrs          []byte   // the signed attributes as they are encoded; nil: what is signed is the content itself
	sig            []byte
}

// parseSignedData reads a signature block.
func parseSignedData(b []byte) (*signedData, error) {
	whole, _, err := readBER(b)
	if err != nil {
		return nil, err
	}
	ci := whole.sequence()
	if oid := ci.oid(); !ci.bad && oid != oidSignedData {
		return nil, fmt.Errorf("not PKCS #7 signed data, but of type %x", oid)
	}
	explicit, ok := ci.optional(0)
	if !ok {
		return nil, errBER
	}
	body, _, err := readBER(explicit.body)
	if err != nil {
		return nil, err
	}
	sd, c := new(signedData), body.sequence()
	c.next(tagInteger) // version
	c.next(tagSet)     // digest algorithms
	encap := c.next(tagSequence)
	in := encap.sequence()
	sd.content = in.oid()
	certs, _ := c.optional(0)
	c.optional(1) // revocation lists
	infos := c.next(tagSet)
	if c.bad || in.bad {
		return nil, errBER
	}
	if sd.certs, err = berList(certs.body, maxRecords); err != nil {
		return nil, err
	}
	list, err := berList(infos.body, maxRecords)
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		info, err := parseSignerInfo(v)
		if err != nil {
			return nil, err
		}
		sd.infos = append(sd.infos, info)
	}
	return sd, nil
}

func parseSignerInfo(v berValue) (signerInfo, error) {
	var info signerInfo
	c := v.sequence()
	c.next(tagInteger) // version
	switch sid := c.any(); {
	case sid.is(tagSequence):
		in := sid.sequence()
		info.issuer = in.any().full
		info.serial = bigInt(in.next(tagInteger).body)
		c.bad = c.bad || in.bad
	case !sid.context(0):
		c.bad = true
	}
	info.digest = c.algorithm()
	if attrs, ok := c.optional(0); ok {
		info.attrs = attrs.full
	}
	info.cipher = c.algorithm()
	info.sig = c.next(tagOctetString).body
	if c.bad {
		return info, errBER
	}
	return info, nil
}

// content is a manifest or signature file, and its digests.
type content struct {
	text string
	gone bool // text is not kept: there are only the digests that were taken
	sums map[crypto.Hash][]byte
}

func (c *content) sum(h crypto.Hash) []byte {
	if c.sums[h] == nil {
		if c.gone {
			panic("apksig: a digest is wanted that was not taken") // digestFile takes all
		}
		if c.sums == nil {
			c.sums = make(map[crypto.Hash][]byte)
		}
		c.sums[h] = sumString(h.New(), c.text)
	}
	return c.sums[h]
}

// verify verifies info's signature of sf for platforms of the range. It returns
// the signer's certificate, nil if the signature does not verify, or why it is
// none at all (AOSP tools/apksig, V1SchemeVerifier.verifySignerInfoAgainstSigFile).
func (sd *signedData) verify(info *signerInfo, certs []*certificate, sf *content, least, most int) (*certificate, Issue) {
	refuse := func(format string, args ...any) (*certificate, Issue) {
		return nil, Issue{Name: "JAR_SIG_VERIFY_EXCEPTION", Detail: fmt.Sprintf(format, args...)}
	}
	alg := jarAlgorithm{findDigest(info.digest), findCipher(info.cipher)}
	if gap, ok := alg.unsupported(least, most); ok {
		return nil, Issue{Name: "JAR_SIG_UNSUPPORTED_SIG_ALG", Detail: fmt.Sprintf(
			"digest %s with signature %s on SDK versions %s", digestName(info.digest), cipherName(info.cipher), gap)}
	}
	i := slices.IndexFunc(certs, func(c *certificate) bool {
		return info.issuer != nil && c.serial.Cmp(info.serial) == 0 && sameName(c.issuer, info.issuer)
	})
	if i < 0 {
		return refuse("the signer's certificate is not in the block")
	}
	cert := certs[i]
	if cert.unknownCritical {
		return refuse("the certificate has a critical extension that Android does not know")
	}
	if !cert.signs {
		return refuse("the certificate's key usage does not let it sign")
	}
	key, err := parsePublicKey(cert.key)
	if err != nil {
		return refuse("public key: %v", err)
	}
	h := alg.hash()
	sum := sf.sum(h)
	if info.attrs != nil {
		if least < sdkKitKat {
			return refuse("signed attributes, which platforms before SDK version %d do not verify", sdkKitKat)
		}
		if ok, issue := sd.checkAttributes(info, alg, sf, most); !ok {
			return nil, issue
		}
		w := h.New()
		w.Write([]byte{0x31}) // a set, and not the context's field 0
		w.Write(info.attrs[1:])
		sum = w.Sum(nil)
	}
	ok, err := verifySum(key, alg.cipher.kind, h, sum, info.sig)
	if err != nil {
		return refuse("%v", err)
	}
	if !ok {
		cert = nil
	}
	return cert, Issue{}
}

// checkAttributes reports whether the signed attributes are of what is signed.
// An issue says that they are none.
func (sd *signedData) checkAttributes(info *signerInfo, alg jarAlgorithm, sf *content, most int) (bool, Issue) {
	refuse := func(name, format string, args ...any) (bool, Issue) {
		return false, Issue{Name: name, Detail: "signed attributes: " + fmt.Sprintf(format, args...)}
	}
	set, _, err := readBER(info.attrs)
	if err != nil {
		return refuse("JAR_SIG_VERIFY_EXCEPTION", "%v", err)
	}
	list, err := berList(set.body, maxRecords)
	if err != nil {
		return refuse("JAR_SIG_VERIFY_EXCEPTION", "%v", err)
	}
	attrs := make(map[string][]berValue, len(list))
	for _, v := range list {
		c := v.sequence()
		oid, set := c.oid(), c.next(tagSet)
		values, err := berList(set.body, maxRecords)
		if err != nil || c.bad {
			return refuse("JAR_SIG_VERIFY_EXCEPTION", "%v", errBER)
		}
		if _, twice := attrs[oid]; twice {
			return refuse("JAR_SIG_PARSE_EXCEPTION", "attribute %x twice", oid)
		}
		attrs[oid] = values
	}
	if most >= sdkV2 { // older platforms do not look
		switch types := attrs[oidContentType]; {
		case len(types) == 0:
			return refuse("JAR_SIG_VERIFY_EXCEPTION", "no content type")
		case len(types) > 1 || !types[0].is(tagOID):
			return refuse("JAR_SIG_PARSE_EXCEPTION", "content type is not one object identifier")
		case string(types[0].body) != sd.content:
			return false, Issue{}
		}
	}
	switch sums := attrs[oidMessageDigest]; {
	case len(sums) == 0:
		return refuse("JAR_SIG_VERIFY_EXCEPTION", "no content digest")
	case len(sums) > 1 || !sums[0].is(tagOctetString):
		return refuse("JAR_SIG_PARSE_EXCEPTION", "content digest is not one octet string")
	default:
		return bytes.Equal(sums[0].body, sf.sum(alg.digest)), Issue{}
	}
}

// chain returns leaf and, as far as certs has them, those that issued it.
func chain(certs []*certificate, leaf *certificate) [][]byte {
	out := [][]byte{leaf.raw}
	left := slices.DeleteFunc(slices.Clone(certs), func(c *certificate) bool { return c == leaf })
	for !sameName(leaf.subject, leaf.issuer) {
		i := slices.IndexFunc(left, func(c *certificate) bool { return sameName(c.subject, leaf.issuer) })
		if i < 0 {
			break
		}
		leaf = left[i]
		out = append(out, leaf.raw)
		left = slices.Delete(left, i, i+1)
	}
	return out
}
