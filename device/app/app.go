// Package app keeps a device's packages: installs and removes them, and keeps
// their programs running, each in a sandbox under a uid of its own.
//
// What is installed stands in one file, packages.json, which is replaced as a
// whole: that replacement is the moment at which a package is installed or
// gone. A power cut before it leaves what was, after it what shall be, and
// [Open] clears away or completes the rest.
package app

import (
	"errors"
	"fmt"
	"strings"

	"mios"
)

// MetaExecutable is the meta-data entry of an application that names its
// program: with the value "hello" the package's lib/ABI/libhello.so runs.
const MetaExecutable = "mios.executable"

// StoreInstaller is the installer of record of what came from the repository:
// the store changes these packages, and no others.
const StoreInstaller = "store"

// The states of a package's program.
const (
	Running    = "running"
	Stopped    = "stopped"
	Restarting = "restarting" // it ended, and will run again
)

// Status is what is known of an installed package.
type Status struct {
	Package     string        `json:"package"`
	VersionCode int64         `json:"version_code"`
	VersionName string        `json:"version_name,omitempty"`
	Label       string        `json:"label,omitempty"`
	UID         int           `json:"uid"`
	Signers     []mios.Digest `json:"signers"`          // SHA-256 of each certificate
	SHA256      mios.Digest   `json:"sha256"`           // of the package file
	Splits      []string      `json:"splits,omitempty"` // names of the APKs beside it
	Path        string        `json:"path"`             // of the package file
	// Installer is who keeps the package up to date: [StoreInstaller], or "" for
	// a package that came as a file.
	Installer  string `json:"installer,omitempty"`
	Release    int64  `json:"release,omitempty"` // the repository's number of it
	DataDir    string `json:"data_dir"`
	ABI        string `json:"abi,omitempty"`
	Executable string `json:"executable,omitempty"` // path; "": it has none
	Network    bool   `json:"network"`
	State      string `json:"state"`
	PID        int    `json:"pid,omitempty"`
	Restarts   int    `json:"restarts,omitempty"`  // since it was started
	LastExit   string `json:"last_exit,omitempty"` // how it last ended
}

// InstallOptions are those of "pm install".
type InstallOptions struct {
	Downgrade bool `json:"downgrade,omitempty"` // -d: allow a lower version code, on a debuggable device
}

// The codes of [Error] are Android's (PackageManager.INSTALL_*, DELETE_*).
const (
	CodeNotAPK         = "INSTALL_PARSE_FAILED_NOT_APK"
	CodeBadManifest    = "INSTALL_PARSE_FAILED_BAD_MANIFEST"
	CodeNoCertificates = "INSTALL_PARSE_FAILED_NO_CERTIFICATES"
	CodeInvalid        = "INSTALL_FAILED_INVALID_APK"
	CodeIncompatible   = "INSTALL_FAILED_UPDATE_INCOMPATIBLE"
	CodeDowngrade      = "INSTALL_FAILED_VERSION_DOWNGRADE"
	CodeMissingSplit   = "INSTALL_FAILED_MISSING_SPLIT"
	CodeOlderSDK       = "INSTALL_FAILED_OLDER_SDK"
	CodeNoABI          = "INSTALL_FAILED_NO_MATCHING_ABIS"
	CodeStorage        = "INSTALL_FAILED_INSUFFICIENT_STORAGE"
	CodeAborted        = "INSTALL_FAILED_ABORTED"
	CodeVerification   = "INSTALL_FAILED_VERIFICATION_FAILURE"
	CodeInternal       = "INSTALL_FAILED_INTERNAL_ERROR"
	CodeDelete         = "DELETE_FAILED_INTERNAL_ERROR"
	CodeNotInstalled   = "NOT_INSTALLED"
)

// An Error is why an operation was refused: Android's code, and a sentence to
// a person.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Refuse returns an [*Error].
func Refuse(code, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

func refuse(code, format string, args ...any) error { return Refuse(code, format, args...) }

// asError makes an [*Error] of any error, for the way over the socket.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{CodeInternal, strings.ReplaceAll(err.Error(), "\n", "; ")}
}
