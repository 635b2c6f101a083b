package store_test

import (
	"bytes"
	"encoding/json"
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

	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/storetest"
	"mios/serve/store"
	"mios/storage/record"
)

const maxUpload = 1 << 20

// A desk is a served store, and who uses it.
type desk struct {
	*testing.T
	*httptest.Server
	app     *app.Store
	db      *record.DB
	dir     string // of files
	service *store.Service
	tokens  *store.Tokens
	log     testkit.Buffer
	signer  apksig.Signer
	// Secrets of ada, who uploads; rex, who reviews and releases; and root.
	ada, rex, root string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, dir: t.TempDir(), signer: apptest.Signer(t)}
	cfg := storetest.Config(t, "sqlite:"+filepath.Join(d.dir, "store.db"), filepath.Join(d.dir, "blobs"))
	cfg.Parser = storetest.InProcess{}
	cfg.Log = slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if d.app, err = app.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	d.db = cfg.DB
	if d.tokens, err = store.OpenTokens(t.Context(), d.db); err != nil {
		t.Fatal(err)
	}
	d.ada = d.token("ada", store.Upload)
	d.rex = d.token("rex", store.Review, store.Release, store.Read)
	d.root = d.token("root", store.Admin)
	d.start()
	return d
}

// start serves the store, anew if it was served before.
func (d *desk) start() {
	d.Helper()
	if d.Server != nil {
		d.Server.Close()
	}
	d.service = &store.Service{App: d.app, DB: d.db, Log: slog.New(slog.NewTextHandler(&d.log, nil)), MaxUpload: maxUpload}
	if err := d.service.Open(d.Context()); err != nil {
		d.Fatal(err)
	}
	d.Server = httptest.NewServer(d.service.Handler())
	d.Cleanup(d.Server.Close)
}

func (d *desk) token(who string, scopes ...store.Scope) string {
	d.Helper()
	_, secret, err := d.tokens.Create(d.Context(), "test", store.TokenSpec{Who: who, Scopes: scopes, TTL: time.Hour})
	if err != nil {
		d.Fatal(err)
	}
	return secret
}

// An answer is what came back.
type answer struct {
	*http.Response
	body []byte
}

// detail is what a problem says.
func (a *answer) detail() string {
	var p store.Problem
	if a.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil || p.Status != a.StatusCode || p.Title == "" {
		return fmt.Sprintf("no problem, but %q: %s", a.Header.Get("Content-Type"), a.body)
	}
	return p.Detail
}

// do makes a request with pairs of header names and values.
func (d *desk) do(method, path, secret string, body io.Reader, header ...string) *answer {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), method, d.URL+path, body)
	if err != nil {
		d.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.Fatal(err)
	}
	return &answer{res, b}
}

// call makes a request of JSON and reads the answer into out, if it is not nil,
// which must have a status.
func (d *desk) call(method, path, secret, body string, status int, out any, header ...string) *answer {
	d.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
		header = append([]string{"Content-Type", "application/json"}, header...)
	}
	a := d.do(method, path, secret, r, header...)
	if a.StatusCode != status {
		d.Fatalf("%s %s %s: %s: %s; want %d", method, path, body, a.Status, a.body, status)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			d.Fatal(err)
		}
	}
	return a
}

// upload uploads a file at once and returns its address.
func (d *desk) upload(secret, name string, b []byte) string {
	d.Helper()
	a := d.do("POST", "/api/v1/uploads", secret, bytes.NewReader(b), "Tus-Resumable", "1.0.0", "Upload-Length", fmt.Sprint(len(b)),
		"Content-Type", "application/offset+octet-stream", "Upload-Metadata", "filename "+base64Of(name))
	if a.StatusCode != http.StatusCreated || a.Header.Get("Upload-Offset") != fmt.Sprint(len(b)) {
		d.Fatalf("upload %s: %s: %s", name, a.Status, a.body)
	}
	return a.Header.Get("Location")
}

// version is a version of the clock.
func (d *desk) version(n int) []byte {
	d.Helper()
	return apptest.APK{VersionCode: n, Signers: []apksig.Signer{d.signer}}.Build(d)
}

// submit hands in a version of the clock as ada and returns its number.
func (d *desk) submit(n int) string {
	d.Helper()
	var sub app.Submission
	d.call("POST", "/api/v1/submissions", d.ada, `{"uploads":["`+d.upload(d.ada, "clock.apk", d.version(n))+`"]}`, 201, &sub)
	return sub.ID
}

// left counts what is kept: rows of files and answers, submissions, and files on
// disk.
func (d *desk) left() map[string]int64 {
	d.Helper()
	m := map[string]int64{}
	err := d.db.View(d.Context(), func(tx *record.Tx) error {
		for _, table := range []string{"api_files", "store_submissions", "store_blobs", "store_events"} {
			var n int64
			if err := tx.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
				return err
			}
			m[table] = n
		}
		return nil
	})
	if err != nil {
		d.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(d.dir, "blobs"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			m["files"]++
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		d.Fatal(err)
	}
	return m
}
