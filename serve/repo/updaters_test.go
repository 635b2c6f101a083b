package repo_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	api "mios/api/repo"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/publish/ota"
	"mios/publish/ota/otatest"
	publish "mios/publish/repo"
	"mios/publish/repotest"
	"mios/serve/repo"
)

// A phone is what an updater knows of the device that it runs on.
type phone struct {
	t       *testing.T
	server  string // the address of the updater's folder
	channel string
	build   *otatest.Build // that runs
	cert    *x509.Certificate
}

// get fetches a file as Java's HttpURLConnection does: what is not found is an
// error.
func (p *phone) get(url string) ([]byte, error) {
	res, body := do(p.t, http.MethodGet, url, "", "")
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return body, nil
}

// entry returns a file of a package.
func entry(z *zip.Reader, name string) (string, error) {
	f, err := z.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// apply is what update_engine does with a payload at an offset of a file: it
// believes payload_properties.txt, and writes the other slot.
func (p *phone) apply(pack []byte, offset int64, headers string) (map[string][]byte, error) {
	values := map[string]string{}
	for line := range strings.Lines(headers) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[k] = v
	}
	size, err := strconv.ParseInt(values["FILE_SIZE"], 10, 64)
	if err != nil || offset+size > int64(len(pack)) {
		return nil, fmt.Errorf("FILE_SIZE=%q at %d in a package of %d", values["FILE_SIZE"], offset, len(pack))
	}
	body := bytes.NewReader(pack[offset : offset+size])
	md, err := payload.ReadMetadata(body)
	if err != nil {
		return nil, err
	}
	slot := map[string][]byte{}
	a := &payload.Applier{
		Metadata: md, Keys: []*rsa.PublicKey{&otatest.Key().PublicKey},
		Source: func(name string) (io.ReaderAt, error) { return bytes.NewReader(p.build.Images[name]), nil },
		Target: func(name string) (io.WriterAt, error) {
			slot[name] = make([]byte, md.Manifest.Partition(name).NewInfo.Size)
			return writer(slot[name]), nil
		},
	}
	if _, err := a.Apply(context.Background(), body, md.Start()); err != nil {
		return nil, err
	}
	return slot, nil
}

type writer []byte

func (w writer) WriteAt(b []byte, off int64) (int, error) { return copy(w[off:], b), nil }

// verify is what RecoverySystem.verifyPackage does.
func (p *phone) verify(pack []byte) error {
	_, err := otazip.VerifyFile(context.Background(), bytes.NewReader(pack), int64(len(pack)), []*x509.Certificate{p.cert})
	return err
}

var errUpToDate = errors.New("up to date")

// graphene updates the phone as GrapheneOS's updater does (Service.java), and
// returns what it fetched and the other slot.
func (p *phone) graphene() (file string, slot map[string][]byte, err error) {
	b, err := p.get(p.server + otatest.Device + "-" + p.channel)
	if err != nil {
		return "", nil, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	metadata := strings.Split(line, " ")
	date, err := strconv.ParseInt(metadata[1], 10, 64)
	switch {
	case err != nil:
		return "", nil, err
	case date <= p.build.Time:
		return "", nil, errUpToDate
	case metadata[2] != otatest.Device:
		return "", nil, fmt.Errorf("device %s does not match", metadata[2])
	case metadata[3] != p.channel:
		return "", nil, fmt.Errorf("channel %s does not match", metadata[3])
	}
	file = otatest.Device + "-incremental-" + p.build.Incremental + "-" + metadata[0] + ".zip"
	pack, err := p.get(p.server + file)
	if err != nil {
		file = otatest.Device + "-ota_update-" + metadata[0] + ".zip"
		if pack, err = p.get(p.server + file); err != nil {
			return "", nil, err
		}
	}
	if err := p.verify(pack); err != nil {
		return file, nil, err
	}
	slot, err = p.grapheneInstall(pack, date)
	return file, slot, err
}

func (p *phone) grapheneInstall(pack []byte, date int64) (map[string][]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(pack), int64(len(pack)))
	if err != nil {
		return nil, err
	}
	text, err := entry(z, "META-INF/com/android/metadata")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		pair := strings.Split(strings.TrimSuffix(line, "\n"), "=")
		values[pair[0]] = pair[1]
	}
	source, ok := values["pre-build-incremental"]
	fingerprint, okFingerprint := values["pre-build"]
	switch {
	case values["post-timestamp"] != strconv.FormatInt(date, 10):
		return nil, errors.New("timestamp does not match server metadata")
	case values["pre-device"] != otatest.Device:
		return nil, errors.New("device mismatch")
	case values["serialno"] != "" || values["ota-type"] != "AB":
		return nil, errors.New("not an A/B update of all devices")
	case ok && source != p.build.Incremental, okFingerprint && fingerprint != p.build.Fingerprint():
		return nil, errors.New("source mismatch")
	}
	offset := int64(0)
	for _, property := range strings.Split(strings.TrimSpace(values["ota-streaming-property-files"]), ",") {
		if f := strings.Split(property, ":"); f[0] == "payload.bin" {
			if offset, err = strconv.ParseInt(f[1], 10, 64); err != nil {
				return nil, err
			}
		}
	}
	if _, err := entry(z, "care_map.pb"); err != nil {
		return nil, err
	}
	headers, err := entry(z, "payload_properties.txt")
	if err != nil {
		return nil, err
	}
	return p.apply(pack, offset, headers)
}

