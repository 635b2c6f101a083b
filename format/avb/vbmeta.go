package avb

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"io"
)

// A VBMeta is a vbmeta image.
type VBMeta struct {
	RequiredMinor         uint32 // the image needs AVB 1.RequiredMinor; Sign raises it to what the contents need
	Algorithm             Algorithm
	RollbackIndex         uint64
	RollbackIndexLocation uint32
	Flags                 Flags
	Release               string // the tool that made it, as "avbtool 1.3.0"
	Descriptors           []Descriptor
	PublicKey             []byte // in AVB's encoding
	PublicKeyMetadata     []byte
	Hash                  []byte // of header, descriptors and keys
	Signature             []byte // PKCS#1 v1.5, of Hash
}

const (
	vbmetaMagic = "AVB0"
	blockAlign  = 64 // of a vbmeta image's authentication and auxiliary blocks
)

// header is AvbVBMetaImageHeader, big-endian. Offsets are counted from the
// start of the authentication block (hash, signature) and the auxiliary block
// (the rest).
type header struct {
	Magic                 [4]byte
	Major, Minor          uint32
	AuthSize, AuxSize     uint64
	Algorithm             Algorithm
	Hash, Signature       extent
	PublicKey             extent
	PublicKeyMetadata     extent
	Descriptors           extent
	RollbackIndex         uint64
	Flags                 Flags
	RollbackIndexLocation uint32
	Release               [MaxReleaseLen + 1]byte
	Reserved              [80]byte
}

type extent struct{ Off, Size uint64 }

// within reports whether the extent lies in a block of size bytes.
func (e extent) within(size uint64) bool { return e.Size <= size && e.Off <= size-e.Size }

func (e extent) of(b []byte) []byte { return b[e.Off : e.Off+e.Size] }

// decodeHeader reads the header that b begins with, which has at least
// HeaderSize bytes.
func decodeHeader(b []byte) (h header) {
	_, _ = binary.Decode(b, binary.BigEndian, &h) // fails on short input alone
	return h
}

func (h *header) encode() []byte {
	b, _ := binary.Append(nil, binary.BigEndian, h) // cannot fail: all fields are of fixed size
	return b
}

// Size returns the size in bytes of the vbmeta image that b begins with, of
// which b needs to hold only the header.
func Size(b []byte) (int64, error) {
	if len(b) < HeaderSize {
		return 0, bad(0, "header: %d bytes left, want %d", len(b), HeaderSize)
	}
	h := decodeHeader(b)
	switch {
	case string(h.Magic[:]) != vbmetaMagic:
		return 0, bad(0, "magic is %q, want %q", h.Magic[:], vbmetaMagic)
	case h.Major != VersionMajor || h.Minor > VersionMinor:
		return 0, bad(4, "version %d.%d, want at most %d.%d", h.Major, h.Minor, VersionMajor, VersionMinor)
	case h.AuthSize%blockAlign != 0 || h.AuthSize > MaxVBMetaSize:
		return 0, bad(12, "authentication block of %d bytes", h.AuthSize)
	case h.AuxSize%blockAlign != 0 || h.AuxSize > MaxVBMetaSize:
		return 0, bad(20, "auxiliary block of %d bytes", h.AuxSize)
	}
	size := int64(HeaderSize + h.AuthSize + h.AuxSize)
	if size > MaxVBMetaSize {
		return 0, bad(12, "%d bytes in all, want at most %d", size, MaxVBMetaSize)
	}
	return size, nil
}

