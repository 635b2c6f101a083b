package avb

import (
	"crypto"
	"fmt"
)

// An Algorithm says how a vbmeta image is hashed and signed (AvbAlgorithmType).
type Algorithm uint32

// The algorithms, all RSA with PKCS#1 v1.5 padding.
const (
	None Algorithm = iota
	SHA256RSA2048
	SHA256RSA4096
	SHA256RSA8192
	SHA512RSA2048
	SHA512RSA4096
	SHA512RSA8192
)

// algorithms is indexed by Algorithm.
var algorithms = [...]struct {
	name string
	hash crypto.Hash
	bits int
}{
	{"NONE", 0, 0},
	{"SHA256_RSA2048", crypto.SHA256, 2048},
	{"SHA256_RSA4096", crypto.SHA256, 4096},
	{"SHA256_RSA8192", crypto.SHA256, 8192},
	{"SHA512_RSA2048", crypto.SHA512, 2048},
	{"SHA512_RSA4096", crypto.SHA512, 4096},
	{"SHA512_RSA8192", crypto.SHA512, 8192},
}

// Known reports whether a is one of the algorithms above.
func (a Algorithm) Known() bool { return int64(a) < int64(len(algorithms)) }

// String returns avbtool's name of the algorithm, as in "SHA256_RSA4096".
func (a Algorithm) String() string {
	if !a.Known() {
		return fmt.Sprintf("Algorithm(%d)", uint32(a))
	}
	return algorithms[a].name
}

// Hash returns the hash function, or 0 for [None] and unknown algorithms.
func (a Algorithm) Hash() crypto.Hash {
	if !a.Known() {
		return 0
	}
	return algorithms[a].hash
}

// KeyBits returns the size of the RSA modulus in bits, or 0.
func (a Algorithm) KeyBits() int {
	if !a.Known() {
		return 0
	}
	return algorithms[a].bits
}

// ParseAlgorithm is the inverse of [Algorithm.String].
func ParseAlgorithm(name string) (Algorithm, error) {
	for i, a := range algorithms {
		if a.name == name {
			return Algorithm(i), nil
		}
	}
	return 0, fmt.Errorf("avb: algorithm %q: unknown; use NONE, SHA256_RSA2048, SHA256_RSA4096 … SHA512_RSA8192", name)
}

// AlgorithmFor returns the algorithm that hashes with h and signs with an RSA
// key of that many bits.
func AlgorithmFor(h crypto.Hash, bits int) (Algorithm, error) {
	for i, a := range algorithms {
		if i > 0 && a.hash == h && a.bits == bits {
			return Algorithm(i), nil
		}
	}
	return 0, fmt.Errorf("avb: %v with an RSA key of %d bits: no such algorithm; use SHA-256 or SHA-512 and a key of 2048, 4096 or 8192 bits", h, bits)
}