// lineage updates the phone as LineageOS's updater does (Utils.java,
// ABUpdateInstaller.java) by a person who takes the first that it shows, and
// returns what it fetched and the other slot.
func (p *phone) lineage(romtype, version string) (file string, slot map[string][]byte, err error) {
	b, err := p.get(p.server + otatest.Device + "-" + p.channel + ".json")
	if err != nil {
		return "", nil, err
	}
	var list struct {
		Response []struct {
			Datetime, Size                      int64
			Filename, ID, ROMType, URL, Version string
		}
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return "", nil, err
	}
	for _, u := range list.Response {
		if u.Version != version || u.Datetime <= p.build.Time || !strings.EqualFold(u.ROMType, romtype) {
			continue
		}
		pack, err := p.get(u.URL)
		if err == nil && int64(len(pack)) != u.Size {
			err = fmt.Errorf("%d bytes, want %d", len(pack), u.Size)
		}
		if err == nil {
			err = p.verify(pack)
		}
		if err == nil {
			slot, err = p.lineageInstall(pack)
		}
		return u.Filename, slot, err
	}
	return "", nil, errUpToDate
}

// lineageInstall finds the payload by adding up what the ZIP's directory says of
// the entries before it, as the updater does.
func (p *phone) lineageInstall(pack []byte) (map[string][]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(pack), int64(len(pack)))
	if err != nil {
		return nil, err
	}
	headers, err := entry(z, "payload_properties.txt")
	if err != nil {
		return nil, err
	}
	offset := int64(0)
	for _, f := range z.File {
		offset += 30 + int64(len(f.Name)) + int64(len(f.Extra))
		if f.Name == "payload.bin" {
			return p.apply(pack, offset, headers)
		}
		offset += int64(f.CompressedSize64)
	}
	return nil, errors.New("no payload.bin")
}

// vendor is a served repository with builds 1 to 3, their full packages, and one
// from 2 to 3.
func vendor(t *testing.T) (r *publish.Repo, s *httptest.Server, builds []*otatest.Build, newest *api.OSRelease) {
	t.Helper()
	r = repotest.New(t, repotest.Keys(t), otatest.Product)
	s = newServer(t, r)
	var zips []string
	for i := range int64(3) {
		b := otatest.NewBuild(fmt.Sprintf("2026.%d", i+1), 1_800_000_000+1000*i)
		builds = append(builds, b)
		full, deltas := b.Full(t), []string(nil)
		if i == 2 {
			deltas = []string{b.Delta(t, builds[1])}
			zips = append(zips, b.Zip(t, deltas[0], builds[1], nil))
		}
		zips = append(zips, b.Zip(t, full, nil, nil))
		newest = b.Publish(t, r, api.Everyone, full, deltas...)
	}
	otatest.PublishZips(t, r, func(set *ota.ViewSettings) { set.BaseURL = s.URL }, zips...)
	return r, s, builds, newest
}

