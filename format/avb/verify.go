package avb

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

// VerifyVBMeta checks the vbmeta image that b begins with against itself: its
// layout, hash and signature, as avb_vbmeta_image_verify. It returns the key
// that signed it, a part of b, if the result is [VerifyOK]; whether that key is
// to be trusted is the caller's business.
func VerifyVBMeta(b []byte) (VerifyResult, []byte) { return VerifyInvalidVBMetaHeader, nil }
