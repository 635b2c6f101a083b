package apksig

import (
	"crypto"
	"io"
)

// A Signer is a key and its certificate.
type Signer struct {
	// Key is RSA, ECDSA, or DSA by [ParsePrivateKey]. For all but RSA-PSS it is
	// called without a source of randomness, so that signatures are
	// deterministic.
	Key         crypto.Signer
	Certificate []byte   // DER, of that key
	Chain       [][]byte // DER certificates that follow the signer's own; most have none
	Name        string   // of its files in META-INF, made of letters, digits, - and _; "": CERT, CERT2 …
}

// SignOptions say how to sign. At least one of V1, V2 and V3 is set.
type SignOptions struct {
	// Signers are several for schemes v1 and v2, without a lineage. With one
	// they are those of its certificates that sign, in any order: the oldest
	// signs v1 and v2, and v3 for platforms before RotationMinSDK; the newest
	// signs for those from there on.
	Signers []Signer
	Lineage *Lineage // the history of the newest signer's certificate; nil: none

	V1, V2, V3 bool
	// IDSig, unless nil, is given the v4 signature, what apksigner puts into
	// FILE.idsig. It needs V2 or V3.
	IDSig io.Writer
	// Stamp, unless nil, vouches for where the package comes from.
	Stamp *StampSigner

	MinSDK         int  // oldest platform that shall take the package; 0: the manifest's
	RotationMinSDK int  // first platform that shall see the lineage's newest signer; 0: 33. Below 33 there is no v3.1
	RotationDev    bool // RotationMinSDK is that of a platform in development

	Verity bool // digests for fs-verity beside the others; for platforms from 28 on
	PSS    bool // RSA keys sign v2 and v3 with PSS instead of PKCS #1; never deterministic

	KeepAlignment bool   // entries that were not aligned stay so
	PageAlign     int    // bytes that uncompressed native libraries are aligned to; 0: 16384
	PadFile       bool   // the whole file's size becomes a multiple of 4096
	CreatedBy     string // of v1's .SF files; "": 1.0 (Android), as AOSP has it
}
