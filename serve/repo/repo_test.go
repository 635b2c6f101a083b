package repo_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	device "mios/api"
	api "mios/api/repo"
	"mios/device/fetch"
	publish "mios/publish/repo"
	"mios/publish/repotest"
	"mios/serve/repo"
)

// newRepo is a repository with one release.
func newRepo(t *testing.T) (*publish.Repo, *api.OSRelease, []byte) {
	t.Helper()
	r := repotest.New(t, repotest.Keys(t), "iot")
	payload := bytes.Repeat([]byte("payload "), 50_000)
	rel := &api.OSRelease{
		Product: "iot", Arch: mios.AMD64, Version: "1.0", BuildTime: 1_800_000_000, Channels: []string{"stable"}, Salt: "s",
		MaxShare: api.Everyone, Notes: "<script>alert(1)</script>",
		Target: api.Target{Path: api.OSPath("iot", mios.AMD64, "1.0", 1_800_000_000), Length: int64(len(payload)), SHA256: sha256.Sum256(payload)},
	}
	if _, err := r.PublishOS(t.Context(), rel, bytes.NewReader(payload), api.Everyone); err != nil {
		t.Fatal(err)
	}
	return r, rel, payload
}

func newServer(t *testing.T, r *publish.Repo) *httptest.Server {
	t.Helper()
	s := httptest.NewServer((&repo.Service{Repo: r, Log: slog.New(slog.DiscardHandler)}).Handler())
	t.Cleanup(s.Close)
	return s
}

