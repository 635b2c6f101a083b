package inspect

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mios/format/apksig"
	"mios/format/targetfiles"
	"mios/key"
)

// nameOf is what a certificate calls its owner, in short: the common name and the
// organisation, or whatever there is.
func nameOf(c *x509.Certificate) string {
	var out []string
	if c.Subject.CommonName != "" {
		out = append(out, "CN="+c.Subject.CommonName)
	}
	for _, o := range c.Subject.Organization {
		if o != c.Subject.CommonName {
			out = append(out, "O="+o)
		}
	}
	if len(out) == 0 {
		return cmp.Or(fullName(c), "certificate without a name")
	}
	return strings.Join(out, ", ")
}

// signedData is the object identifier of a signature in PKCS #7.
var signedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

// email is the object identifier of an address in a name, which package pkix has
// no word for.
var email = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}

// fullName is all that a certificate says of its owner.
func fullName(c *x509.Certificate) string {
	rest, address := c.Subject, ""
	rest.Names = slices.DeleteFunc(slices.Clone(rest.Names), func(n pkix.AttributeTypeAndValue) bool {
		text, ok := n.Value.(string)
		if ok && n.Type.Equal(email) {
			address = "emailAddress=" + text
		}
		return ok && n.Type.Equal(email)
	})
	return strings.Trim(rest.String()+","+address, ",")
}

func testCertificate(c *x509.Certificate) (path string, ok bool) {
	k, ok := targetfiles.TestCertificate(c)
	return k.Path, ok
}

func testAVBKey(blob []byte) (path string, ok bool) {
	k, ok := targetfiles.TestAVBKey(blob)
	return k.Path, ok
}

// keyKind is a public key's algorithm and size.
func keyKind(pub any) string {
	if a := key.AlgorithmOf(pub); a != "" {
		return string(a)
	}
	return fmt.Sprintf("%T", pub)
}

// certificateFile tells of a certificate.
func (s *scan) certificateFile(der []byte, r *Report) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	r.Kind, r.Title = "certificate", "certificate"
	r.fact("subject", "%s", cmp.Or(fullName(c), "none"))
	if !bytes.Equal(c.RawIssuer, c.RawSubject) {
		r.fact("issuer", "%s", c.Issuer)
	}
	r.fact("serial", "%x", c.SerialNumber)
	r.fact("valid", "%s to %s", c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
	r.fact("key", "%s", keyKind(c.PublicKey))
	r.fact("sha256", "%s", sha256Hex(der))
	r.Summary = nameOf(c)
	if k, ok := testCertificate(c); ok {
		r.testKey("this is", k)
	}
	return nil
}

// publicKey tells of a public key; b is how the file encodes it.
func (s *scan) publicKey(b []byte, pub crypto.PublicKey, r *Report) {
	r.fact("key", "%s", keyKind(pub))
	r.fact("sha256", "%s", sha256Hex(b))
	r.Summary = keyKind(pub)
	if k, ok := targetfiles.TestPublicKey(pub); ok {
		r.testKey("this is", k.Path)
	}
}

// pem tells of a file of PEM blocks.
func (s *scan) pem(in *input, r *Report) error {
	if in.size > maxText {
		return fmt.Errorf("%d bytes of PEM; at most %d are read", in.size, maxText)
	}
	b, err := in.bytes()
	if err != nil {
		return err
	}
	var blocks []*pem.Block
	for len(blocks) < 256 {
		var p *pem.Block
		if p, b = pem.Decode(b); p == nil {
			break
		}
		blocks = append(blocks, p)
	}
	switch len(blocks) {
	case 0:
		return errors.New("no whole block of PEM")
	case 1:
		return s.block(blocks[0], r)
	}
	r.Kind, r.Title = "pem", "PEM"
	for i, p := range blocks {
		c := &Report{Name: fmt.Sprint(i + 1), Size: int64(len(p.Bytes))}
		if err := s.block(p, c); err != nil {
			c.fail(err, "")
		}
		r.part(c)
	}
	r.Summary = count(len(blocks), "block")
	return nil
}

