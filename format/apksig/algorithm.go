package apksig

import (
	"crypto"
	//lint:ignore SA1019 old packages are signed with it
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
)

// A digestKind is a way to digest a whole package. The order is AOSP's, of
// strength (ApkSigningBlockUtils.compareContentDigestAlgorithm).
type digestKind int

const (
	chunkedSHA256 digestKind = iota + 1
	veritySHA256
	chunkedSHA512
)

type keyKind int

const (
	rsaPKCS1 keyKind = iota
	rsaPSS
	ecdsaKey
	dsaKey
)

// An algorithm is one of the signature algorithms of the schemes
// (AOSP tools/apksig, SignatureAlgorithm).
type algorithm struct {
	id     uint32
	key    keyKind
	hash   crypto.Hash
	digest digestKind
	minSDK int // the first platform that knows it
}

var algorithms = []algorithm{
	{0x0101, rsaPSS, crypto.SHA256, chunkedSHA256, 24},
	{0x0102, rsaPSS, crypto.SHA512, chunkedSHA512, 24},
	{0x0103, rsaPKCS1, crypto.SHA256, chunkedSHA256, 24},
	{0x0104, rsaPKCS1, crypto.SHA512, chunkedSHA512, 24},
	{0x0201, ecdsaKey, crypto.SHA256, chunkedSHA256, 24},
	{0x0202, ecdsaKey, crypto.SHA512, chunkedSHA512, 24},
	{0x0301, dsaKey, crypto.SHA256, chunkedSHA256, 24},
	{0x0421, rsaPKCS1, crypto.SHA256, veritySHA256, 28},
	{0x0423, ecdsaKey, crypto.SHA256, veritySHA256, 28},
	{0x0425, dsaKey, crypto.SHA256, veritySHA256, 28},
}

func findAlgorithm(id uint32) *algorithm {
	for i := range algorithms {
		if algorithms[i].id == id {
			return &algorithms[i]
		}
	}
	return nil
}

var (
	errKeyKind = errors.New("the key is of another kind than the signature algorithm")
	errKeySize = errors.New("the key is larger than any that Android's tools make")
)

// maxKeyBits bounds what verifying takes: its time grows with the square of a
// modulus' length, which the package chooses.
const maxKeyBits = 16384

// verify reports whether sig is key's signature of data. An error says that
// the key is not for that algorithm.
func (a *algorithm) verify(key crypto.PublicKey, data, sig []byte) (bool, error) {
	h := a.hash.New()
	h.Write(data)
	sum := h.Sum(nil)
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() > maxKeyBits {
			return false, errKeySize
		}
		switch a.key {
		case rsaPKCS1:
			return rsa.VerifyPKCS1v15(k, a.hash, sum, sig) == nil, nil
		case rsaPSS:
			return rsa.VerifyPSS(k, a.hash, sum, sig, &rsa.PSSOptions{SaltLength: a.hash.Size()}) == nil, nil
		}
	case *ecdsa.PublicKey:
		if a.key == ecdsaKey {
			return ecdsa.VerifyASN1(k, sum, sig), nil
		}
	case *dsa.PublicKey:
		if max(k.P.BitLen(), k.Q.BitLen(), k.G.BitLen(), k.Y.BitLen()) > maxKeyBits {
			return false, errKeySize
		}
		if a.key == dsaKey {
			return verifyDSA(k, sum, sig), nil
		}
	}
	return false, errKeyKind
}

func verifyDSA(k *dsa.PublicKey, sum, sig []byte) bool {
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) > 0 {
		return false
	}
	if n := (k.Q.BitLen() + 7) / 8; len(sum) > n { // FIPS 186-4, 4.6: the leftmost bits
		sum = sum[:n]
	}
	return dsa.Verify(k, sum, rs.R, rs.S)
}

// parsePublicKey reads a SubjectPublicKeyInfo. Unlike crypto/x509 it takes an
// RSA modulus that was encoded without the leading zero, as AOSP does.
func parsePublicKey(der []byte) (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err == nil {
		return key, nil
	}
	var spki struct {
		Algorithm struct {
			OID    asn1.ObjectIdentifier
			Params asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	if rest, e := asn1.Unmarshal(der, &spki); e != nil || len(rest) > 0 || !spki.Algorithm.OID.Equal(oidRSA) {
		return nil, err
	}
	var pub struct {
		N asn1.RawValue
		E int
	}
	if rest, e := asn1.Unmarshal(spki.Key.RightAlign(), &pub); e != nil || len(rest) > 0 || pub.N.Tag != asn1.TagInteger || pub.E < 3 {
		return nil, err
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(pub.N.Bytes), E: pub.E}, nil
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

var oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}

// certificateKey returns the SubjectPublicKeyInfo of an X.509 certificate. It
// looks at nothing else: to Android a signer's certificate is a name for its
// key, of which neither dates nor issuer count.
func certificateKey(der []byte) ([]byte, error) {
	var cert struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if rest, err := asn1.Unmarshal(der, &cert); err != nil {
		return nil, err
	} else if len(rest) > 0 {
		return nil, errors.New("bytes after the certificate")
	}
	rest := cert.TBS.Bytes
	fields := 6 // serial number, algorithm, issuer, validity, subject, key
	for i := 0; i < fields; i++ {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			return nil, err
		}
		if i == 0 && v.Class == asn1.ClassContextSpecific && v.Tag == 0 {
			fields++ // the version in front
		}
		if i == fields-1 {
			return v.FullBytes, nil
		}
	}
	return nil, errors.New("no key in the certificate")
}
