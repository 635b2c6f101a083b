package avb

import (
	"crypto"
	"errors"
	"io"
)

// A VBMeta is a vbmeta image.
type VBMeta struct {
	RequiredMinor         uint32 // of AVB 1.x; WriteTo raises it to what the contents need
	Algorithm             Algorithm
	RollbackIndex         uint64
	RollbackIndexLocation uint32
	Flags                 Flags
	Release               string // the tool that made it, as "avbtool 1.3.0"
	Descriptors           []Descriptor
	PublicKey             []byte // in AVB's encoding
	PublicKeyMetadata     []byte
	Hash                  []byte // of header and descriptors
	Signature             []byte
}

// Parse reads the vbmeta image that fills b. Errors are [*FormatError]. It
// verifies nothing: see [VerifyVBMeta].
func Parse(b []byte) (*VBMeta, error) { return nil, errors.New("avb: Parse") }

// Size returns the size in bytes of the vbmeta image that b begins with, of
// which b needs to hold only the header.
func Size(b []byte) (int64, error) { return 0, errors.New("avb: Size") }

// Read finds the vbmeta image of a partition of size bytes: where its footer
// says, or else at the beginning. It returns the image's bytes, and the footer
// or nil.
func Read(r io.ReaderAt, size int64) ([]byte, *Footer, error) { return nil, nil, errors.New("avb: Read") }

// Bytes returns the encoded image.
func (m *VBMeta) Bytes() ([]byte, error) { return nil, errors.New("avb: Bytes") }

// WriteTo writes the image. It is the inverse of [Parse].
func (m *VBMeta) WriteTo(w io.Writer) (int64, error) { return 0, errors.New("avb: WriteTo") }

// Sign sets Algorithm, PublicKey, Hash and Signature. The key must be an RSA
// key of the algorithm's size; it is given the digest and must return a
// PKCS#1 v1.5 signature. With [None] and a nil key it removes them.
func (m *VBMeta) Sign(key crypto.Signer, a Algorithm) error { return errors.New("avb: Sign") }
