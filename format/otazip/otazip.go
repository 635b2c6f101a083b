// Package otazip reads, verifies and writes the package of an update for
// devices with slots, as AOSP's releasetools make it: a ZIP file whose payload
// lies in it as it is, so that an updater can fetch and apply it in pieces, with
// what the update is from and to, where each piece is, and a signature over the
// whole file in the ZIP's comment. It does not look into the payload: package
// payload does.
//
// Formats: AOSP build/make/tools/releasetools (ota_utils.py,
// ota_metadata.proto), build/make/tools/signapk, bootable/recovery
// (otautil/verifier.cpp, update_verifier/care_map.proto).
package otazip

import "fmt"

// Names of entries.
const (
	PayloadName       = "payload.bin"
	PropertiesName    = "payload_properties.txt"
	MetadataName      = "META-INF/com/android/metadata"
	MetadataProtoName = "META-INF/com/android/metadata.pb"
	CertificateName   = "META-INF/com/android/otacert"
	CareMapName       = "care_map.pb"
	ApexInfoName      = "apex_info.pb"
)

// Names of the two lists of where each piece is.
const (
	StreamingPropertyFiles = "ota-streaming-property-files"
	PropertyFiles          = "ota-property-files"
)

// PayloadAlign is what the payload's offset in a package that [Writer] writes is
// a multiple of, in bytes. releasetools do not align it.
const PayloadAlign = 4096

// maxSmall is the longest entry beside the payload, in bytes: each is held in
// memory.
const maxSmall = 4 << 20

// A FormatError says where a package, or a message in it, is not well-formed.
type FormatError struct {
	Entry string // "" for the ZIP file itself
	Off   int64  // in the entry
	Msg   string
}

func (e *FormatError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("otazip: offset %#x: %s", e.Off, e.Msg)
	}
	return fmt.Sprintf("otazip: %s: offset %#x: %s", e.Entry, e.Off, e.Msg)
}

func bad(entry string, off int64, format string, args ...any) error {
	return &FormatError{entry, off, fmt.Sprintf(format, args...)}
}
