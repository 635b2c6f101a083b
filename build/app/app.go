// Package app makes Android packages out of Go programs, without an Android
// SDK.
package app

import (
	"context"
	"crypto"
	"errors"

	"mios"
	"mios/format/apksig"
)

// Options say what to build. Dir and Key must be set.
type Options struct {
	Dir         string        // folder of the program (package main) and, unless Manifest is set, its AndroidManifest.xml
	Manifest    string        // path of the text manifest
	Arches      []mios.Arch   // default: amd64 and arm64
	Key         crypto.Signer // RSA or ECDSA
	Certificate []byte        // DER; default: [Certificate] of Key
	VersionCode int64         // overrides the manifest's, unless 0
	VersionName string        // overrides the manifest's, unless ""
}

// Build writes the package to the file out, atomically. Built twice from the
// same source, with the same Go and the same key, it has the same bytes.
func Build(ctx context.Context, o Options, out string) (*apksig.Package, error) {
	return nil, errors.ErrUnsupported
}

// Certificate returns the self-signed X.509 certificate of key, in DER: always
// the same one for the same key, valid from 2020 to 2120.
func Certificate(key crypto.Signer) ([]byte, error) { return nil, errors.ErrUnsupported }
