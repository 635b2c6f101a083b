package avb

import (
	"crypto/rsa"
	"crypto/subtle"
)

// A VerifyResult is the outcome of [VerifyVBMeta] (AvbVBMetaVerifyResult).
type VerifyResult int

// The results, under libavb's names.
const (
	VerifyOK VerifyResult = iota
	VerifyOKNotSigned
	VerifyInvalidVBMetaHeader
	VerifyUnsupportedVersion
	VerifyHashMismatch
	VerifySignatureMismatch
)

var verifyResultNames = [...]string{
	"OK", "OK_NOT_SIGNED", "INVALID_VBMETA_HEADER", "UNSUPPORTED_VERSION", "HASH_MISMATCH", "SIGNATURE_MISMATCH",
}

// String returns libavb's name of the result, as "HASH_MISMATCH".
func (r VerifyResult) String() string { return verifyResultNames[r] }

// VerifyVBMeta checks the vbmeta image that b begins with against itself: its
// layout, hash and signature, as avb_vbmeta_image_verify, which takes layouts
// that [Parse] does not. It returns the key that signed it, a part of b, if the
// result is [VerifyOK]; whether that key is to be trusted is the caller's
// business.
func VerifyVBMeta(b []byte) (VerifyResult, []byte) {
	if len(b) < HeaderSize {
		return VerifyInvalidVBMetaHeader, nil
	}
	h := decodeHeader(b)
	switch {
	case string(h.Magic[:]) != vbmetaMagic:
		return VerifyInvalidVBMetaHeader, nil
	case h.Major != VersionMajor || h.Minor > VersionMinor:
		return VerifyUnsupportedVersion, nil
	case !h.sound(uint64(len(b))):
		return VerifyInvalidVBMetaHeader, nil
	case h.Algorithm == None:
		return VerifyOKNotSigned, nil
	case !h.Algorithm.Known() || h.Hash.Size != uint64(hashLen(h.Algorithm)):
		return VerifyInvalidVBMetaHeader, nil
	}
	auth, aux := h.blocks(b)
	sum := h.Algorithm.Hash().New()
	sum.Write(b[:HeaderSize])
	sum.Write(aux)
	digest := sum.Sum(nil)
	if subtle.ConstantTimeCompare(digest, h.Hash.of(auth)) == 0 {
		return VerifyHashMismatch, nil
	}
	key := h.PublicKey.of(aux)
	pub, err := ParsePublicKey(key)
	if err != nil || pub.N.BitLen() != h.Algorithm.KeyBits() {
		return VerifySignatureMismatch, nil
	}
	if err := rsa.VerifyPKCS1v15(pub, h.Algorithm.Hash(), digest, h.Signature.of(auth)); err != nil {
		return VerifySignatureMismatch, nil
	}
	return VerifyOK, key
}

// sound reports whether all that the header points at lies within an image of
// at most size bytes.
func (h *header) sound(size uint64) bool {
	if h.Release[MaxReleaseLen] != 0 || h.AuthSize%blockAlign != 0 || h.AuxSize%blockAlign != 0 {
		return false
	}
	rest := size - HeaderSize
	if h.AuthSize > rest || h.AuxSize > rest-h.AuthSize {
		return false
	}
	return h.Hash.within(h.AuthSize) && h.Signature.within(h.AuthSize) && h.PublicKey.within(h.AuxSize) &&
		(h.PublicKeyMetadata.Size == 0 || h.PublicKeyMetadata.within(h.AuxSize))
}

// size returns the size of the image in bytes; the header is sound.
func (h *header) size() uint64 { return HeaderSize + h.AuthSize + h.AuxSize }

// blocks returns the authentication and auxiliary blocks of the image that b
// begins with; the header is sound.
func (h *header) blocks(b []byte) (auth, aux []byte) {
	return b[HeaderSize:][:h.AuthSize], b[HeaderSize+h.AuthSize:][:h.AuxSize]
}
