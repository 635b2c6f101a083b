// Package fdroid_test has F-Droid's own programs read what we publish, as they
// are.
package fdroid_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/build/app"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/internal/tool"
	"mios/publish/app/fdroid"
	"mios/publish/app/report"
	"mios/publish/repotest"
	"mios/serve/repo"
	"mios/storage/tree"
)

// A world is a repository that is served on this machine.
type world struct {
	t      *testing.T
	tree   tree.Tree
	config fdroid.Config
	apks   map[string][]byte // by name in the F-Droid repository
}

func newWorld(t *testing.T) *world {
	r := repotest.New(t, repotest.Keys(t))
	s := httptest.NewServer((&repo.Service{Repo: r, Log: slog.New(slog.DiscardHandler)}).Handler())
	t.Cleanup(s.Close)
	return &world{t: t, tree: r.Tree(), apks: map[string][]byte{}, config: fdroid.Config{
		Tree: r.Tree(), Key: testkit.RSA(0), Name: fdroid.Text{"en-US": "Test repository"}, Address: s.URL + "/" + fdroid.Folder,
		Time: time.Unix(1_700_000_000, 0),
	}}
}

// makeAPK makes a signed package without code.
func makeAPK(tb testing.TB, pkg string, code int) []byte {
	tb.Helper()
	text := fmt.Sprintf(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s"
  android:versionCode="%d" android:versionName="1.%d"><uses-sdk android:minSdkVersion="21" android:targetSdkVersion="34"/>
  <uses-permission android:name="android.permission.INTERNET"/><uses-feature android:name="android.hardware.camera"/>
  <application android:label="App" android:hasCode="false"/></manifest>`, pkg, code, code)
	root, err := apk.ParseText([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	var plain, signed bytes.Buffer
	w := apk.NewWriter(&plain)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	cert, err := app.Certificate(testkit.RSA(1))
	if err != nil {
		tb.Fatal(err)
	}
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: testkit.RSA(1), Certificate: cert}}, V1: true, V2: true}
	if err := apksig.Sign(tb.Context(), bytes.NewReader(plain.Bytes()), int64(plain.Len()), o, &signed); err != nil {
		tb.Fatal(err)
	}
	return signed.Bytes()
}

// app makes an app with some versions, whose APKs it stores.
func (w *world) app(pkg, name string, codes ...int) *fdroid.App {
	w.t.Helper()
	a := &fdroid.App{
		Package: pkg, Name: fdroid.Text{"en-US": name}, Summary: fdroid.Text{"en-US": "Summary of " + name},
		Description: fdroid.Text{"en-US": "All there is to say of " + name + "."}, License: "Apache-2.0", Categories: []string{"System"},
		Added: 1_600_000_000, Updated: 1_650_000_000, WebSite: "https://example.org/" + pkg,
	}
	for _, code := range codes {
		b := makeAPK(w.t, pkg, code)
		sum := mios.Sum(b)
		f := fdroid.File{Name: fmt.Sprintf("%s.%s_%d.apk", sum, pkg, code), Digest: sum, Size: int64(len(b))}
		if err := w.tree.Create(w.t.Context(), fdroid.Folder+"/"+f.Name, bytes.NewReader(b)); err != nil {
			w.t.Fatal(err)
		}
		w.apks[f.Name] = b
		facts, err := report.Describe(w.t.Context(), bytes.NewReader(b), int64(len(b)), report.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		v := fdroid.NewVersion(facts, f)
		v.Added = 1_650_000_000
		a.Versions = append([]fdroid.Version{v}, a.Versions...)
	}
	return a
}

func (w *world) publish(apps ...*fdroid.App) {
	w.t.Helper()
	w.config.Time = w.config.Time.Add(time.Hour)
	_, err := fdroid.Publish(w.t.Context(), w.config, func(yield func(*fdroid.App, error) bool) {
		for _, a := range apps {
			if !yield(a, nil) {
				return
			}
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestFDroidCL updates, searches, shows and downloads with Debian's client.
func TestFDroidCL(t *testing.T) {
	program := look(t, "fdroidcl")
	w := newWorld(t)
	w.publish(w.app("org.example.clock", "Clock <b>& more", 1, 2), w.app("org.example.radio", "Radio \u202etfarD", 7))
	run, home := client(t, program, w.config.Address)
	run("update")
	wants(t, run("search"), "org.example.clock", "org.example.radio", "Clock <b>& more", "Summary of Clock")
	wants(t, run("search", "tfard"), "org.example.radio", "Radio tfarD")
	wants(t, run("show", "org.example.clock"), "1.2 (2)", "1.1 (1)", "All there is to say of Clock", "https://example.org/org.example.clock", "Apache-2.0", "System")
	for name, b := range w.apks {
		pkg, code, _ := strings.Cut(strings.TrimSuffix(name[65:], ".apk"), "_")
		out := run("download", pkg+":"+code)
		i := strings.Index(out, home)
		if i < 0 {
			t.Fatalf("download: %s", out)
		}
		got, err := os.ReadFile(strings.TrimSpace(out[i:]))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v, want the %d published", name, len(got), err, len(b))
		}
	}
	// It takes what is new the next time.
	w.publish(w.app("org.example.clock", "Clock", 3))
	run("update")
	wants(t, run("show", "org.example.clock"), "1.3 (3)")
}

// client returns fdroidcl as somebody uses it who follows one repository. What it
// downloads is below the folder that its words name.
func client(t *testing.T, program, address string) (run func(args ...string) string, home string) {
	t.Helper()
	home = t.TempDir()
	settings, err := json.Marshal(map[string]any{"repos": []any{map[string]any{"id": "local", "url": address, "enabled": true}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "config", "fdroidcl")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), settings, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*testkit.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		// It asks adb, which must not be somebody's here: there is none on PATH, and
		// nobody listens where it would look.
		cmd.Env = []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, "config"), "XDG_CACHE_HOME=" + filepath.Join(home, "cache"),
			"PATH=" + filepath.Join(home, "bin"), "ANDROID_ADB_SERVER_PORT=" + freePort(t)}
		cmd.Dir = home
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("fdroidcl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}, home
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func wants(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("want %q in:\n%s", p, got)
		}
	}
}

func look(tb testing.TB, name string) string {
	tb.Helper()
	p, err := tool.Look(name)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// download has fdroidserver fetch an index, verify it and print it as JSON.
const download = `
import json, sys
import fdroidserver.common as common, fdroidserver.index as index
common.config = {'jarsigner': sys.argv[1], 'keytool': 'keytool'}
common.options = None
f = getattr(index, 'download_repo_index_' + sys.argv[2])
json.dump(f(sys.argv[3])[0], sys.stdout)
`

// TestFDroidServer has fdroidserver, whose code verifies signatures and
// fingerprints, download both indexes.
func TestFDroidServer(t *testing.T) {
	look(t, "fdroid")
	jarsigner := look(t, "jarsigner")
	w := newWorld(t)
	w.publish(w.app("org.example.clock", "Clock", 1, 2), w.app("org.example.radio", "Radio", 7))
	address, err := fdroid.Address(&w.config)
	if err != nil {
		t.Fatal(err)
	}
	address = "http" + strings.TrimPrefix(address, "fdroidrepo")
	get := func(version, address string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", download, jarsigner, version, address)
		cmd.Dir = t.TempDir()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr.String())
		}
		return out, err
	}
	for _, version := range []string{"v1", "v2"} {
		b, err := get(version, address)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		var index struct {
			Repo     struct{ Timestamp int64 }
			Packages map[string]any
		}
		if err := json.Unmarshal(b, &index); err != nil {
			t.Fatal(err)
		}
		if len(index.Packages) != 2 || index.Packages["org.example.radio"] == nil || index.Repo.Timestamp != w.config.Time.UnixMilli() {
			t.Errorf("%s: fdroidserver reads %d packages of %d", version, len(index.Packages), index.Repo.Timestamp)
		}
		wrong := address[:len(address)-1] + map[bool]string{true: "1", false: "0"}[address[len(address)-1] == '0']
		if _, err := get(version, wrong); err == nil || !strings.Contains(err.Error(), "fingerprint does not match") {
			t.Errorf("%s: with another fingerprint: %v", version, err)
		}
	}
	// Somebody in between changes the index.
	f, err := w.tree.Open(t.Context(), fdroid.Folder+"/entry.jar")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.tree.Point(t.Context(), fdroid.Folder+"/entry.jar", old, changed(t, old)); err != nil {
		t.Fatal(err)
	}
	if b, err := get("v2", address); err == nil {
		t.Errorf("a changed entry.jar is taken: %s", b)
	}
}

// changed returns entry.jar with something else in entry.json.
func changed(t *testing.T, jar []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name == "entry.json" {
			b = bytes.Replace(b, []byte(`"numPackages":2`), []byte(`"numPackages":3`), 1)
		}
		e, err := w.Create(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