// Parse reads the vbmeta image that fills b; see [Size] for where it ends.
// Errors are [*FormatError]. It verifies nothing: see [VerifyVBMeta].
func Parse(b []byte) (*VBMeta, error) {
	size, err := Size(b)
	if err != nil {
		return nil, err
	}
	if size != int64(len(b)) {
		return nil, bad(12, "blocks make an image of %d bytes, got %d", size, len(b))
	}
	h := decodeHeader(b)
	if err := h.checkLayout(); err != nil {
		return nil, err
	}
	auth := b[HeaderSize:][:h.AuthSize]
	aux := b[HeaderSize+h.AuthSize:]
	auxOff := int64(HeaderSize + h.AuthSize)
	if off := nonZero(auth[h.Signature.Off+h.Signature.Size:]); off >= 0 {
		return nil, bad(HeaderSize+int64(h.Signature.Off+h.Signature.Size)+off, "padding of the authentication block is not zero")
	}
	end := h.PublicKeyMetadata.Off + h.PublicKeyMetadata.Size
	if off := nonZero(aux[end:]); off >= 0 {
		return nil, bad(auxOff+int64(end)+off, "padding of the auxiliary block is not zero")
	}
	m := &VBMeta{
		RequiredMinor: h.Minor, Algorithm: h.Algorithm,
		RollbackIndex: h.RollbackIndex, RollbackIndexLocation: h.RollbackIndexLocation, Flags: h.Flags,
		PublicKey:         bytes.Clone(h.PublicKey.of(aux)),
		PublicKeyMetadata: bytes.Clone(h.PublicKeyMetadata.of(aux)),
		Hash:              bytes.Clone(h.Hash.of(auth)),
		Signature:         bytes.Clone(h.Signature.of(auth)),
	}
	if m.Release, err = cString(h.Release[:], 128); err != nil {
		return nil, err
	}
	m.Descriptors, err = parseDescriptors(h.Descriptors.of(aux), auxOff)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// checkLayout checks that everything is where avbtool puts it: the one layout
// that WriteTo writes.
func (h *header) checkLayout() error {
	if !h.Algorithm.Known() {
		return bad(28, "algorithm %d", uint32(h.Algorithm))
	}
	want := layout(h.Algorithm, h.Descriptors.Size, h.PublicKey.Size, h.PublicKeyMetadata.Size)
	for _, f := range []struct {
		off       int64
		what      string
		got, want extent
	}{
		{32, "hash", h.Hash, want.Hash},
		{48, "signature", h.Signature, want.Signature},
		{96, "descriptors", h.Descriptors, want.Descriptors},
		{64, "public key", h.PublicKey, want.PublicKey},
		{80, "public key metadata", h.PublicKeyMetadata, want.PublicKeyMetadata},
		{12, "blocks", extent{h.AuthSize, h.AuxSize}, extent{want.AuthSize, want.AuxSize}},
	} {
		if f.got != f.want {
			return bad(f.off, "%s: %d, %d, want %d, %d", f.what, f.got.Off, f.got.Size, f.want.Off, f.want.Size)
		}
	}
	if off := nonZero(h.Reserved[:]); off >= 0 {
		return bad(176+off, "reserved field is not zero")
	}
	return nil
}

// layout returns the header's sizes and offsets for contents of these sizes,
// none of which may be near 2^64.
func layout(a Algorithm, descriptors, key, metadata uint64) header {
	hash, sig := uint64(hashLen(a)), uint64(a.KeyBits()/8)
	limit := func(n uint64) uint64 { return min(n, 1<<32) } // keeps sums of claimed sizes from wrapping
	descriptors, key, metadata = limit(descriptors), limit(key), limit(metadata)
	return header{
		AuthSize: roundUp(hash+sig, blockAlign), AuxSize: roundUp(descriptors+key+metadata, blockAlign),
		Hash: extent{0, hash}, Signature: extent{hash, sig},
		Descriptors:       extent{0, descriptors},
		PublicKey:         extent{descriptors, key},
		PublicKeyMetadata: extent{descriptors + key, metadata},
	}
}

// Bytes returns the encoded image.
func (m *VBMeta) Bytes() ([]byte, error) {
	head, aux, err := m.encode()
	if err != nil {
		return nil, err
	}
	if len(m.Hash) != hashLen(m.Algorithm) || len(m.Signature) != m.Algorithm.KeyBits()/8 {
		return nil, fmt.Errorf("avb: vbmeta image: hash of %d bytes and signature of %d do not fit %v: sign it first", len(m.Hash), len(m.Signature), m.Algorithm)
	}
	auth := make([]byte, roundUp(len(m.Hash)+len(m.Signature), blockAlign))
	copy(auth, m.Hash)
	copy(auth[len(m.Hash):], m.Signature)
	b := append(append(head, auth...), aux...)
	if len(b) > MaxVBMetaSize {
		return nil, fmt.Errorf("avb: vbmeta image: %d bytes, at most %d are allowed", len(b), MaxVBMetaSize)
	}
	return b, nil
}

// encode returns the header and the auxiliary block.
func (m *VBMeta) encode() (head, aux []byte, err error) {
	for i, d := range m.Descriptors {
		if aux, err = appendDescriptor(aux, d); err != nil {
			return nil, nil, fmt.Errorf("avb: descriptor %d: %w", i, err)
		}
	}
	if !m.Algorithm.Known() {
		return nil, nil, fmt.Errorf("avb: vbmeta image: %v", m.Algorithm)
	}
	h := layout(m.Algorithm, uint64(len(aux)), uint64(len(m.PublicKey)), uint64(len(m.PublicKeyMetadata)))
	copy(h.Magic[:], vbmetaMagic)
	h.Major, h.Minor = VersionMajor, m.RequiredMinor
	h.Algorithm, h.RollbackIndex, h.RollbackIndexLocation, h.Flags = m.Algorithm, m.RollbackIndex, m.RollbackIndexLocation, m.Flags
	if len(m.Release) > MaxReleaseLen || bytes.IndexByte([]byte(m.Release), 0) >= 0 {
		return nil, nil, fmt.Errorf("avb: vbmeta image: release %q: want at most %d bytes without NUL", m.Release, MaxReleaseLen)
	}
	copy(h.Release[:], m.Release)
	aux = append(append(aux, m.PublicKey...), m.PublicKeyMetadata...)
	return h.encode(), append(aux, make([]byte, int(h.AuxSize)-len(aux))...), nil
}

// WriteTo writes the image. It is the inverse of [Parse].
func (m *VBMeta) WriteTo(w io.Writer) (int64, error) {
	b, err := m.Bytes()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	return int64(n), err
}

// Sign sets Algorithm, PublicKey, Hash and Signature, and raises RequiredMinor
// to what the contents need. The key must be an RSA key of the algorithm's
// size; it is given the digest and must return a PKCS#1 v1.5 signature, which
// is checked. With [None] the key is not used, and the image bears no key and
// no signature.
func (m *VBMeta) Sign(key crypto.Signer, a Algorithm) error {
	if !a.Known() {
		return fmt.Errorf("avb: sign: %v", a)
	}
	m.RequiredMinor = max(m.RequiredMinor, m.neededMinor())
	m.Algorithm, m.PublicKey, m.Hash, m.Signature = a, nil, nil, nil
	if a == None {
		return nil
	}
	if key == nil {
		return fmt.Errorf("avb: sign with %v: no key", a)
	}
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok || pub.N.BitLen() != a.KeyBits() {
		return fmt.Errorf("avb: sign with %v: the key is not an RSA key of %d bits", a, a.KeyBits())
	}
	encoded, err := EncodePublicKey(pub)
	if err != nil {
		return err
	}
	m.PublicKey = encoded
	head, aux, err := m.encode()
	if err != nil {
		return err
	}
	h := a.Hash().New()
	h.Write(head)
	h.Write(aux)
	digest := h.Sum(nil)
	sig, err := key.Sign(rand.Reader, digest, a.Hash())
	if err != nil {
		return fmt.Errorf("avb: sign with %v: %w", a, err)
	}
	if err := rsa.VerifyPKCS1v15(pub, a.Hash(), digest, sig); err != nil {
		return fmt.Errorf("avb: sign with %v: the signer returned a wrong signature: %v", a, err)
	}
	m.Hash, m.Signature = digest, sig
	return nil
}

// neededMinor returns the minor version of AVB 1 that knows all that the image
// uses (as avbtool's --print_required_libavb_version).
func (m *VBMeta) neededMinor() (minor uint32) {
	if m.RollbackIndexLocation > 0 {
		minor = 2
	}
	for _, d := range m.Descriptors {
		switch d := d.(type) {
		case *HashDescriptor:
			if d.Flags != 0 || len(d.Digest) == 0 {
				minor = max(minor, 1)
			}
		case *HashtreeDescriptor:
			if d.Flags != 0 || len(d.RootDigest) == 0 {
				minor = max(minor, 1)
			}
		case *ChainPartitionDescriptor:
			if d.Flags != 0 {
				minor = max(minor, 3)
			}
		}
	}
	return minor
}

func hashLen(a Algorithm) int {
	if h := a.Hash(); h != 0 {
		return h.Size()
	}
	return 0
}

func roundUp[T int | int64 | uint64](n, to T) T { return (n + to - 1) / to * to }

// nonZero returns the index of the first byte that is not zero, or -1.
func nonZero(b []byte) int64 {
	for i, c := range b {
		if c != 0 {
			return int64(i)
		}
	}
	return -1
}

// cString returns the text in a field that is NUL-terminated and NUL-padded.
func cString(b []byte, off int64) (string, error) {
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		return "", bad(off, "text without a NUL at its end")
	}
	if i := nonZero(b[n:]); i >= 0 {
		return "", bad(off+int64(n)+i, "padding of text is not zero")
	}
	return string(b[:n]), nil
}

// BlockSizes returns the sizes in bytes of the image's authentication and
// auxiliary blocks.
func (m *VBMeta) BlockSizes() (auth, aux int64) {
	size := 0
	for _, d := range m.Descriptors {
		if body, err := d.body(); err == nil { // else Bytes fails
			size += descriptorHeaderSize + roundUp(len(body), 8)
		}
	}
	h := layout(m.Algorithm, uint64(size), uint64(len(m.PublicKey)), uint64(len(m.PublicKeyMetadata)))
	return int64(h.AuthSize), int64(h.AuxSize)
}
