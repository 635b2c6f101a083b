package worker

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/format/apk"
	"mios/publish/app/apptest"
	"mios/publish/app/check"
)

// zeros are so many MiB of them, deflated, and their CRC-32. They are written
// as often as need be: each MiB ends where a byte does.
func zeros(t *testing.T, mib int) (packed []byte, crc uint32) {
	t.Helper()
	var one bytes.Buffer
	w, err := flate.NewWriter(&one, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	if _, err := w.Write(block); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	h := crc32.NewIEEE()
	for range mib {
		h.Write(block)
	}
	return append(bytes.Repeat(one.Bytes(), mib), 1, 0, 0, 0xff, 0xff), h.Sum32()
}

// TestBombs hands packages to workers that are small, and large when they are
// unpacked: each ends soon, within its memory, and is refused.
func TestBombs(t *testing.T) {
	plain, err := zip.NewReader(bytes.NewReader(apptest.APK{MinSDK: 21}.Build(t)), int64(len(apptest.APK{MinSDK: 21}.Build(t))))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := plain.Open(apk.ManifestName)
	if err != nil {
		t.Fatal(err)
	}
	good, err := io.ReadAll(manifest)
	if err != nil {
		t.Fatal(err)
	}
	const mib = 700
	packed, crc := zeros(t, mib)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range left {
			t.Errorf("%s is left behind", e.Name())
		}
	})
	for _, name := range []string{apk.ManifestName, apk.ResourcesName, "classes.dex", "res/a.xml", "lib/x86_64/liba.so", "META-INF/MANIFEST.MF"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			w := zip.NewWriter(&b)
			if name != apk.ManifestName {
				f, err := w.Create(apk.ManifestName)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Write(good); err != nil {
					t.Fatal(err)
				}
			}
			f, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: crc, CompressedSize64: uint64(len(packed)), UncompressedSize64: mib << 20})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(packed); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			worker := Worker{Memory: 512 << 20, Timeout: time.Minute}
			facts, err := worker.Inspect(t.Context(), []File{{bytes.NewReader(b.Bytes()), "bomb.apk", int64(b.Len())}})
			switch {
			case err != nil && !errors.Is(err, mios.ErrInvalid):
				t.Errorf("error %v, want one of the package", err)
			case err != nil:
				t.Log(err)
			case check.Worst(check.Judge(facts, nil, check.DefaultPolicy())) != check.Refuse:
				t.Errorf("%d bytes that are %d MiB are not refused", b.Len(), mib)
			}
			if err != nil && !strings.Contains(err.Error(), "bomb.apk: ") && !strings.Contains(err.Error(), "of memory") {
				t.Errorf("error %v does not say what is wrong", err)
			}
		})
	}
}
