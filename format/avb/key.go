package avb

import (
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"math/big"
)

const publicExponent = 65537 // of every key that AVB knows

// EncodePublicKey returns the key as AVB stores it (AvbRSAPublicKeyHeader, n,
// 2^(2·bits) mod n): what /avb_pkmd.bin, a vbmeta image and a chain descriptor
// hold. The key must have 2048, 4096 or 8192 bits and the exponent 65537.
func EncodePublicKey(pub *rsa.PublicKey) ([]byte, error) {
	bits := pub.N.BitLen()
	if bits != 2048 && bits != 4096 && bits != 8192 {
		return nil, fmt.Errorf("avb: RSA key of %d bits: want 2048, 4096 or 8192", bits)
	}
	if pub.E != publicExponent {
		return nil, fmt.Errorf("avb: RSA key with exponent %d: want %d", pub.E, publicExponent)
	}
	if pub.N.Bit(0) == 0 {
		return nil, fmt.Errorf("avb: RSA key with an even modulus")
	}
	word := new(big.Int).Lsh(big.NewInt(1), 32)
	inv := new(big.Int).ModInverse(pub.N, word) // exists: n is odd
	n0inv := word.Sub(word, inv)
	rr := new(big.Int).Lsh(big.NewInt(1), uint(2*bits))
	rr.Mod(rr, pub.N)

	b := make([]byte, 8+2*bits/8)
	binary.BigEndian.PutUint32(b, uint32(bits))
	binary.BigEndian.PutUint32(b[4:], uint32(n0inv.Uint64()))
	pub.N.FillBytes(b[8 : 8+bits/8])
	rr.FillBytes(b[8+bits/8:])
	return b, nil
}

// ParsePublicKey is the inverse of [EncodePublicKey]. Errors are
// [*FormatError].
func ParsePublicKey(b []byte) (*rsa.PublicKey, error) {
	if len(b) < 8 {
		return nil, bad(0, "public key: %d bytes, want at least 8", len(b))
	}
	bits := int64(binary.BigEndian.Uint32(b))
	if bits != 2048 && bits != 4096 && bits != 8192 {
		return nil, bad(0, "public key of %d bits", bits)
	}
	if int64(len(b)) != 8+2*bits/8 {
		return nil, bad(0, "public key of %d bits in %d bytes, want %d", bits, len(b), 8+2*bits/8)
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(b[8 : 8+bits/8]), E: publicExponent}
	if int64(pub.N.BitLen()) != bits {
		return nil, bad(8, "public key: modulus of %d bits, want %d", pub.N.BitLen(), bits)
	}
	again, err := EncodePublicKey(pub)
	if err != nil {
		return nil, bad(8, "public key: modulus is even")
	}
	for i := range b {
		if b[i] != again[i] {
			return nil, bad(int64(i), "public key: precomputed values do not fit the modulus")
		}
	}
	return pub, nil
}
