package store

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	"mios/api"
	"mios/api/repo"
	buildapp "mios/build/app"
	"mios/device/app"
	"mios/device/fetch"
	"mios/format/apk"
	"mios/format/apkdelta"
	"mios/format/apksig"
	"mios/internal/testkit"
	publish "mios/publish/repo"
	"mios/publish/repotest"
	web "mios/serve/repo"
)

const pkg = "org.mios.t"

var signers = sync.OnceValue(func() (list [2]apksig.Signer) {
	for i := range list {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		cert, err := buildapp.Certificate(crypto.Signer(k))
		if err != nil {
			panic(err)
		}
		list[i] = apksig.Signer{Key: k, Certificate: cert}
	}
	return list
})

func digest(s apksig.Signer) mios.Digest { return mios.Sum(s.Certificate) }

// spec says which package to make.
type spec struct {
	pkg     string // default: pkg
	code    int64
	split   string
	signer  int
	lineage *apksig.Lineage
}

// noise is what a package has of bytes that do not compress: most are the same in
// every version.
func noise(code int64) []byte {
	b := make([]byte, 200_000)
	same, own := mathrand.New(mathrand.NewPCG(1, 1)), mathrand.New(mathrand.NewPCG(2, uint64(code)))
	for i := range b {
		if b[i] = byte(same.Uint32()); i < 5000 {
			b[i] = byte(own.Uint32())
		}
	}
	return b
}

