package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	buildapp "mios/build/app"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/conformance"
	"mios/key"
	"mios/publish/app"
	"mios/publish/repotest"
)

func newSigner(t *testing.T) apksig.Signer {
	t.Helper()
	k, err := key.Generate(key.P256)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := buildapp.Certificate(k)
	if err != nil {
		t.Fatal(err)
	}
	return apksig.Signer{Key: k, Certificate: cert}
}

// writeAPK makes a package without code; without a signer it is not signed.
func writeAPK(t *testing.T, version int, s *apksig.Signer) string {
	t.Helper()
	text := fmt.Sprintf(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.example.clock"
  android:versionCode="%d" android:versionName="1.%d"><uses-sdk android:minSdkVersion="28"/>
  <application android:label="Clock" android:hasCode="false"/></manifest>`, version, version)
	root, err := apk.ParseText([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var plain, signed bytes.Buffer
	w := apk.NewWriter(&plain)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		t.Fatal(err)
	}
	if err := w.Add("lib/x86_64/libclock.so", apk.Deflate, strings.NewReader("code")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out := &plain
	if s != nil {
		o := apksig.SignOptions{Signers: []apksig.Signer{*s}, V2: true, V3: true}
		if err := apksig.Sign(t.Context(), bytes.NewReader(plain.Bytes()), int64(plain.Len()), o, &signed); err != nil {
			t.Fatal(err)
		}
		out = &signed
	}
	path := filepath.Join(t.TempDir(), "app.apk")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPublish(t *testing.T) {
	owner, thief := newSigner(t), newSigner(t)
	r := repotest.New(t, repotest.Keys(t))
	v2 := writeAPK(t, 2, &owner)
	if _, _, err := app.Publish(t.Context(), r, v2, false); !errors.Is(err, mios.ErrDenied) || !strings.Contains(err.Error(), "--claim") {
		t.Errorf("Publish without a claim = %v, want denied and what to do", err)
	}
	rel, res, err := app.Publish(t.Context(), r, v2, true)
	if err != nil || !res.Published {
		t.Fatalf("Publish = %+v, %v", res, err)
	}
	if rel.Package != "org.example.clock" || rel.VersionCode != 2 || rel.VersionName != "1.2" || rel.Label != "Clock" || rel.MinSDK != 28 ||
		len(rel.ABIs) != 1 || rel.ABIs[0] != "x86_64" || len(rel.Signers) != 1 || rel.Signers[0] != mios.Sum(owner.Certificate) {
		t.Errorf("release %+v", rel)
	}
	broken := writeAPK(t, 3, &owner)
	b, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	b[60] ^= 1
	if err := os.WriteFile(broken, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"another signer's", writeAPK(t, 3, &thief), mios.ErrDenied},
		{"one that nobody signed", writeAPK(t, 3, nil), mios.ErrDenied},
		{"a changed one", broken, nil},
		{"an older one", writeAPK(t, 1, &owner), mios.ErrConflict},
	} {
		if _, _, err := app.Publish(t.Context(), r, tt.path, true); err == nil || (tt.want != nil && !errors.Is(err, tt.want)) {
			t.Errorf("Publish of %s = %v, want %v", tt.name, err, tt.want)
		}
	}
	if s, err := r.Status(t.Context()); err != nil || len(s.Apps) != 1 || s.Apps[0].VersionCode != 2 {
		t.Errorf("Status = %+v, %v; want version 2", s, err)
	}
}

// TestPublishLabel publishes apps whose labels are resources of theirs.
func TestPublishLabel(t *testing.T) {
	r := repotest.New(t, repotest.Keys(t))
	for file, want := range map[string]string{"ApiDemos-debug.apk": "API Demos", "settings_apk-debug.apk": "Appium Settings"} {
		rel, _, err := app.Publish(t.Context(), r, filepath.Join(conformance.Dir(t, "apps"), file), true)
		if err != nil {
			t.Fatal(err)
		}
		if rel.Label != want {
			t.Errorf("%s: label %q, want %q", file, rel.Label, want)
		}
	}
}
