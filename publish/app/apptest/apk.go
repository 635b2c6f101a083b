// Package apptest makes small apps for the tests of a store: packages without
// code, signed by keys that are quick to make.
package apptest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	buildapp "mios/build/app"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/key"
)

// An APK says what package to make.
type APK struct {
	Package     string // "": org.example.clock
	VersionCode int    // 0: 1
	VersionName string // "": 1.VersionCode
	Label       string // "": Clock
	Split       string // name of a split
	MinSDK      int    // 0: 28
	TargetSDK   int    // 0: 35
	Permissions []string
	Application string            // more attributes: android:debuggable="true"
	Files       map[string]string // more entries
	Signers     []apksig.Signer   // none: not signed
	Lineage     *apksig.Lineage
}

// Build returns the package's bytes, the same for the same APK and keys whose
// signatures are.
func (a APK) Build(tb testing.TB) []byte {
	tb.Helper()
	root, err := apk.ParseText([]byte(a.manifest()))
	if err != nil {
		tb.Fatal(err)
	}
	var plain, signed bytes.Buffer
	w := apk.NewWriter(&plain)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		tb.Fatal(err)
	}
	var names []string
	for name := range a.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.Add(name, apk.Deflate, strings.NewReader(a.Files[name])); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	if len(a.Signers) == 0 {
		return plain.Bytes()
	}
	o := apksig.SignOptions{Signers: a.Signers, V2: true, V3: len(a.Signers) == 1 || a.Lineage != nil, Lineage: a.Lineage}
	if err := apksig.Sign(tb.Context(), bytes.NewReader(plain.Bytes()), int64(plain.Len()), o, &signed); err != nil {
		tb.Fatal(err)
	}
	return signed.Bytes()
}

func (a *APK) manifest() string {
	or := func(s, other string) string {
		if s == "" {
			s = other
		}
		var b strings.Builder
		xml.EscapeText(&b, []byte(s))
		return b.String()
	}
	number := func(n, other int) int {
		if n == 0 {
			return other
		}
		return n
	}
	version := number(a.VersionCode, 1)
	var b strings.Builder
	fmt.Fprintf(&b, `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s" android:versionCode="%d"`, or(a.Package, "org.example.clock"), version)
	if a.Split != "" {
		fmt.Fprintf(&b, ` split="%s">`, or(a.Split, ""))
	} else {
		fmt.Fprintf(&b, ` android:versionName="%s">`, or(a.VersionName, fmt.Sprintf("1.%d", version)))
		fmt.Fprintf(&b, `<uses-sdk android:minSdkVersion="%d" android:targetSdkVersion="%d"/>`, number(a.MinSDK, 28), number(a.TargetSDK, 35))
	}
	for _, p := range a.Permissions {
		fmt.Fprintf(&b, `<uses-permission android:name="%s"/>`, or(p, ""))
	}
	fmt.Fprintf(&b, `<application android:label="%s" android:hasCode="false" %s/></manifest>`, or(a.Label, "Clock"), a.Application)
	return b.String()
}

// Signer makes a key to sign apps with.
func Signer(tb testing.TB) apksig.Signer {
	tb.Helper()
	k, err := key.Generate(key.P256)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := buildapp.Certificate(k)
	if err != nil {
		tb.Fatal(err)
	}
	return apksig.Signer{Key: k, Certificate: cert}
}

// Lineage is that of a signer who gives way to the next, and so on.
func Lineage(tb testing.TB, signers ...apksig.Signer) *apksig.Lineage {
	tb.Helper()
	l, err := apksig.NewLineage(signers[0], apksig.DefaultCapabilities, signers[1], apksig.DefaultCapabilities)
	for i := 2; i < len(signers) && err == nil; i++ {
		l, err = l.Extend(signers[i-1], signers[i], apksig.DefaultCapabilities)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}