// do makes a request, with one header if it has a name.
func do(t *testing.T, method, url, header, value string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		req.Header.Set(header, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

func TestHandler(t *testing.T) {
	r, rel, payload := newRepo(t)
	root := filepath.Join(r.Dir(), publish.PublicDir)
	for _, name := range []string{".timestamp.json.tmp-1", "metadata/.x.tmp-2"} { // what a killed writer leaves
		if err := os.WriteFile(filepath.Join(root, name), []byte("torn"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, r)
	const forever, fresh = "public, max-age=31536000, immutable", "no-cache"
	file := "/" + rel.Target.File()
	for _, tt := range []struct {
		method, path, header, value string
		code                        int
		kind, cache                 string
		body                        string // a part of it
	}{
		{"GET", "/", "", "", 200, "text/html; charset=utf-8", fresh, "1.0"},
		{"GET", "/metadata/timestamp.json", "", "", 200, "application/json", fresh, `"timestamp"`},
		{"GET", "/metadata/1.root.json", "", "", 200, "application/json", forever, `"root"`},
		{"GET", file, "", "", 200, "application/octet-stream", forever, "payload "},
		{"HEAD", file, "", "", 200, "application/octet-stream", forever, ""},
		{"GET", file, "Range", "bytes=8-15", 206, "application/octet-stream", forever, "payload "},
		{"GET", file, "Range", "bytes=99999999-", 416, "", "", ""},
		{"GET", file, "If-None-Match", `"` + rel.Target.SHA256.String() + `"`, 304, "", forever, ""},
		{"GET", "/metadata/2.root.json", "", "", 404, "text/plain; charset=utf-8", "no-store", "not found"},
		{"GET", "/metadata", "", "", 404, "text/plain; charset=utf-8", "no-store", "not found"},
		{"GET", "/metadata/timestamp.json/x", "", "", 404, "text/plain; charset=utf-8", "no-store", "not found"},
		{"GET", "/.timestamp.json.tmp-1", "", "", 404, "text/plain; charset=utf-8", "no-store", "not found"},
		{"GET", "/metadata/.x.tmp-2", "", "", 404, "text/plain; charset=utf-8", "no-store", "not found"},
		{"GET", "/..%2frepo.json", "", "", 404, "text/plain; charset=utf-8", "no-store", "not found"},
		{"POST", "/metadata/timestamp.json", "", "", 405, "text/plain; charset=utf-8", "", ""},
		{"DELETE", file, "", "", 405, "text/plain; charset=utf-8", "", ""},
	} {
		res, b := do(t, tt.method, s.URL+tt.path, tt.header, tt.value)
		name := fmt.Sprintf("%s %s %s", tt.method, tt.path, tt.value)
		if res.StatusCode != tt.code || !strings.Contains(string(b), tt.body) {
			t.Errorf("%s: status %d, %d bytes; want %d with %q", name, res.StatusCode, len(b), tt.code, tt.body)
		}
		if kind := res.Header.Get("Content-Type"); tt.kind != "" && kind != tt.kind {
			t.Errorf("%s: type %q, want %q", name, kind, tt.kind)
		}
		if cache := res.Header.Get("Cache-Control"); tt.cache != "" && cache != tt.cache {
			t.Errorf("%s: Cache-Control %q, want %q", name, cache, tt.cache)
		}
		if tt.path == file && tt.code == 200 && tt.method == "GET" && !bytes.Equal(b, payload) {
			t.Errorf("%s: other bytes", name)
		}
		if tt.path == "/" && (strings.Contains(string(b), "<script>") || strings.Contains(string(b), "tmp-")) {
			t.Errorf("the page has what it must not: %s", b)
		}
	}
}

// TestIndexCached: the page reads the repository when that has changed, and not
// each time.
func TestIndexCached(t *testing.T) {
	r, rel, _ := newRepo(t)
	s := newServer(t, r)
	page := func() string {
		t.Helper()
		res, b := do(t, "GET", s.URL, "", "")
		if res.StatusCode != 200 {
			t.Fatalf("status %s", res.Status)
		}
		return string(b)
	}
	before := page()
	// With the metadata behind the pointer gone, only what was read before is known.
	metadata := filepath.Join(r.Dir(), publish.PublicDir, "metadata")
	hidden := filepath.Join(t.TempDir(), "metadata")
	if err := os.CopyFS(hidden, os.DirFS(metadata)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(metadata, "*.snapshot.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d snapshots, %v", len(files), err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if again := page(); again != before {
		t.Errorf("the page is another one: %s", again)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(hidden, filepath.Base(f)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.SetRollout(t.Context(), "iot", rel.Target.SHA256, api.Narrow{Share: api.Everyone, Withdrawn: true}); err != nil {
		t.Fatal(err)
	}
	if after := page(); !strings.Contains(after, "withdrawn") {
		t.Errorf("the page does not show that the release was withdrawn: %s", after)
	}
}

// TestDevice is a device's client, through device/fetch, against the server
// and a mirror that is down.
func TestDevice(t *testing.T) {
	r, rel, payload := newRepo(t)
	s := newServer(t, r)
	first, err := r.RootMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	f := &fetch.Client{Mirrors: []string{down.URL, s.URL}}
	c, err := api.Open(api.Config{Dir: t.TempDir(), Root: first, Fetcher: f, Product: "iot", BuildTime: time.Unix(1_700_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	offer, err := c.OSOffer(&device.Device{Arch: mios.AMD64, Channel: "stable", BuildTime: 1_700_000_000}, "device", "")
	if err != nil || offer.Target != rel.Target || offer.Notes != rel.Notes {
		t.Fatalf("OSOffer = %+v, %v", offer, err)
	}
	if _, err := c.OSOffer(&device.Device{Arch: mios.AMD64, Channel: "stable", BuildTime: rel.BuildTime}, "device", ""); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("OSOffer of what it has = %v, want not found", err)
	}
	body, err := f.Open(t.Context(), offer.Target.File(), 100, offer.Target.Length-100)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(b, payload[100:]) {
		t.Errorf("payload: %d bytes, %v", len(b), err)
	}
}

// TestFeed reads the feed of releases as a feed reader does, before and after a
// release is halted.
func TestFeed(t *testing.T) {
	r, rel, _ := newRepo(t)
	service := &repo.Service{Repo: r, Log: slog.New(slog.DiscardHandler), FDroid: "fdroidrepos://example.org/apps?fingerprint=AB"}
	s := httptest.NewServer(service.Handler())
	defer s.Close()
	read := func(query string) (f struct {
		ID      string `xml:"http://www.w3.org/2005/Atom id"`
		Updated string `xml:"http://www.w3.org/2005/Atom updated"`
		Entries []struct {
			ID      string `xml:"id"`
			Title   string `xml:"title"`
			Updated string `xml:"updated"`
			Summary string `xml:"summary"`
			Link    struct {
				Href string `xml:"href,attr"`
				Rel  string `xml:"rel,attr"`
			} `xml:"link"`
		} `xml:"http://www.w3.org/2005/Atom entry"`
	}) {
		t.Helper()
		res, b := do(t, "GET", s.URL+"/feed.atom"+query, "", "")
		if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != "application/atom+xml; charset=utf-8" {
			t.Fatalf("feed%s: status %d, type %q", query, res.StatusCode, kind)
		}
		if err := xml.Unmarshal(b, &f); err != nil {
			t.Fatalf("feed%s: %v\n%s", query, err, b)
		}
		return f
	}
	f := read("")
	if len(f.Entries) != 1 || f.Updated != "2027-01-15T08:00:00Z" || !strings.HasPrefix(f.ID, "urn:uuid:") {
		t.Fatalf("feed = %+v", f)
	}
	e := f.Entries[0]
	if e.Title != "iot 1.0 for amd64" || e.Updated != f.Updated || e.ID == f.ID || !strings.HasPrefix(e.Summary, rel.Notes+"\nTo 100 % of the devices; ") {
		t.Errorf("entry = %+v", e)
	}
	if e.Link.Rel != "enclosure" || e.Link.Href != rel.Target.File() {
		t.Errorf("link = %+v", e.Link)
	}
	if n := len(read("?product=iot").Entries); n != 1 {
		t.Errorf("the product's feed has %d entries", n)
	}
	if n := len(read("?product=phone").Entries) + len(read("?package=org.example.app").Entries); n != 0 {
		t.Errorf("feeds of others have %d entries", n)
	}
	res, _ := do(t, "GET", s.URL+"/feed.atom", "", "")
	if res, _ := do(t, "GET", s.URL+"/feed.atom", "If-None-Match", res.Header.Get("ETag")); res.StatusCode != http.StatusNotModified {
		t.Errorf("the same again: status %d", res.StatusCode)
	}
	if _, err := r.SetRollout(t.Context(), "iot", rel.Target.SHA256, api.Narrow{Share: api.Everyone, Halted: true}); err != nil {
		t.Fatal(err)
	}
	if n := len(read("").Entries); n != 0 {
		t.Errorf("a halted release is in the feed")
	}
	_, page := do(t, "GET", s.URL+"/", "", "")
	for _, want := range []string{`href="feed.atom"`, `<a href="fdroidrepos://example.org/apps?fingerprint=AB">`, `<b class="off">halted</b>`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}
