package apksig

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
)

// Object identifiers, as the bytes that encode them.
const (
	oidRSA      = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	oidKeyUsage = "\x55\x1d\x0f"
)

// knownExtensions are those that a certificate may call critical: Android must
// know what it means (java.security.cert, as libcore implements it).
var knownExtensions = []string{
	oidKeyUsage,
	"\x55\x1d\x0e", "\x55\x1d\x10", "\x55\x1d\x11", "\x55\x1d\x12", "\x55\x1d\x13", "\x55\x1d\x1e", "\x55\x1d\x1f",
	"\x55\x1d\x20", "\x55\x1d\x21", "\x55\x1d\x23", "\x55\x1d\x24", "\x55\x1d\x25", "\x55\x1d\x2e", "\x55\x1d\x36",
	"\x60\x86\x48\x01\x86\xf8\x42\x01\x01",                                 // Netscape's certificate type
	"\x2b\x06\x01\x05\x05\x07\x01\x01", "\x2b\x06\x01\x05\x05\x07\x01\x0b", // authority and subject information access
}

// A certificate is what counts of an X.509 certificate (RFC 5280) to Android: a
// signer's certificate is a name for its key, of which neither dates nor issuer
// count.
type certificate struct {
	raw             []byte
	serial          *big.Int
	issuer, subject []byte // as they are encoded
	key             []byte // SubjectPublicKeyInfo
	signs           bool   // its key usage, if it has one, lets it sign
	unknownCritical bool   // it has an extension that is critical and unknown
}

var errCertificate = errors.New("not an X.509 certificate")

// parseCertificate reads a certificate, which may be in BER.
func parseCertificate(b []byte) (*certificate, error) {
	whole, rest, err := readBER(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errors.New("bytes after the certificate")
	}
	outer := whole.sequence()
	v := outer.next(tagSequence)
	outer.algorithm()
	outer.next(tagBitString)
	c, tbs := &certificate{raw: b, signs: true}, v.sequence()
	tbs.optional(0) // version
	c.serial = bigInt(tbs.next(tagInteger).body)
	tbs.algorithm()
	c.issuer = tbs.next(tagSequence).full
	tbs.next(tagSequence) // validity
	c.subject = tbs.next(tagSequence).full
	c.key = tbs.next(tagSequence).full
	tbs.optional(1) // unique identifiers
	tbs.optional(2)
	if outer.bad || tbs.bad {
		return nil, errCertificate
	}
	if ext, ok := tbs.optional(3); ok {
		if err := c.extensions(ext.body); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *certificate) extensions(b []byte) error {
	list, _, err := readBER(b)
	if err != nil {
		return err
	}
	all, err := berList(list.body, maxRecords)
	if err != nil {
		return err
	}
	for _, v := range all {
		e := v.sequence()
		oid, value := e.oid(), e.any()
		critical := false
		if value.is(1) {
			critical = len(value.body) == 1 && value.body[0] != 0
			value = e.any()
		}
		if e.bad || !value.is(tagOctetString) {
			return errCertificate
		}
		if critical && !slices.Contains(knownExtensions, oid) {
			c.unknownCritical = true
		}
		if oid == oidKeyUsage {
			bits, _, err := readBER(value.body)
			if err != nil {
				return err
			}
			// The first bit is for digital signatures, the second for those that cannot be denied.
			c.signs = len(bits.body) > 1 && bits.body[1]&0xc0 != 0
		}
	}
	return nil
}

// certificateKey returns the SubjectPublicKeyInfo of a certificate.
func certificateKey(b []byte) ([]byte, error) {
	c, err := parseCertificate(b)
	if err != nil {
		return nil, err
	}
	return c.key, nil
}

// parsePublicKey reads a SubjectPublicKeyInfo. Unlike crypto/x509 it takes an
// RSA modulus that was encoded without the leading zero, and BER, as AOSP does.
func parsePublicKey(der []byte) (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err == nil {
		return key, nil
	}
	whole, _, e := readBER(der)
	if e != nil {
		return nil, e
	}
	spki := whole.sequence()
	alg := spki.algorithm()
	bits := spki.next(tagBitString).body
	if spki.bad || alg != oidRSA || len(bits) < 2 {
		return nil, err
	}
	pub, _, e := readBER(bits[1:])
	if e != nil {
		return nil, e
	}
	fields := pub.sequence()
	n, exp := fields.next(tagInteger), new(big.Int).SetBytes(fields.next(tagInteger).body)
	if fields.bad || exp.BitLen() > 31 || exp.Cmp(big.NewInt(3)) < 0 {
		return nil, err
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n.body), E: int(exp.Int64())}, nil
}

// normalKey encodes a key anew, with the zero in front of the modulus that
// [parsePublicKey] lets be missing. A key that is of another kind is nil.
func normalKey(der []byte) []byte {
	key, err := parsePublicKey(der)
	if err != nil {
		return nil
	}
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil
	}
	return b
}

// sameName reports whether two distinguished names are the same, as Java's
// X500Principal says: case and spaces do not count in strings.
func sameName(a, b []byte) bool {
	return string(a) == string(b) || canonicalName(a) == canonicalName(b)
}

// canonicalName returns a name's parts, each value in a form that only another
// name can have. What is not a name is its own.
func canonicalName(b []byte) string {
	whole, _, err := readBER(b)
	if err != nil {
		return string(b)
	}
	sets, err := berList(whole.body, maxRecords)
	if err != nil {
		return string(b)
	}
	var out strings.Builder
	for _, set := range sets {
		attrs, err := berList(set.body, maxRecords)
		if err != nil {
			return string(b)
		}
		parts := make([]string, len(attrs))
		for i, a := range attrs {
			c := a.sequence()
			oid, value := c.oid(), c.any()
			text := string(value.full)
			if value.is(tagPrintable) || value.is(tagUTF8) {
				text = "=" + strings.ToLower(strings.Join(strings.Fields(string(value.body)), " "))
			}
			parts[i] = oid + "\x00" + text + "\x00"
		}
		slices.Sort(parts)
		out.WriteString(strings.Join(parts, "\x01") + "\x02")
	}
	return out.String()
}