// block tells of one block of PEM.
func (s *scan) block(p *pem.Block, r *Report) error {
	r.Kind, r.Title = "pem", "PEM of "+strings.ToLower(p.Type)
	switch p.Type {
	case "CERTIFICATE":
		return s.certificateFile(p.Bytes, r)
	case "PUBLIC KEY":
		pub, err := x509.ParsePKIXPublicKey(p.Bytes)
		if err != nil {
			return err
		}
		r.Kind, r.Title = "public_key", "public key"
		s.publicKey(p.Bytes, pub, r)
		return nil
	case "RSA PUBLIC KEY":
		pub, err := x509.ParsePKCS1PublicKey(p.Bytes)
		if err != nil {
			return err
		}
		r.Kind, r.Title = "public_key", "public key"
		s.publicKey(p.Bytes, pub, r)
		return nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return s.privateKey(p.Bytes, r)
	case "ENCRYPTED PRIVATE KEY":
		return s.encryptedKey(r)
	case "OPENSSH PRIVATE KEY":
		r.Kind, r.Title = "private_key", "private key of OpenSSH"
		return nil
	}
	return nil
}

func (s *scan) encryptedKey(r *Report) error {
	r.Kind, r.Title, r.Summary = "private_key", "private key", "encrypted"
	r.fact("key", "encrypted with a passphrase")
	return nil
}

// privateKey tells of a private key, DER.
func (s *scan) privateKey(der []byte, r *Report) error {
	k, err := parsePrivate(der)
	if err != nil {
		return err
	}
	r.Kind, r.Title = "private_key", "private key"
	pub := k.Public()
	r.fact("key", "%s, not encrypted", keyKind(pub))
	if b, err := x509.MarshalPKIXPublicKey(pub); err == nil {
		r.fact("public key", "sha256 %s", sha256Hex(b))
	}
	r.Summary = keyKind(pub) + ", not encrypted"
	if t, ok := targetfiles.TestPublicKey(pub); ok {
		r.testKey("this is", t.Path)
	} else {
		r.say(Note, "keep it where only you can read it; mios keys init makes encrypted ones", "whoever reads this file can sign with it")
	}
	return nil
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	return apksig.ParsePrivateKey(der)
}

// isDER says whether the input is one element of ASN.1, and nothing behind it.
func isDER(in *input) bool {
	if in.size > maxText || len(in.head) < 4 {
		return false
	}
	b, err := in.bytes()
	if err != nil {
		return false
	}
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	return err == nil && len(rest) == 0 && v.IsCompound
}

// der tells of a certificate or a key in DER.
func (s *scan) der(in *input, r *Report) error {
	b, err := in.bytes()
	if err != nil {
		return err
	}
	if _, err := x509.ParseCertificate(b); err == nil {
		return s.certificateFile(b, r)
	}
	if _, err := parsePrivate(b); err == nil {
		return s.privateKey(b, r)
	}
	if pub, err := x509.ParsePKIXPublicKey(b); err == nil {
		r.Kind, r.Title = "public_key", "public key"
		s.publicKey(b, pub, r)
		return nil
	}
	var encrypted struct {
		Algorithm struct {
			OID  asn1.ObjectIdentifier
			Rest asn1.RawValue `asn1:"optional"`
		}
		Data []byte
	}
	if rest, err := asn1.Unmarshal(b, &encrypted); err == nil && len(rest) == 0 {
		return s.encryptedKey(r)
	}
	var store struct {
		Version int
		Content struct {
			OID  asn1.ObjectIdentifier
			Rest asn1.RawValue `asn1:"optional,explicit,tag:0"`
		}
		MAC asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(b, &store); err == nil && store.Version == 3 {
		r.Kind, r.Title, r.Summary = "p12", "key store (PKCS #12)", "encrypted"
		r.say(Note, "openssl pkcs12 opens it", "keys in it are behind a passphrase, and not looked at")
		return nil
	}
	var content struct {
		OID  asn1.ObjectIdentifier
		Rest asn1.RawValue `asn1:"optional,explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(b, &content); err == nil && content.OID.Equal(signedData) {
		r.Kind, r.Title = "pkcs7", "signature (PKCS #7)"
		r.skipped("the signature", "it is over another file: inspect the package that it is of")
		return nil
	}
	r.Title = "DER of another kind"
	return nil
}

// otacerts tells of an otacerts.zip.
func (s *scan) otacerts(in *input, r *Report, _ *zip.Reader) error {
	if in.size > maxText {
		return fmt.Errorf("%d bytes; at most %d are read", in.size, maxText)
	}
	b, err := in.bytes()
	if err != nil {
		return err
	}
	certs, err := targetfiles.ParseOTACerts(b)
	if err != nil {
		return err
	}
	for _, c := range certs {
		p := &Report{Name: c.Name, Size: int64(len(c.PEM))}
		if err := s.certificateFile(c.Certificate.Raw, p); err != nil {
			p.fail(err, "")
		}
		r.part(p)
	}
	r.Summary = count(len(certs), "certificate")
	return nil
}