// TestUpdaters takes phones with updaters of GrapheneOS and LineageOS to the
// newest release that all are offered, from each of the builds.
func TestUpdaters(t *testing.T) {
	r, s, builds, newest := vendor(t)
	const all, halted, withdrawn = "offered to all", "halted", "withdrawn"
	for _, tt := range []struct {
		rollout  string
		from, to int    // builds; to -1 is up to date
		file     string // that GrapheneOS's updater fetches
	}{
		{all, 0, 2, "oriole-ota_update-2026.3.zip"},
		{all, 1, 2, "oriole-incremental-2026.2-2026.3.zip"},
		{all, 2, -1, ""},
		{halted, 0, 1, "oriole-ota_update-2026.2.zip"},
		{halted, 1, -1, ""},
		{halted, 2, -1, ""},
		{all, 1, 2, "oriole-incremental-2026.2-2026.3.zip"},
		{withdrawn, 0, 1, "oriole-ota_update-2026.2.zip"},
	} {
		n := api.Narrow{Share: api.Everyone, Halted: tt.rollout == halted, Withdrawn: tt.rollout == withdrawn}
		if _, err := r.SetRollout(t.Context(), otatest.Product, newest.Target.SHA256, n); err != nil {
			t.Fatal(err)
		}
		if _, err := ota.UpdateViews(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		p := &phone{t: t, server: s.URL + "/os/phone/arm64/updaters/", channel: "stable", build: builds[tt.from], cert: otatest.Certificate(t)}
		judge := func(who, file, want string, slot map[string][]byte, err error) {
			t.Helper()
			if tt.to < 0 {
				if !errors.Is(err, errUpToDate) {
					t.Errorf("%s, %s from build %d: %q, %v, want that it is up to date", who, tt.rollout, tt.from, file, err)
				}
				return
			}
			if err != nil || file != want {
				t.Errorf("%s, %s from build %d: fetched %q, %v, want %q", who, tt.rollout, tt.from, file, err, want)
				return
			}
			for name, image := range builds[tt.to].Images {
				if !bytes.Equal(slot[name], image) {
					t.Errorf("%s, %s from build %d: partition %s is not build %d's", who, tt.rollout, tt.from, name, tt.to)
				}
			}
		}
		file, slot, err := p.graphene()
		judge("GrapheneOS", file, tt.file, slot, err)
		file, slot, err = p.lineage("STABLE", "16")
		want := ""
		if tt.to >= 0 {
			want = "oriole-ota_update-" + builds[tt.to].Incremental + ".zip"
		}
		judge("LineageOS", file, want, slot, err)
	}
}

// TestUpdatersRefuse: what is of another channel, type or version, or signed by
// somebody else, is not taken.
func TestUpdatersRefuse(t *testing.T) {
	_, s, builds, _ := vendor(t)
	p := phone{t: t, server: s.URL + "/os/phone/arm64/updaters/", channel: "beta", build: builds[0], cert: otatest.Certificate(t)}
	if _, _, err := p.graphene(); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a channel that is not there: %v", err)
	}
	for _, of := range [][2]string{{"nightly", "16"}, {"stable", "17"}, {"stable", "15"}} {
		p.channel = "stable"
		if file, _, err := p.lineage(of[0], of[1]); !errors.Is(err, errUpToDate) {
			t.Errorf("an update of another type or version than %q: %q, %v", of, file, err)
		}
	}
	// A server that shows one channel's view as another's.
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.URL+strings.Replace(r.URL.Path, "-beta", "-stable", 1), http.StatusFound)
	}))
	t.Cleanup(liar.Close)
	p.server, p.channel = strings.Replace(p.server, s.URL, liar.URL, 1), "beta"
	if _, _, err := p.graphene(); err == nil || !strings.Contains(err.Error(), "channel stable does not match") {
		t.Errorf("another channel's view: %v", err)
	}
	p.channel, p.cert = "stable", &x509.Certificate{PublicKey: &otatest.Key().PublicKey, SignatureAlgorithm: x509.UnknownSignatureAlgorithm}
	if _, _, err := p.graphene(); !errors.Is(err, otazip.ErrSignature) {
		t.Errorf("a package by a stranger: %v", err)
	}
}

// TestUpdaterFiles: packages may be kept for ever and fetched in parts, however
// long they are; pointers are asked for each time.
func TestUpdaterFiles(t *testing.T) {
	r := repotest.New(t, repotest.Keys(t), otatest.Product)
	h := (&repo.Service{Repo: r, Log: slog.New(slog.DiscardHandler)}).Handler()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	const dir = "os/phone/arm64/updaters/"
	long := bytes.Repeat([]byte("package "), (api.MaxMetadata+4096)/8)
	if err := r.Tree().Create(t.Context(), dir+"oriole-ota_update-1.zip", bytes.NewReader(long)); err != nil {
		t.Fatal(err)
	}
	if err := r.Tree().Point(t.Context(), dir+"oriole-stable", nil, []byte("1 1800000000 oriole stable\n")); err != nil {
		t.Fatal(err)
	}
	res, body := do(t, http.MethodGet, s.URL+"/"+dir+"oriole-ota_update-1.zip", "Range", fmt.Sprintf("bytes=%d-", len(long)-5))
	if res.StatusCode != http.StatusPartialContent || string(body) != "kage " || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("the end of a package: %s %q, %q", res.Status, body, res.Header.Get("Cache-Control"))
	}
	res, _ = do(t, http.MethodGet, s.URL+"/"+dir+"oriole-ota_update-1.zip", "Range", fmt.Sprintf("bytes=%d-", len(long)))
	if res.StatusCode != http.StatusRequestedRangeNotSatisfiable { // "download completed previously"
		t.Errorf("beyond the end of a package: %s", res.Status)
	}
	res, _ = do(t, http.MethodGet, s.URL+"/"+dir+"oriole-stable", "", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("a pointer: %s, %q", res.Status, res.Header.Get("Cache-Control"))
	}
}