func makeAPK(t *testing.T, s spec) []byte {
	t.Helper()
	name := pkg
	if s.pkg != "" {
		name = s.pkg
	}
	head := name
	if s.split != "" {
		head += `" split="` + s.split
	}
	root, err := apk.ParseText(fmt.Appendf(nil, `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s" android:versionCode="%d" android:versionName="v%[2]d">
<uses-sdk android:minSdkVersion="28"/><application/></manifest>`, head, s.code))
	if err != nil {
		t.Fatal(err)
	}
	var b, out bytes.Buffer
	w := apk.NewWriter(&b)
	content := noise(s.code)
	if s.split != "" {
		content = content[:1000]
	}
	err = errors.Join(w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))),
		w.Add("assets/noise", apk.Store, bytes.NewReader(content)), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	o := apksig.SignOptions{Signers: []apksig.Signer{signers()[s.signer]}, V3: true, Lineage: s.lineage}
	if s.lineage != nil {
		o.RotationMinSDK = 28
	}
	if err := apksig.Sign(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A world is a repository, a server in front of it, and a device.
type world struct {
	t      *testing.T
	repo   *publish.Repo
	server *httptest.Server
	root   []byte // the repository's root metadata
	dir    string // the device's data
	log    testkit.Buffer

	mu    sync.Mutex
	wrap  func(http.Handler) http.Handler
	asked []string // paths, with "@" and the range where there is one

	apks     map[int64][]byte // base packages by version code
	releases []repo.AppRelease
	files    []publish.File

	manager *app.Manager
	store   *Store
	change  func(*Config)
	mirrors []string
	budget  int64
	now     func() time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("packages get uids of their own: run the test as root")
	}
	w := &world{t: t, repo: repotest.New(t, repotest.Keys(t)), dir: t.TempDir(), apks: map[int64][]byte{}}
	h := (&web.Service{Repo: w.repo, Log: slog.New(slog.DiscardHandler)}).Handler()
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		next := h
		if w.wrap != nil {
			next = w.wrap(h)
		}
		w.asked = append(w.asked, strings.TrimPrefix(r.URL.Path, "/")+"@"+r.Header.Get("Range"))
		w.mu.Unlock()
		next.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	var err error
	if w.root, err = w.repo.RootMetadata(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mirrors = []string{w.server.URL}
	if _, err := w.repo.Claim(t.Context(), repo.Claim{Package: pkg, Signers: []mios.Digest{digest(signers()[0])}}); err != nil {
		t.Fatal(err)
	}
	w.boot()
	return w
}

// tamper puts a handler in front of the repository; nil takes it away.
func (w *world) tamper(wrap func(http.Handler) http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrap = wrap
}

// boot starts what runs on the device, as after a reboot.
func (w *world) boot() {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	ctx := w.t.Context()
	m, err := app.Open(ctx, app.Config{Root: filepath.Join(w.dir, "data"), SDK: 34, ABI: "x86_64", Helper: []string{"none"}, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "data", "store")
	meter := &fetch.Meter{Path: filepath.Join(dir, "meter.json"), Budget: w.budget, Log: log, Now: w.now}
	f := &fetch.Client{Mirrors: w.mirrors, Tries: 1, Log: log, Meter: meter, Memory: filepath.Join(dir, "mirror")}
	c, err := repo.Open(repo.Config{Dir: filepath.Join(w.dir, "repo"), Root: w.root, Fetcher: f, BuildTime: time.Unix(1000, 0), MaxAge: 24 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		Dir: dir, Repository: c, Packages: m, Fetch: f, Meter: meter, Interval: 6 * time.Hour, Log: log, Now: w.now,
		Device: repo.AppDevice{ID: "device", SDK: 34, ABIs: []string{"x86_64"}, Class: "iot", Place: api.Place{Region: "DE"}},
	}
	if w.change != nil {
		w.change(&cfg)
	}
	if w.store, err = Open(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.manager = m
}

// target stores bytes to be published under a path.
func (w *world) target(path string, b []byte) repo.Target {
	t := repo.Target{Path: path, Length: int64(len(b)), SHA256: mios.Sum(b)}
	w.files = append(w.files, publish.File{Target: t, Content: bytes.NewReader(b)})
	return t
}

// release adds a release of a version that was made before or is made now. change
// may say more of it.
func (w *world) release(s spec, change func(*repo.AppRelease)) *repo.AppRelease {
	w.t.Helper()
	b := w.apks[s.code]
	if b == nil || s.lineage != nil || s.signer != 0 {
		b = makeAPK(w.t, s)
		w.apks[s.code] = b
	}
	r := repo.AppRelease{
		Release: int64(len(w.releases) + 1), Package: pkg, VersionCode: s.code, VersionName: fmt.Sprintf("v%d", s.code), Label: "Tee", MinSDK: 28,
		Signers: []mios.Digest{digest(signers()[s.signer])}, Tracks: []string{repo.TrackProduction}, Share: repo.Everyone,
		Target: w.target(repo.AppPath(pkg, s.code), b),
	}
	if s.lineage != nil {
		r.Lineage = []mios.Digest{digest(signers()[0])}
	}
	if change != nil {
		change(&r)
	}
	w.releases = append(w.releases, r)
	w.publish()
	return &w.releases[len(w.releases)-1]
}

// delta adds a delta between versions to a release.
func (w *world) delta(from int64) func(*repo.AppRelease) {
	return func(r *repo.AppRelease) {
		old, b := w.apks[from], w.apks[r.VersionCode]
		var out bytes.Buffer
		if _, err := apkdelta.Make(w.t.Context(), bytes.NewReader(old), int64(len(old)), bytes.NewReader(b), int64(len(b)), &out, apkdelta.Options{}); err != nil {
			w.t.Fatal(err)
		}
		r.Deltas = []repo.AppDelta{{From: mios.Sum(old), Target: w.target(repo.DeltaPath(pkg, r.VersionCode, mios.Sum(old)), out.Bytes())}}
	}
}

// publish brings the repository to what the releases say.
func (w *world) publish() {
	w.t.Helper()
	a := publish.App{Package: repo.Package{Package: pkg, Releases: w.releases}, Files: w.files, Listing: &repo.Listing{
		Package: pkg, Categories: []string{"system"}, Locales: map[string]repo.LocaleListing{
			"en-US": {Name: "Tee Time", Summary: "Tells when there is tea"}, "de": {Name: "Teezeit", Summary: "Sagt, wann es Tee gibt"},
		},
	}}
	if _, err := w.repo.SetApps(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
	w.files = nil
}

func quiet(Progress) {}

// install and update want an outcome, and a text in why.
func (w *world) install(want Outcome, why string) *Result {
	w.t.Helper()
	r, err := w.store.Install(w.t.Context(), pkg, quiet)
	if r == nil {
		w.t.Fatalf("install: %v", err)
	}
	w.check(r, want, why)
	return r
}

func (w *world) update(want Outcome, why string) *Result {
	w.t.Helper()
	list, err := w.store.Update(w.t.Context(), nil, Options{}, quiet)
	if err != nil || len(list) != 1 {
		w.t.Fatalf("update = %v, %v", list, err)
	}
	w.check(list[0], want, why)
	return list[0]
}

func (w *world) check(r *Result, want Outcome, why string) {
	w.t.Helper()
	if r.Outcome != want || !strings.Contains(r.Why, why) {
		w.t.Errorf("%+v\nwant %s with %q", r, want, why)
	}
	if told := w.store.Report().Apps[r.Package]; told == nil || told.Outcome != r.Outcome || told.Why != r.Why {
		w.t.Errorf("the report has %+v, want %+v", told, r)
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "data", "store", reportFile))
	var rep Report
	if err == nil {
		err = json.Unmarshal(b, &rep)
	}
	if err != nil || rep.Apps[r.Package] == nil || rep.Apps[r.Package].Outcome != r.Outcome {
		w.t.Errorf("%s: %v, %s", reportFile, err, b)
	}
}

// has wants a version to be installed, 0 for none, and nothing to be left over.
func (w *world) has(code int64) *app.Status {
	w.t.Helper()
	st, err := w.manager.Get(pkg)
	if code == 0 {
		if err == nil {
			w.t.Errorf("installed: %+v, want nothing", st)
		}
		return nil
	}
	if err != nil || st.VersionCode != code {
		w.t.Fatalf("installed: %+v, %v; want version %d", st, err, code)
	}
	b, err := os.ReadFile(st.Path)
	if !bytes.Equal(b, w.apks[code]) {
		w.t.Errorf("%s: %d bytes, %v; want those of version %d", st.Path, len(b), err, code)
	}
	return st
}

// parts are the names of the store's downloads.
func (w *world) parts() (names []string) {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "data", "store", "files"))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// fetched are the packages and deltas that were asked for since the last call.
func (w *world) fetched() (paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if p, _, _ := strings.Cut(a, "@"); strings.HasSuffix(p, ".apk") || strings.HasSuffix(p, ".delta") {
			paths = append(paths, a)
		}
	}
	w.asked = nil
	return paths
}

// breaking ends every transfer of a file after so many bytes.
func breaking(path string, after int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.TrimPrefix(r.URL.Path, "/") == path {
				rw = &shortWriter{rw, after}
			}
			next.ServeHTTP(rw, r)
		})
	}
}

type shortWriter struct {
	http.ResponseWriter
	left int64
}

func (w *shortWriter) Write(b []byte) (int, error) {
	if int64(len(b)) < w.left {
		w.left -= int64(len(b))
		return w.ResponseWriter.Write(b)
	}
	w.ResponseWriter.Write(b[:w.left])
	http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// instead answers with other bytes for one path.
func instead(path string, b []byte) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.TrimPrefix(r.URL.Path, "/") != path {
				next.ServeHTTP(rw, r)
				return
			}
			http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(b))
		})
	}
}
