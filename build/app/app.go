// Package app makes Android packages out of Go programs, without an Android
// SDK: a text manifest becomes a binary one, the program a static executable
// in lib/ABI/libNAME.so, and the whole is signed with schemes v2 and v3, and with
// v1 if its manifest's minSdkVersion is below 24.
//
// NAME is what the manifest's meta-data entry "mios.executable" says. A miOS
// device extracts that file and runs it in a sandbox.
package app

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/atomicfile"
	"mios/internal/lazyregexp"
	"mios/internal/readat"
)

// MetaExecutable is the meta-data entry of a manifest's application that names
// the program.
const MetaExecutable = "mios.executable"

// sdkV2 is the first platform version that needs no JAR signature.
const sdkV2 = 24

// Options say what to build. Dir and Key must be set.
type Options struct {
	Dir         string        // folder of the program (package main)
	Manifest    string        // text manifest; default: AndroidManifest.xml in Dir
	Arches      []mios.Arch   // default: amd64 and arm64
	Key         crypto.Signer // RSA or ECDSA
	Certificate []byte        // DER; default: [Certificate] of Key
	VersionCode int64         // instead of the manifest's, unless 0
	VersionName string        // instead of the manifest's, unless ""
	Go          string        // the go command; default: the one in PATH
}

// Build writes the package to the file out, atomically, and returns what a
// device will read in it. Built again from the same source by the same Go with
// the same key, it has the same bytes.
//
// The program is built without cgo for the lowest level of its architecture,
// with the sums in its go.sum, never changing its go.mod.
func Build(ctx context.Context, o Options, out string) (*apksig.Package, error) {
	if o.Manifest == "" {
		o.Manifest = filepath.Join(o.Dir, apk.ManifestName)
	}
	if len(o.Arches) == 0 {
		o.Arches = []mios.Arch{mios.AMD64, mios.ARM64}
	}
	m, err := o.compile()
	if err != nil {
		return nil, err
	}
	signing, err := o.signing(m.info.MinSDK)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "mios-app-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	unsigned, err := os.Create(filepath.Join(tmp, "unsigned.apk"))
	if err != nil {
		return nil, err
	}
	defer unsigned.Close()
	if err := o.assemble(ctx, m, tmp, unsigned); err != nil {
		return nil, err
	}
	if err := sign(ctx, unsigned, signing, out); err != nil {
		return nil, fmt.Errorf("%s: %w", out, err)
	}
	return inspect(ctx, out, m.info.MinSDK)
}

// manifest is a compiled one, and what it says.
type manifest struct {
	binary []byte
	info   *apk.Manifest
	exe    string // name of the program
	stored bool   // native code is not compressed
}

var executableName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)

// readText reads a text manifest.
func readText(path string) (*apk.Element, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	root, err := apk.ParseText(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return root, nil
}

// ReadManifest returns what the text manifest in that file says: the package and
// version that [Build] makes of it.
func ReadManifest(path string) (*apk.Manifest, error) {
	root, err := readText(path)
	if err != nil {
		return nil, err
	}
	m, err := apk.NewManifest(root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (o *Options) compile() (*manifest, error) {
	root, err := readText(o.Manifest)
	if err != nil {
		return nil, err
	}
	if o.VersionCode < 0 {
		return nil, fmt.Errorf("version code %d: want a positive number", o.VersionCode)
	}
	if o.VersionCode > 0 {
		root.SetInt("versionCode", uint32(o.VersionCode))
		if o.VersionCode>>32 > 0 || root.Get("versionCodeMajor") != "" {
			root.SetInt("versionCodeMajor", uint32(o.VersionCode>>32))
		}
	}
	if o.VersionName != "" {
		root.SetString("versionName", o.VersionName)
	}
	i := slices.IndexFunc(root.Children, func(e *apk.Element) bool { return e.Name == "application" })
	if i < 0 {
		return nil, fmt.Errorf("%s: no application element", o.Manifest)
	}
	application := root.Children[i]
	application.SetBool("hasCode", false) // there is no Java code
	m := &manifest{stored: application.Get("extractNativeLibs") == "false"}
	m.binary = apk.AppendXML(nil, root)
	if m.info, err = apk.NewManifest(root); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Manifest, err)
	}
	m.exe = m.info.MetaData[MetaExecutable]
	switch {
	case m.exe == "":
		return nil, fmt.Errorf(`%s: the application names no program: add <meta-data android:name="%s" android:value="NAME"/>`, o.Manifest, MetaExecutable)
	case !executableName.MatchString(m.exe):
		return nil, fmt.Errorf("%s: program name %q: want letters, digits and . _ + -", o.Manifest, m.exe)
	case m.info.VersionCode <= 0:
		return nil, fmt.Errorf("%s: no version code: set android:versionCode", o.Manifest)
	}
	return m, nil
}

// signing says how to sign, and fails if that cannot be.
func (o *Options) signing(minSDK int) (apksig.SignOptions, error) {
	if o.Key == nil {
		return apksig.SignOptions{}, errors.New("build app: no key to sign with")
	}
	s := apksig.Signer{Key: o.Key, Certificate: o.Certificate}
	if s.Certificate == nil {
		var err error
		if s.Certificate, err = Certificate(o.Key); err != nil {
			return apksig.SignOptions{}, err
		}
	}
	so := apksig.SignOptions{Signers: []apksig.Signer{s}, V1: minSDK < sdkV2, V2: true, V3: true, MinSDK: minSDK}
	return so, so.Check(minSDK)
}

// assemble builds the program for each architecture and writes the package
// without a signature.
func (o *Options) assemble(ctx context.Context, m *manifest, tmp string, w io.Writer) error {
	zw := apk.NewWriter(w)
	if err := zw.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(m.binary)); err != nil {
		return err
	}
	method := apk.Deflate
	if m.stored {
		method = apk.Store
	}
	arches := slices.Clone(o.Arches)
	slices.SortFunc(arches, func(a, b mios.Arch) int { return bytes.Compare([]byte(a.ABI()), []byte(b.ABI())) })
	for _, arch := range slices.Compact(arches) {
		if arch.ABI() == "" {
			return fmt.Errorf("architecture %q: want %s or %s", arch, mios.AMD64, mios.ARM64)
		}
		exe := filepath.Join(tmp, string(arch))
		if err := o.goBuild(ctx, arch, exe); err != nil {
			return err
		}
		f, err := os.Open(exe)
		if err != nil {
			return err
		}
		err = zw.Add("lib/"+arch.ABI()+"/lib"+m.exe+".so", method, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return zw.Close()
}

// sign writes the file in, signed, to out.
func sign(ctx context.Context, in *os.File, o apksig.SignOptions, out string) error {
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	signed := make(chan struct{})
	go func() {
		defer close(signed)
		w.CloseWithError(apksig.Sign(ctx, in, fi.Size(), o, w))
	}()
	err = atomicfile.Write(out, r, 0o644)
	r.Close()
	<-signed // the caller closes the file that is read
	return err
}

// inspect reads back what was written, as the oldest platform would that the
// package is for.
func inspect(ctx context.Context, path string, sdk int) (*apksig.Package, error) {
	f, size, err := readat.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := apksig.Inspect(ctx, f, size, sdk)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}
