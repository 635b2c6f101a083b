package app_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/conformance"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/worker"
)

// hostile hands something in that a worker of its own parses, as a store does,
// and reports whether it was refused for what it is, with nothing left behind.
func (d *desk) hostile(name string, b []byte, before map[string]int) bool {
	d.Helper()
	_, err := d.Submit(d.Context(), "eve", upload(b))
	ok := errors.Is(err, mios.ErrInvalid) || errors.Is(err, mios.ErrDenied)
	if !ok {
		d.Errorf("%s: Submit = %v, want a refusal", name, err)
	} else if len(err.Error()) < 20 || strings.ContainsAny(err.Error(), "\x00\x1b") {
		d.Errorf("%s: refused without a clear message: %q", name, err)
	}
	if after := d.rows(); !maps.Equal(before, after) {
		d.Errorf("%s: something is left behind: %v, before %v", name, after, before)
		ok = false
	}
	return ok
}

// inWorker has a worker parse what comes, as stores do: on one backend, for a
// process each takes its time.
func (d *desk) inWorker() {
	d.Helper()
	if strings.HasSuffix(d.Name(), "sqlite") {
		d.cfg.Parser = new(worker.Worker)
	}
	d.open()
}

// TestHostileAPKs hands in what AOSP's own tools refuse.
func TestHostileAPKs(t *testing.T) {
	dir := conformance.Dir(t, "apksig")
	each(t, func(d *desk) {
		d.inWorker()
		tally, before, seen := conformance.New(d, "store: packages that do not verify are refused"), d.rows(), map[string]bool{}
		expect, err := os.ReadFile(filepath.Join(dir, "expect.tsv"))
		if err != nil {
			d.Fatal(err)
		}
		for line := range strings.Lines(string(expect)) {
			f := strings.Split(line, "\t")
			if len(f) < 5 || f[1]+f[2] != "" || f[3] != "verify" || f[4] != "not_verified" && f[4] != "exception" || seen[f[0]] {
				continue // for some platforms only
			}
			seen[f[0]] = true
			b, err := os.ReadFile(filepath.Join(dir, "apks", f[0]))
			if err != nil {
				d.Fatal(err)
			}
			tally.Case(d.hostile(f[0], b, before))
		}
		if len(seen) < 30 {
			d.Errorf("%d packages only", len(seen))
		}
	})
}

// TestHostileZIPs hands in ZIP files that are no packages.
func TestHostileZIPs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(conformance.Dir(t, "zip"), "*.[za][ip][pk]"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	each(t, func(d *desk) {
		d.inWorker()
		tally, before := conformance.New(d, "store: hostile ZIP files are refused"), d.rows()
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				d.Fatal(err)
			}
			tally.Case(d.hostile(filepath.Base(file), b, before))
		}
	})
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error)            { clear(b); return len(b), nil }
func (zeros) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

// bomb is a signed package of which an entry unpacks to many zeros.
func bomb(d testing.TB, entry string, size int64) []byte {
	d.Helper()
	var plain, signed bytes.Buffer
	w := apk.NewWriter(&plain)
	if entry != apk.ManifestName {
		root, err := apk.ParseText([]byte(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.example.bomb"
			android:versionCode="1" android:versionName="1"><uses-sdk android:minSdkVersion="28" android:targetSdkVersion="35"/><application android:label="@0x7f010000"/></manifest>`))
		if err != nil {
			d.Fatal(err)
		}
		if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
			d.Fatal(err)
		}
	}
	if err := w.Add(entry, apk.Deflate, io.NewSectionReader(zeros{}, 0, size)); err != nil {
		d.Fatal(err)
	}
	if err := w.Close(); err != nil {
		d.Fatal(err)
	}
	o := apksig.SignOptions{Signers: []apksig.Signer{apptest.Signer(d)}, V2: true, MinSDK: 28}
	if err := apksig.Sign(d.Context(), bytes.NewReader(plain.Bytes()), int64(plain.Len()), o, &signed); err != nil {
		return plain.Bytes() // what it cannot read, it does not sign
	}
	return signed.Bytes()
}

// TestBombs hands in small files that unpack to large ones, and an upload that
// does not end.
func TestBombs(t *testing.T) {
	bombs := map[string][]byte{}
	for _, entry := range []string{apk.ManifestName, "resources.arsc", "classes.dex"} {
		if bombs[entry] = bomb(t, entry, 48<<20); len(bombs[entry]) > 1<<19 {
			t.Fatalf("%s: the bomb has %d bytes", entry, len(bombs[entry]))
		}
	}
	each(t, func(d *desk) {
		d.cfg.Policy.MaxUpload = 4 << 20
		d.inWorker()
		before := d.rows()
		for entry, b := range bombs {
			d.hostile("a bomb in "+entry, b, before)
		}
		endless := app.Upload{Files: []app.UploadFile{{Name: "a.apk", Content: zeros{}}}}
		d.refuses("an upload without an end", "eve", endless, mios.ErrInvalid, "more than the 4194304 bytes that this store takes")
		two := upload(apptest.APK{Signers: []apksig.Signer{d.ada}}.Build(d))
		two.Files = append(two.Files, app.UploadFile{Name: "b.apk", Content: io.LimitReader(zeros{}, 4<<20)})
		d.refuses("two files that are too much together", "eve", two, mios.ErrInvalid, "more than the")
	})
}
