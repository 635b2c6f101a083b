package repo_test

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"mios"
	api "mios/api/repo"
	publish "mios/publish/repo"
	"mios/publish/repotest"
)

// TestStockClient: go-tuf's own client reads what is published here, through
// delegations, bins and a rotation of all keys, and refuses what was changed.
func TestStockClient(t *testing.T) {
	keys, fresh := repotest.Keys(t), repotest.Keys(t)
	r := repotest.New(t, keys, "iot")
	first, err := r.RootMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	payload, apk := []byte("a payload"), []byte("an APK")
	osr := &api.OSRelease{
		Product: "iot", Arch: mios.AMD64, Version: "2", BuildTime: 2, Channels: []string{"stable"}, Salt: `s "\`,
		MaxShare: api.Everyone, Notes: "<b>ü\u2028</b>\n",
	}
	osr.Target = api.Target{Path: api.OSPath("iot", mios.AMD64, "2", 2), Length: int64(len(payload)), SHA256: mios.Sum(payload)}
	if _, err := r.PublishOS(t.Context(), osr, bytes.NewReader(payload), api.Everyone); err != nil {
		t.Fatal(err)
	}
	const pkg = "org.example.clock"
	owner := mios.Sum([]byte("owner"))
	if _, err := r.Claim(t.Context(), api.Claim{Package: pkg, Signers: []mios.Digest{owner}}); err != nil {
		t.Fatal(err)
	}
	app := &api.AppRelease{
		Target: api.Target{Path: api.AppPath(pkg, 1), Length: int64(len(apk)), SHA256: mios.Sum(apk)},
		Tracks: []string{api.TrackProduction}, Share: api.Everyone,
		Package: pkg, VersionCode: 1, Signers: []mios.Digest{owner},
	}
	if _, err := r.PublishApp(t.Context(), app, bytes.NewReader(apk)); err != nil {
		t.Fatal(err)
	}
	r, err = publish.Open(r.Dir(), publish.WithKeys(keys, fresh))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"root", "targets", "snapshot", "timestamp", "os-iot", "rollout", "claims", "apps"}
	if res, err := r.Rotate(t.Context(), publish.Rotation{Roles: all, Keys: fresh}); err != nil || !res.Published {
		t.Fatalf("Rotate = %+v, %v", res, err)
	}

	files := http.FileServer(http.Dir(filepath.Join(r.Dir(), publish.PublicDir)))
	var flip string // in the name of a file of which a byte is changed
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if flip == "" || !strings.Contains(req.URL.Path, flip) {
			files.ServeHTTP(w, req)
			return
		}
		rec := httptest.NewRecorder()
		files.ServeHTTP(rec, req)
		b := rec.Body.Bytes()
		b[len(b)/2] ^= 1
		w.Write(b)
	}))
	defer srv.Close()
	stock := func() *updater.Updater {
		cfg, err := config.New(srv.URL+"/metadata", first)
		if err != nil {
			t.Fatal(err)
		}
		cfg.RemoteTargetsURL, cfg.DisableLocalCache = srv.URL, true
		if err := cfg.SetDefaultFetcherRetry(time.Millisecond, 1); err != nil {
			t.Fatal(err)
		}
		u, err := updater.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	u := stock()
	if err := u.Refresh(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		osr.Target.Path:         string(payload),
		api.RolloutPath("iot"):  `"product":"iot"`,
		api.PackagePath(pkg):    app.Target.Path,
		"apps/org.example.json": "", // nobody's
	} {
		f, err := u.GetTargetInfo(path)
		if want == "" {
			if err == nil {
				t.Errorf("%s: the stock client finds %+v", path, f)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: the stock client: %v", path, err)
			continue
		}
		_, b, err := u.DownloadTarget(f, "", "")
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: the stock client reads %q, %v; want %q in it", path, b, err, want)
		}
		if sum := sha256.Sum256(b); !bytes.Equal(sum[:], f.Hashes["sha256"]) {
			t.Errorf("%s: SHA-256 %x, want %v", path, sum, f.Hashes)
		}
	}
	if _, err := u.GetTargetInfo(api.ClaimsPath(pkg)); err == nil {
		t.Error("the stock client finds a file for a claim")
	}
	trusted := u.GetTrustedMetadataSet()
	bin := trusted.Targets["claims"].Signed.Delegations.SuccinctRoles.GetRolesForTarget(api.ClaimsPath(pkg))[0].Name
	if claims, err := api.ReadClaims(trusted.Targets[bin].Signed.UnrecognizedFields); err != nil || len(claims) != 1 || claims[pkg].Signers[0] != owner {
		t.Errorf("the stock client reads the claims %v, %v", claims, err)
	}
	if got := trusted.Root.Signed.UnrecognizedFields[api.SignedAt]; got == nil {
		t.Errorf("the stock client reads a root without %s", api.SignedAt)
	}
	var m *metadata.Metadata[metadata.TargetsType] = trusted.Targets["os-iot"]
	if c := m.Signed.Targets[osr.Target.Path].Custom; c == nil || !strings.Contains(string(*c), `"salt":"s \"\\"`) {
		t.Errorf("the stock client reads a release %s", *c)
	}
	for _, flip = range []string{"timestamp", "snapshot", "2.root"} {
		if err := stock().Refresh(); err == nil {
			t.Errorf("the stock client takes a changed %s", flip)
		}
	}
}
