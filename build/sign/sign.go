// Package sign gives a build of AOSP its vendor's keys: from the target-files
// zip (or folder) that a build makes and signs with test keys it makes one in
// which every signature is the vendor's. It does what AOSP's
// build/make/tools/releasetools/sign_target_files_apks.py and
// add_img_to_target_files.py do, without an AOSP tree: file systems are not
// built anew but changed where a file changed.
//
// It keeps no keys: those come from [Keys].
package sign

import (
	"context"
	"crypto"
	"errors"
)

// ErrTestKeys is what a result is refused with that still has a key that it
// was to lose, or one that AOSP publishes.
var ErrTestKeys = errors.New("test keys are left")

// DefaultTags are the changes of a build's tags, as releasetools has them.
var DefaultTags = []string{"-test-keys", "-dev-keys", "+release-keys"}

// Presigned is the key of what keeps the signature that it has.
const Presigned = "PRESIGNED"

// Options say how target-files are signed.
type Options struct {
	Keys Keys // must be set

	// Mapping says which key takes the place of one that META names, by its path
	// there or by the last element of that, without .x509.pem: the name of a key
	// of Keys, or [Presigned]. What is not in it is looked for in Keys by the last
	// element; testkey and devkey as releasekey.
	Mapping map[string]string
	// Packages are the keys of APKs and of APEX containers, by file name, in place
	// of what META says; "" is [Presigned].
	Packages map[string]string
	// Payloads are the keys of APEX payloads, by file name.
	Payloads map[string]string
	// AVB are the keys of partitions' vbmeta images, by partition.
	AVB map[string]string
	// Rollback are new rollback indexes, by partition; others stay.
	Rollback map[string]uint64
	// Skip are beginnings of paths in target-files, as VENDOR/app/, whose APKs
	// stay as they are.
	Skip []string
	// Tags are what becomes of the build's tags: "-dev-keys", "+release-keys";
	// nil is [DefaultTags].
	Tags []string
	// OTACerts are the names of the keys whose certificates updates are verified
	// with; none: those of META/otakeys.txt, or else releasekey.
	OTACerts []string
	// RemoveAVBKeys are names of files in avb/ folders of ramdisks that go.
	RemoveAVBKeys []string
	// AllowTestKeys takes a result in which keys are left that are none of the
	// vendor's; the report names them.
	AllowTestKeys bool
	// AllowDebugPolicy takes a userdebug SELinux policy, as GSIs have it.
	AllowDebugPolicy bool

	// Progress is told what is done, and how many of all bytes are through. It may
	// be nil, and is called from several goroutines.
	Progress func(what string, done, total int64)
}

// A Key is a private key and the certificate that it is known by.
type Key struct {
	Name        string
	Signer      crypto.Signer
	Certificate []byte   // DER
	Chain       [][]byte // DER certificates that follow it
}

// Keys are where the vendor's keys are.
type Keys interface {
	// Key returns the key of that name. The error of one that is not there wraps
	// mios.ErrNotFound.
	Key(name string) (*Key, error)
	// Dir is where a key that is missing would have to be, for people.
	Dir() string
}

// A Change is one thing that has, or will have, another signer or content.
type Change struct {
	What string `json:"what"` // apk, apex, payload, otacerts, properties, permissions, vbmeta, image, boot, meta …
	Path string `json:"path"` // in target-files; what is in an APEX after "!/"
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	Key  string `json:"key,omitempty"` // name of the vendor's key
}

// A Missing is a key that is needed and not there.
type Missing struct {
	Name string   `json:"name"` // of the file in the folder of keys, without ending
	Old  string   `json:"old"`  // what META or the image calls the key that it replaces
	Use  string   `json:"use"`  // apk, apex, payload, avb, otacerts
	For  []string `json:"for"`  // whose key it is
}

// A Left is a key in the result that is not the vendor's.
type Left struct {
	Path string `json:"path"`
	Key  string `json:"key"`
}

// A Report says what was changed, or, of [Plan], what would be.
type Report struct {
	Changes []Change  `json:"changes"`
	Missing []Missing `json:"missing,omitempty"`
	Kept    []string  `json:"kept,omitempty"` // presigned packages, which keep their signature
	Left    []Left    `json:"left,omitempty"` // with Options.AllowTestKeys
	// Written and Copied are bytes of the result: made anew, and taken over as
	// they were.
	Written int64 `json:"written"`
	Copied  int64 `json:"copied"`
}

// TargetFiles signs the target-files at in, a zip or a folder, and writes the
// result to out: a zip if its name ends in .zip, else a folder that must not
// be there yet. Nothing has that name before all of it was verified.
func TargetFiles(ctx context.Context, in, out string, o Options) (*Report, error) {
	return nil, errors.ErrUnsupported
}

// Plan returns what [TargetFiles] would do, and which keys it would miss,
// without writing anything.
func Plan(ctx context.Context, in string, o Options) (*Report, error) {
	return nil, errors.ErrUnsupported
}
