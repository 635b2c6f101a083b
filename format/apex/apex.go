// Package apex reads and rewrites APEX files (AOSP's system/apex): packages of a
// file system image that is verified by dm-verity, and compressed ones (.capex),
// which hold a package. It checks an image against the package's own key; the
// container's signature is format/apksig's, as is making it anew.
package apex

import (
	"errors"
	"fmt"
	"io"

	"mios/format/apk"
)

// Names of entries.
const (
	ManifestName  = "apex_manifest.pb"
	PayloadName   = "apex_payload.img"
	PublicKeyName = "apex_pubkey"
	BuildInfoName = "apex_build_info.pb"
	OriginalName  = "original_apex" // of a compressed APEX: the package itself
)

// PayloadAlign is what the payload's offset in the package is a multiple of, in
// bytes: the loop device over it has blocks of this size.
const PayloadAlign = 4096

// KeyProperty is the property of the payload's vbmeta that names the package.
const KeyProperty = "apex.key"

// Limits of entries, in bytes.
const (
	maxManifest  = 1 << 20
	maxKey       = 8 << 10
	maxBuildInfo = 32 << 20
	maxVBMeta    = 64 << 10 // as apexd has it (apex_file.cpp, kVbMetaMaxSize)
)

// ErrCompressed is the error of what only the APEX inside a compressed one has.
var ErrCompressed = errors.New("apex: a compressed APEX: unpack its " + OriginalName + " first")

// A FormatError says where an APEX breaks the format, and how.
type FormatError struct {
	Entry string // of the package; "" for the package itself
	Off   int64  // in bytes from the start of the entry, or of the package
	Msg   string
}

func (e *FormatError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("apex: offset %#x: %s", e.Off, e.Msg)
	}
	return fmt.Sprintf("apex: %s: offset %#x: %s", e.Entry, e.Off, e.Msg)
}

// A File is an opened APEX.
type File struct {
	*apk.File
	Manifest   *Manifest
	BuildInfo  *BuildInfo // nil if it has none
	PublicKey  []byte     // apex_pubkey: the payload's key in AVB's encoding; nil if it is not there
	Compressed bool       // a .capex: it has no payload, but Original

	r    io.ReaderAt
	size int64
}

// Open reads the APEX in the first size bytes of r: its directory, manifest and
// key. Errors in it are [*FormatError] or [*apk.FormatError]; any other error is
// r's own. The payload is read, and verified, by Payload.
func Open(r io.ReaderAt, size int64) (*File, error) {
	z, err := apk.Open(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{File: z, r: r, size: size}
	payload, original := z.Entry(PayloadName), z.Entry(OriginalName)
	switch {
	case z.Entry(ManifestName) == nil:
		return nil, &FormatError{Msg: "no " + ManifestName + ": not an APEX"}
	case original != nil && payload != nil:
		return nil, &FormatError{Msg: "both " + PayloadName + " and " + OriginalName}
	case original != nil:
		f.Compressed = true
	case payload == nil:
		return nil, &FormatError{Msg: "neither " + PayloadName + " nor " + OriginalName}
	case payload.Method != apk.Store:
		return nil, &FormatError{Entry: PayloadName, Off: payload.HeaderOff, Msg: "compressed: the kernel must find it as it is"}
	case payload.DataOff%PayloadAlign != 0:
		return nil, &FormatError{Entry: PayloadName, Off: payload.DataOff, Msg: fmt.Sprintf("its offset in the package is not a multiple of %d", PayloadAlign)}
	}
	return f, f.readMeta()
}

func (f *File) readMeta() error {
	b, err := f.ReadFile(ManifestName, maxManifest)
	if err != nil {
		return err
	}
	if f.Manifest, err = ParseManifest(b); err != nil {
		return err
	}
	if f.Compressed && f.Manifest.ProvideSharedAPEXLibs {
		return &FormatError{Entry: ManifestName, Msg: "provides shared libraries to other APEXes, which a compressed one cannot"}
	}
	if f.Entry(PublicKeyName) != nil {
		if f.PublicKey, err = f.ReadFile(PublicKeyName, maxKey); err != nil {
			return err
		}
	}
	if f.Entry(BuildInfoName) == nil {
		return nil
	}
	if b, err = f.ReadFile(BuildInfoName, maxBuildInfo); err != nil {
		return err
	}
	f.BuildInfo, err = ParseBuildInfo(b)
	return err
}

// Original opens the APEX inside a compressed one, to be read from its start.
// Its length is what OriginalSize says; its checksum is checked at the end.
func (f *File) Original() (io.ReadCloser, error) {
	if !f.Compressed {
		return nil, errors.New("apex: not a compressed APEX")
	}
	return f.OpenEntry(f.Entry(OriginalName))
}

// OriginalSize is the length of the APEX inside a compressed one in bytes, or 0.
func (f *File) OriginalSize() int64 {
	if e := f.Entry(OriginalName); e != nil {
		return e.Size
	}
	return 0
}
