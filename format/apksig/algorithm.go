package apksig

import (
	"crypto"
	//lint:ignore SA1019 old packages are signed with it
	"crypto/dsa"
	"crypto/ecdsa"
	_ "crypto/md5"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
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
// the key is not for that algorithm, or that sig is no signature at all.
func (a *algorithm) verify(key crypto.PublicKey, data, sig []byte) (bool, error) {
	h := a.hash.New()
	h.Write(data)
	return verifySum(key, a.key, a.hash, h.Sum(nil), sig)
}

// verifySum reports whether sig is key's signature, of that kind, of what has
// the digest sum.
func verifySum(key crypto.PublicKey, kind keyKind, h crypto.Hash, sum, sig []byte) (bool, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() > maxKeyBits {
			return false, errKeySize
		}
		if kind != rsaPKCS1 && kind != rsaPSS {
			return false, errKeyKind
		}
		if len(sig) != k.Size() {
			return false, fmt.Errorf("a signature of %d bytes, and a key of %d", len(sig), k.Size())
		}
		if kind == rsaPKCS1 {
			return rsa.VerifyPKCS1v15(k, h, sum, sig) == nil, nil
		}
		return rsa.VerifyPSS(k, h, sum, sig, &rsa.PSSOptions{SaltLength: h.Size()}) == nil, nil
	case *ecdsa.PublicKey:
		if kind == ecdsaKey {
			return ecdsa.VerifyASN1(k, sum, sig), nil
		}
	case *dsa.PublicKey:
		if max(k.P.BitLen(), k.Q.BitLen(), k.G.BitLen(), k.Y.BitLen()) > maxKeyBits {
			return false, errKeySize
		}
		if kind == dsaKey {
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
