//go:build !ramdisk

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	buildapp "mios/build/app"
	"mios/device/app"
	"mios/device/app/store"
	"mios/device/socket"
	"mios/format/apk"
	"mios/format/apksig"
)

// testAPK makes a signed package without a program.
func testAPK(t *testing.T, code int, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	root, err := apk.ParseText(fmt.Appendf(nil, `<manifest xmlns:android="http://schemas.android.com/apk/res/android"
package="org.mios.t" android:versionCode="%d" android:versionName="v%[1]d"><uses-sdk android:minSdkVersion="24"/><application/></manifest>`, code))
	if err != nil {
		t.Fatal(err)
	}
	var b, out bytes.Buffer
	w := apk.NewWriter(&b)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cert, err := buildapp.Certificate(key)
	if err != nil {
		t.Fatal(err)
	}
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: key, Certificate: cert}}, V3: true}
	if err := apksig.Sign(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// noRepository is the store of a device that has none.
func noRepository(ctx context.Context) app.Handler {
	return store.Serve(ctx, func() (*store.Store, error) { return nil, errors.New("none is named") }, slog.New(slog.DiscardHandler))
}

// TestPackageCommands types what a person and adb type, against a real
// installd.
func TestPackageCommands(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("packages get uids of their own: run the test as root")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	m, err := app.Open(ctx, app.Config{Root: dir, SDK: 34, ABI: "x86_64", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "installd")
	l, err := socket.Listen(path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l, noRepository(ctx)) }()
	defer func() { cancel(); <-served; m.Wait() }()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	two := testAPK(t, 2, key)
	file := filepath.Join(dir, "two.apk")
	if err := os.WriteFile(file, two, 0o600); err != nil {
		t.Fatal(err)
	}
	size := func(b []byte) string { return fmt.Sprint(len(b)) }
	for _, tt := range []struct {
		args   string
		in     []byte
		code   int
		stdout string // a regular expression for all of it
	}{
		{"pm list packages", nil, 0, ``},
		{"pm path org.mios.t", nil, 1, ``},
		{"cmd package install -S " + size(two), two, 0, `Success\n`},
		{"cmd package install -r -t -S " + size(two) + " -", two, 0, `Success\n`},
		{"pm install " + file, nil, 0, `Success\n`},
		{"pm list packages", nil, 0, `package:org\.mios\.t\n`},
		{"pm list packages -i mios", nil, 0, `package:org\.mios\.t  installer=null\n`},
		{"cmd package list packages -f -U --show-versioncode mios", nil, 0, `package:/.*/base\.apk=org\.mios\.t versionCode:2 uid:10000\n`},
		{"pm list packages -s", nil, 0, ``},
		{"pm list packages nothing", nil, 0, ``},
		{"pm path org.mios.t", nil, 0, `package:/.*/app/org\.mios\.t/2-[0-9a-f]{8}/base\.apk\n`},
		{"pm dump org.mios.t", nil, 0, `Package \[org\.mios\.t\]\n(.*\n)*  versionName=v2\n(.*\n)*`},
		{"pm install -d -S " + size(testAPK(t, 1, key)), testAPK(t, 1, key), 1, `Failure \[INSTALL_FAILED_VERSION_DOWNGRADE: .*\]\n`},
		{"pm install -S " + size(testAPK(t, 3, other)), testAPK(t, 3, other), 1, `Failure \[INSTALL_FAILED_UPDATE_INCOMPATIBLE: .*\]\n`},
		{"pm install -S 40", []byte(strings.Repeat("x", 40)), 1, `Failure \[INSTALL_PARSE_FAILED_NOT_APK: .*\]\n`},
		{"pm install /nope.apk", nil, 1, `Failure \[INSTALL_FAILED_INVALID_URI: .*\]\n`},
		{"pm install --repo org.mios.t", nil, 1, `Failure \[INSTALL_FAILED_INTERNAL_ERROR: .*repository.*\]\n`},
		{"pm updates", nil, 1, ``}, {"store", nil, 2, ``}, {"store nope", nil, 2, ``}, {"store search", nil, 2, ``}, {"store install a.b", nil, 1, ``},
		{"store list more", nil, 2, ``}, {"store show", nil, 2, ``}, {"store update --nope", nil, 2, ``}, {"store update --all a.b", nil, 2, ``},
		{"am start org.mios.t/.Main", nil, 1, `Starting: org\.mios\.t\n`}, // it has no program
		{"am start -a android.intent.action.MAIN -c android.intent.category.LAUNCHER -n org.mios.t/.Main", nil, 1, `Starting: org\.mios\.t\n`},
		{"am force-stop org.mios.t", nil, 0, ``},
		{"cmd package uninstall -k org.mios.t", nil, 0, `Success\n`},
		{"pm uninstall --user 0 org.mios.t", nil, 0, `Success\n`},
		{"pm uninstall org.mios.t", nil, 1, `Failure \[NOT_INSTALLED: org\.mios\.t is not installed\]\n`},
		{"cmd -l", nil, 0, `(.*\n)*  package\n`},
		{"cmd nope", nil, 20, ``},
		{"pm", nil, 2, ``}, {"pm nope", nil, 255, ``}, {"pm install", nil, 2, ``}, {"pm install -S x", nil, 2, ``},
		{"pm install -S", nil, 2, ``}, {"pm install --nope x", nil, 2, ``}, {"pm install a b", nil, 2, ``}, {"pm uninstall", nil, 2, ``},
		{"pm list features", nil, 2, ``}, {"am", nil, 2, ``}, {"am start", nil, 2, ``}, {"am nope x", nil, 255, ``}, {"cmd", nil, 2, ``},
	} {
		var out, errs bytes.Buffer
		tool := &tool{in: bytes.NewReader(tt.in), out: &out, err: &errs, client: app.Client{Socket: path}}
		words := strings.Fields(tt.args)
		run := map[string]func(context.Context, []string) int{"pm": tool.pm, "am": tool.am, "cmd": tool.cmd, "store": tool.store}[words[0]]
		code := run(t.Context(), words[1:])
		if code != tt.code || !regexp.MustCompile(`^`+tt.stdout+`$`).Match(out.Bytes()) {
			t.Errorf("%s: exit status %d\n%s%s\nwant %d, %s", tt.args, code, &out, &errs, tt.code, tt.stdout)
		}
		if code != 0 && out.Len() == 0 && errs.Len() == 0 {
			t.Errorf("%s: says nothing", tt.args)
		}
	}
}
