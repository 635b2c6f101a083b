package otazip

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"hash"
	"io"
	"math/big"

	"mios"
	"mios/internal/readat"
)

// ErrSignature is what a package comes to that none of the certificates' keys
// signed. It is a [mios.ErrDenied].
var ErrSignature = fmt.Errorf("signed by none of the trusted certificates: %w", mios.ErrDenied)

const (
	eocdSize   = 22 // bytes of the end of central directory, without its comment
	footerSize = 6
	signedBy   = "signed by SignApk\x00" // what tools that show comments show
)

var eocdMagic = []byte("PK\x05\x06")

// The object identifiers of a signature.
var (
	oidData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSigned      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidSHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidECDSASHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// contentInfo is CMS's SignedData in its wrapping (RFC 5652), of one signer and
// without signed attributes, as SignApk writes it.
type contentInfo struct {
	Type   asn1.ObjectIdentifier
	Signed signedData `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version int
	Digests []pkix.AlgorithmIdentifier `asn1:"set"`
	Content struct{ Type asn1.ObjectIdentifier }
	Certs   asn1.RawValue
	Signers []signerInfo `asn1:"set"`
}

type signerInfo struct {
	Version int
	Issuer  struct {
		Name   asn1.RawValue
		Serial *big.Int
	}
	Digest    pkix.AlgorithmIdentifier
	Algorithm pkix.AlgorithmIdentifier
	Signature []byte
}

// sign returns the signature block over a SHA-256 digest.
func sign(digest []byte, cert *x509.Certificate, key crypto.Signer) ([]byte, error) {
	null := asn1.RawValue{Tag: asn1.TagNull}
	sha := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: null}
	si := signerInfo{Version: 1, Digest: sha, Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: null}}
	if _, ok := key.Public().(*ecdsa.PublicKey); ok {
		si.Algorithm = pkix.AlgorithmIdentifier{Algorithm: oidECDSASHA256}
	}
	si.Issuer.Name, si.Issuer.Serial = asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber
	var err error
	if si.Signature, err = key.Sign(rand.Reader, digest, crypto.SHA256); err != nil {
		return nil, err
	}
	info := contentInfo{Type: oidSigned, Signed: signedData{
		Version: 1, Digests: []pkix.AlgorithmIdentifier{sha},
		Certs:   asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: cert.Raw},
		Signers: []signerInfo{si},
	}}
	info.Signed.Content.Type = oidData
	return asn1.Marshal(info)
}

// comment returns the length field and the comment that make a signature block a
// ZIP's whole-file signature.
func comment(block []byte) ([]byte, error) {
	total := len(signedBy) + len(block) + footerSize
	if total > 0xffff {
		return nil, fmt.Errorf("signature of %d bytes is too long for a ZIP's comment: %w", len(block), mios.ErrInvalid)
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(total))
	b = append(append(b, signedBy...), block...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(block)+footerSize))
	b = append(b, 0xff, 0xff)
	b = binary.LittleEndian.AppendUint16(b, uint16(total))
	if bytes.Contains(b[2:], eocdMagic) {
		return nil, fmt.Errorf("signature happens to hold what ends a ZIP: %w: sign again", mios.ErrInvalid)
	}
	return b, nil
}

// A trailer is what the end of a package says of its signature.
type trailer struct {
	signed int64  // bytes from the start that the signature is over
	block  []byte // CMS
}

// readTrailer finds the signature as AOSP's recovery does.
func readTrailer(r io.ReaderAt, size int64) (*trailer, error) {
	var footer [footerSize]byte
	if size < footerSize {
		return nil, bad("", size, "%d bytes, want a package", size)
	}
	if err := readat.Full(r, footer[:], size-footerSize); err != nil {
		return nil, err
	}
	if footer[2] != 0xff || footer[3] != 0xff {
		return nil, bad("", size-footerSize, "no signature over the whole file: it does not end in one's footer")
	}
	start, length := int64(binary.LittleEndian.Uint16(footer[0:])), int64(binary.LittleEndian.Uint16(footer[4:]))
	switch {
	case start > length:
		return nil, bad("", size-footerSize, "signature begins %d bytes before the end, in a comment of %d", start, length)
	case start <= footerSize:
		return nil, bad("", size-footerSize, "signature begins in its footer")
	case size < length+eocdSize:
		return nil, bad("", size-2, "comment of %d bytes in a file of %d", length, size)
	}
	end := make([]byte, length+eocdSize)
	at := size - int64(len(end))
	if err := readat.Full(r, end, at); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(end, eocdMagic) {
		return nil, bad("", at, "no end of a ZIP's directory where the comment's length puts it")
	}
	if i := bytes.Index(end[4:], eocdMagic); i >= 0 {
		return nil, bad("", at+4+int64(i), "a second end of a ZIP's directory")
	}
	return &trailer{signed: at + eocdSize - 2, block: end[int64(len(end))-start : len(end)-footerSize]}, nil
}

// signature takes the signature of the first signer out of a CMS block, and as
// AOSP's recovery looks at nothing else there.
func (t *trailer) signature() ([]byte, error) {
	off := t.signed
	in := func(b []byte, class, tag int) (asn1.RawValue, []byte, error) {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(b, &v)
		if err != nil || v.Class != class || v.Tag != tag {
			return v, nil, bad("", off, "signature block: another structure than CMS's SignedData")
		}
		return v, rest, nil
	}
	any := func(b []byte, n int) ([]byte, error) {
		for range n {
			var v asn1.RawValue
			var err error
			if b, err = asn1.Unmarshal(b, &v); err != nil {
				return nil, bad("", off, "signature block: %v", err)
			}
		}
		return b, nil
	}
	v, _, err := in(t.block, asn1.ClassUniversal, asn1.TagSequence) // ContentInfo
	if err != nil {
		return nil, err
	}
	b, err := any(v.Bytes, 1) // its type
	if err != nil {
		return nil, err
	}
	if v, _, err = in(b, asn1.ClassContextSpecific, 0); err != nil {
		return nil, err
	}
	if v, _, err = in(v.Bytes, asn1.ClassUniversal, asn1.TagSequence); err != nil { // SignedData
		return nil, err
	}
	if b, err = any(v.Bytes, 3); err != nil { // version, digests, content
		return nil, err
	}
	for len(b) > 0 && b[0]&0xc0 == 0x80 { // certificates, revocations
		if b, err = any(b, 1); err != nil {
			return nil, err
		}
	}
	if v, _, err = in(b, asn1.ClassUniversal, asn1.TagSet); err != nil { // SignerInfos
		return nil, err
	}
	if v, _, err = in(v.Bytes, asn1.ClassUniversal, asn1.TagSequence); err != nil { // SignerInfo
		return nil, err
	}
	if b, err = any(v.Bytes, 4); err != nil { // version, signer, digest, algorithm
		return nil, err
	}
	v, _, err = in(b, asn1.ClassUniversal, asn1.TagOctetString)
	return v.Bytes, err
}

// VerifyFile checks the signature over the whole file as AOSP's recovery does,
// and returns the certificate whose key made it. It is an [ErrSignature] if none
// did. Like recovery it does not ask whether the certificates are valid today.
func VerifyFile(ctx context.Context, r io.ReaderAt, size int64, certs []*x509.Certificate) (*x509.Certificate, error) {
	t, err := readTrailer(r, size)
	if err != nil {
		return nil, err
	}
	sig, err := t.signature()
	if err != nil {
		return nil, err
	}
	sums := map[crypto.Hash]hash.Hash{crypto.SHA1: sha1.New(), crypto.SHA256: sha256.New()}
	if !anyUses(certs, crypto.SHA1) {
		delete(sums, crypto.SHA1)
	}
	var all []io.Writer
	for _, h := range sums {
		all = append(all, h)
	}
	if _, err := copyContext(ctx, io.MultiWriter(all...), io.NewSectionReader(r, 0, t.signed)); err != nil {
		return nil, err
	}
	for _, c := range certs {
		kind, ok := hashOf(c)
		if !ok {
			continue
		}
		sum := sums[kind].Sum(nil)
		switch k := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if rsa.VerifyPKCS1v15(k, kind, sum, sig) == nil {
				return c, nil
			}
		case *ecdsa.PublicKey:
			if kind == crypto.SHA256 && ecdsa.VerifyASN1(k, sum, sig) {
				return c, nil
			}
		}
	}
	return nil, ErrSignature
}

// copyContext copies until the context ends.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := r.Read(buf)
		if _, werr := w.Write(buf[:k]); werr != nil {
			return n, werr
		}
		if n += int64(k); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

func anyUses(certs []*x509.Certificate, kind crypto.Hash) bool {
	for _, c := range certs {
		if h, ok := hashOf(c); ok && h == kind {
			return true
		}
	}
	return false
}

// hashOf returns the hash that a certificate's key signs packages with: that of
// its own signature, where SHA-1 stands for MD5 too. Keys that recovery does not
// take have none.
func hashOf(c *x509.Certificate) (crypto.Hash, bool) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n != 2048 && n != 4096 || k.E != 3 && k.E != 65537 {
			return 0, false
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize != 256 {
			return 0, false
		}
	default:
		return 0, false
	}
	switch c.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA:
		return crypto.SHA1, true
	case x509.SHA256WithRSA, x509.ECDSAWithSHA256:
		return crypto.SHA256, true
	}
	return 0, false
}

// ParseCertificates reads the certificates of a PEM file, such as otacert or
// the .x509.pem that releasetools name.
func ParseCertificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %v: %w", len(out), err, mios.ErrInvalid)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no CERTIFICATE in the PEM file: %w", mios.ErrInvalid)
	}
	return out, nil
}
