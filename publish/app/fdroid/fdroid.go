// Package fdroid publishes apps as an F-Droid repository, which existing
// clients of F-Droid take as it is: index-v1.jar, entry.jar, entry.json, the
// index that they name (index-v2) and JSON merge patches from the last ten
// indexes, all of them beside the APKs in the repository's folder apps/.
//
// It writes indexes and nothing else: the files that they name, APKs and
// images, are in the tree already. docs/fdroid.md tells what clients do with
// them.
package fdroid

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"mios"
)

// Folder is where in the tree the F-Droid repository is. The address that
// clients are given ends in it.
const Folder = "apps"

// Text is what people read, by locale (BCP 47: "en-US", "pt-BR"). DefaultLocale
// is what clients fall back to.
type Text map[string]string

// DefaultLocale is the locale that clients show where there is no better one.
const DefaultLocale = "en-US"

// A File is one of the repository's, below [Folder].
type File struct {
	Name   string // relative to [Folder]: "icons/x.png"
	Digest mios.Digest
	Size   int64 // bytes
}

// Images are files by locale; each has one.
type Images map[string]File

// Screenshots are files by locale, in the order in which they are shown.
type Screenshots map[string][]File

// An App is a package with all of it that the formats know. What is empty is
// left out.
type App struct {
	Package        string
	Added, Updated int64 // seconds since 1970

	Name, Summary, Description, Video Text
	Icon, FeatureGraphic              Images
	PromoGraphic, TVBanner            Images

	Phone, SevenInch, TenInch, TV, Wear Screenshots

	Categories   []string
	AntiFeatures map[string]Text // of all versions, by name: "Ads"; the text says why and may be empty

	License                                          string // SPDX; "" is "Unknown"
	AuthorName, AuthorEmail, AuthorSite, AuthorPhone string
	WebSite, SourceCode, IssueTracker, Translation   string
	Changelog                                        string // URL
	Donate                                           []string
	Bitcoin, Litecoin, Flattr, Liberapay             string
	OpenCollective                                   string

	// Suggested is the version that clients offer. Code 0 is the newest that is
	// in no release channel.
	SuggestedCode int64
	SuggestedName string

	// Versions are at least one, of which the first is shown first. The signer
	// of the first is the one that clients prefer.
	Versions []Version

	raw []byte // the app as JSON, to be read when it is written: see [Lazy]
}

// Lazy returns an app that is kept as JSON, as encoding/json writes an [App],
// for [Publish]: it is read by whichever processor writes it. Reading is most of
// the work.
func Lazy(pkg string, b []byte) *App { return &App{Package: pkg, raw: b} }

// load reads an app that is kept as JSON.
func (a *App) load() (*App, error) {
	if a.raw == nil {
		return a, nil
	}
	out := new(App)
	if err := json.Unmarshal(a.raw, out); err != nil {
		return nil, fmt.Errorf("app %s: %w: %v", a.Package, mios.ErrInvalid, err)
	}
	if out.Package != a.Package {
		return nil, fmt.Errorf("app %s: its JSON is of %q: %w", a.Package, out.Package, mios.ErrInvalid)
	}
	return out, out.check()
}

// A Version is one APK of an app.
type Version struct {
	File  File  // the APK
	Added int64 // seconds since 1970

	Code              int64
	Name              string
	MinSDK, TargetSDK int           // 0: the manifest does not say; not written if both are 0
	MaxSDK            int           // 0: none
	Signers           []mios.Digest // SHA-256 of the certificates
	Sig               string        // the first one, as [Sig] gives it, for old clients; may be empty
	ABIs              []string
	Features          []string // that the device must have
	Permissions       []Permission
	PermissionsSDK23  []Permission // only from SDK 23 on

	AntiFeatures map[string]Text // of this version only
	Channels     []string        // release channels ("Beta"); none: everybody's
	WhatsNew     Text
	Source       File // archive; no name: none
	OBBMain      File
	OBBPatch     File
}

// Beta is the release channel of versions that are not for everybody.
const Beta = "Beta"

// Sig is what index-v1 calls an APK's "sig": the MD5 of the first signer's
// certificate (DER) in hexadecimal. Clients of before 2019 compare it with
// what is installed.
func Sig(certificate []byte) string {
	sum := md5.Sum([]byte(hex.EncodeToString(certificate)))
	return hex.EncodeToString(sum[:])
}

// A Permission is one that an APK asks for.
type Permission struct {
	Name   string
	MaxSDK int // only up to that SDK version; 0: all
}
