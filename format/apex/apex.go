// Package apex reads and rewrites APEX files (AOSP's system/apex): packages of a
// file system image that is verified by dm-verity, and compressed ones (.capex),
// which hold a package. It checks an image against the package's own key; the
// container's signature is format/apksig's, as is making it anew.
package apex

import (
	"fmt"
	"io"

	"mios/format/apk"
	"mios/format/avb"
	"mios/format/fsimage"
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

// A FormatError says where an APEX breaks the format, and how.
type FormatError struct {
	Entry string // of the package; "" for the package itself
	Off   int64  // in bytes from the start of the entry
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
	PublicKey  []byte     // in AVB's encoding, of the payload; nil if there is none beside the payload
	Compressed bool       // a .capex: it has no payload, but Original

	r    io.ReaderAt
	size int64
}

// A VerifyError is what is wrong with a payload that is not what its key
// vouches for.
type VerifyError struct {
	Reason string
}

func (e *VerifyError) Error() string { return "apex: " + e.Reason }

// A Payload is the file system image of an APEX, with what vouches for it.
type Payload struct {
	*io.SectionReader            // all of the image: file system, hash tree, vbmeta, footer
	Offset            int64      // of the image in the package, in bytes
	Footer            avb.Footer // where the vbmeta is
	VBMeta            *avb.VBMeta
	Tree              *avb.HashtreeDescriptor // over the file system
	KeyName           string                  // of KeyProperty: the package's name; "" in none
}

// An App is an app inside the payload.
type App struct {
	Path string // "app/Foo/Foo.apk"
	Size int64  // bytes
}

// FS is a payload's file system.
type FS struct {
	*fsimage.FS
	Type string // "ext4", "erofs"
}
