package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/build/sign"
	"mios/build/sign/signtest"
	"mios/internal/testkit"
	"mios/key"
)

// TestSignTargetFiles signs a build as a person does: a look at what is missing,
// its keys, the result, and what is said of one that keeps a test key.
func TestSignTargetFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("a build of AOSP, signed three times")
	}
	target := signtest.New(t, signtest.Options{})
	keys, dir := t.TempDir(), t.TempDir()
	mios := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(context.Background(), env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, args); got != want {
			t.Fatalf("mios %q = %d, want %d: %s", args, got, want, errs.String())
		}
		return out.String(), errs.String()
	}
	for i, name := range strings.Fields("platform media networkstack releasekey shared com.android.hello com.android.compressed") {
		if err := key.Save(filepath.Join(keys, name+".pem"), testkit.RSA(min(i, 3)), "", ""); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "signed.zip")
	_, text := mios(1, "sign", "target-files", "--keys", keys, "--dry-run", target.Dir)
	if !strings.Contains(text, "one key is not in "+keys) || !strings.Contains(text, "avb (avb), in place of") {
		t.Errorf("--dry-run says %q", text)
	}
	mios(2, "sign", "target-files", "--keys", keys, target.Dir)
	mios(2, "sign", "target-files", "--keys", keys, "--rollback-index", "vbmeta=x", target.Dir, out)
	mios(1, "sign", "target-files", "--keys", keys, target.Dir, out)
	t.Setenv(key.PassphraseEnv, "a long one")
	if text, _ := mios(0, "sign", "keys", "--keys", keys, target.Dir); text != "made "+filepath.Join(keys, "avb")+"\n" {
		t.Errorf("sign keys says %q", text)
	}
	text, _ = mios(0, "sign", "target-files", "--json", "--keys", keys, target.Dir, out)
	var r sign.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil || len(r.Changes) < 30 || r.Written == 0 {
		t.Errorf("%d changes, %d bytes, %v; want many", len(r.Changes), r.Written, err)
	}
	_, text = mios(1, "sign", "target-files", "--keys", keys, "--package", "SystemUI.apk=", target.Dir, filepath.Join(dir, "kept.zip"))
	if !strings.Contains(text, "SYSTEM/priv-app/SystemUI/SystemUI.apk: KEY THAT IS NOT YOURS") {
		t.Errorf("a package that keeps its test key: %q", text)
	}
	text, _ = mios(0, "sign", "target-files", "--keys", keys, "--package", "SystemUI.apk=", "--allow-test-keys", target.Dir, filepath.Join(dir, "kept"))
	if !strings.Contains(text, "left as it is: SYSTEM/priv-app/SystemUI/SystemUI.apk") {
		t.Errorf("a package that keeps its test key: %q", text)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("the folder holds %v, %v; want two results", list, err)
	}
}

// TestPrintSigned has all of what was changed on the page: two long values differ
// at their ends.
func TestPrintSigned(t *testing.T) {
	print := "ro.build.fingerprint=Vendor/product/device:15/AP4A.250205.002/12345678:user/"
	for _, tt := range []struct {
		in   sign.Change
		want string
	}{
		{sign.Change{What: "apk", Old: "media " + strings.Repeat("0123456789abcdef", 4), New: "app " + strings.Repeat("f", 64)}, "media 0123456789abcdef → app ffffffffffffffff"},
		{sign.Change{What: "apk", Old: "media " + strings.Repeat("0123456789abcdef", 4)}, "media 0123456789abcdef → a key that is missing"},
		{sign.Change{What: "image"}, ""},
	} {
		if got := arrow(tt.in); got != tt.want {
			t.Errorf("arrow(%v) = %q, want %q", tt.in, got, tt.want)
		}
	}
	var out bytes.Buffer
	if err := printSigned(&out, &sign.Report{Changes: []sign.Change{{What: "meta", Path: "META/misc_info.txt", Old: print + "test-keys", New: print + "release-keys"}}}); err != nil {
		t.Fatal(err)
	}
	if want := print + "test-keys → " + print + "release-keys\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("printSigned = %q, want it to end with %q", out.String(), want)
	}
}
