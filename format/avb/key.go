package avb

import (
	"crypto/rsa"
	"errors"
)

// EncodePublicKey returns the key as AVB stores it (AvbRSAPublicKeyHeader):
// what /avb_pkmd.bin, a vbmeta image and a chain descriptor hold.
func EncodePublicKey(pub *rsa.PublicKey) ([]byte, error) { return nil, errors.New("avb: EncodePublicKey") }

// ParsePublicKey is the inverse of [EncodePublicKey]. Errors are
// [*FormatError].
func ParsePublicKey(b []byte) (*rsa.PublicKey, error) { return nil, errors.New("avb: ParsePublicKey") }
