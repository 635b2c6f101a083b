//go:build !ramdisk

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/api/repo"
	buildapp "mios/build/app"
	"mios/device/app"
	"mios/device/app/store"
	"mios/device/fetch"
	"mios/device/socket"
	publish "mios/publish/repo"
	"mios/publish/repotest"
	web "mios/serve/repo"
)

// TestStoreCommands types what a person types, against a real store and a real
// repository.
func TestStoreCommands(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("packages get uids of their own: run the test as root")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := buildapp.Certificate(key)
	if err != nil {
		t.Fatal(err)
	}
	signers := []mios.Digest{mios.Sum(cert)}
	r := repotest.New(t, repotest.Keys(t))
	if _, err := r.Claim(t.Context(), repo.Claim{Package: "org.mios.t", Signers: signers}); err != nil {
		t.Fatal(err)
	}
	var releases []repo.AppRelease
	release := func(code int) {
		b := testAPK(t, code, key)
		target := repo.Target{Path: repo.AppPath("org.mios.t", int64(code)), Length: int64(len(b)), SHA256: mios.Sum(b)}
		releases = append(releases, repo.AppRelease{
			Release: int64(code), Package: "org.mios.t", VersionCode: int64(code), VersionName: "v" + string(rune('0'+code)), Signers: signers,
			Tracks: []string{repo.TrackProduction}, Share: repo.Everyone, Target: target, Notes: "All is new.",
		})
		a := publish.App{Package: repo.Package{Package: "org.mios.t", Releases: releases}, Files: []publish.File{{Target: target, Content: bytes.NewReader(b)}}, Listing: &repo.Listing{
			Package: "org.mios.t", Author: "Tea & Sons", License: "MIT", Categories: []string{"system"},
			Locales: map[string]repo.LocaleListing{"en-US": {Name: "Tee Time", Summary: "Tells when", Description: "There is tea."}},
		}}
		if _, err := r.SetApps(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	release(1)
	sock := storeAt(t, r)
	for _, tt := range []struct {
		args   string
		code   int
		stdout string // a regular expression for all of it
		stderr string // for a part
	}{
		{"store list", 0, ``, ``},
		{"store report", 0, `data used: .*\n`, ``},
		{"store search tee", 0, `org\.mios\.t\tTee Time\n`, ``},
		{"store search coffee", 1, ``, `no app for this device has "coffee": try fewer words`},
		{"pm search tee", 0, `org\.mios\.t\tTee Time\n`, ``},
		{"pm search coffee", 1, ``, `Error: no app for this device has "coffee": try fewer words`},
		{"pm search", 2, ``, `want words`},
		{"store show org.mios.t", 0, `package +org\.mios\.t\nname +Tee Time\nsummary +Tells when\nauthor +Tea & Sons\nlicense +MIT\ncategories +system\n` +
			`available +v1 \(1\), .* to fetch \(full\)\nnew +All is new\.\n\nThere is tea\.\n`, ``},
		{"store show org.mios.none", 1, ``, `INSTALL_FAILED_INVALID_APK: there is no release of it`},
		{"store install org.mios.none", 1, ``, `INSTALL_FAILED_INVALID_APK: org.mios.none: there is no release of it`},
		{"store install org.mios.t", 0, `org\.mios\.t installed v1 \(1\), full, .* fetched\n`, ``},
		{"pm install --repo org.mios.t", 0, `Success\n`, ``},
		{"pm install --repo org.mios.none", 1, `Failure \[INSTALL_FAILED_INVALID_APK: org\.mios\.none: there is no release of it.*\]\n`, ``},
		{"release", 0, ``, ``},
		{"store show org.mios.t", 0, `(.*\n)*installed +v1 \(1\)\nkept by +store\navailable +v2 \(2\), (.*\n)*`, ``},
		{"store update --all", 0, `org\.mios\.t updated v1 \(1\) -> v2 \(2\), full, .* fetched\n`, ``},
		{"store update org.mios.t", 0, `org\.mios\.t current v2 \(2\): .*\n`, ``},
		{"store update --unmetered org.mios.none", 1, `org\.mios\.none failed: .*\n`, `NOT_INSTALLED`},
		{"store list", 0, `org\.mios\.t\tv2 \(2\)\tstore\tcurrent\n`, ``},
		{"pm updates", 0, `(.*\n)*org\.mios\.t current v2 \(2\): .*\n(.*\n)*looked .*\ndata used: .*\n`, ``},
		{"pm dump org.mios.t", 0, `(.*\n)*  installerPackageName=store\n  release=2\n(.*\n)*`, ``},
	} {
		if tt.args == "release" {
			release(2)
			continue
		}
		var out, errs bytes.Buffer
		tool := &tool{out: &out, err: &errs, client: app.Client{Socket: sock}}
		words := strings.Fields(tt.args)
		code := map[string]func(context.Context, []string) int{"pm": tool.pm, "store": tool.store}[words[0]](t.Context(), words[1:])
		if code != tt.code || !regexp.MustCompile(`^`+tt.stdout+`$`).Match(out.Bytes()) || !strings.Contains(errs.String(), tt.stderr) {
			t.Errorf("%s: exit status %d\n%s%s\nwant %d, %s, %s", tt.args, code, &out, &errs, tt.code, tt.stdout, tt.stderr)
		}
	}
}

// storeAt starts a device's package manager with a store in front of a repository,
// and returns its socket.
func storeAt(t *testing.T, r *publish.Repo) string {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewServer((&web.Service{Repo: r, Log: log}).Handler())
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	m, err := app.Open(ctx, app.Config{Root: filepath.Join(dir, "data"), SDK: 34, ABI: "x86_64", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	root, err := r.RootMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := &fetch.Client{Mirrors: []string{server.URL}, Tries: 1}
	c, err := repo.Open(repo.Config{Dir: filepath.Join(dir, "repo"), Root: root, Fetcher: f, BuildTime: time.Unix(1000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*store.Store, error) {
		return store.Open(store.Config{
			Dir: filepath.Join(dir, "data", "store"), Repository: c, Packages: m, Fetch: f, Log: log,
			Device: repo.AppDevice{ID: "device", SDK: 34, ABIs: []string{"x86_64"}, Class: "iot"},
		})
	}
	path := filepath.Join(dir, "installd")
	l, err := socket.Listen(path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l, store.Serve(ctx, open, log)) }()
	t.Cleanup(func() { cancel(); <-served; m.Wait() })
	return path
}
