package apex

import (
	"archive/zip"
	"bytes"
	"crypto/rsa"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mios/format/apk"
	"mios/format/avb"
	"mios/internal/protowire"
	"mios/internal/testkit"
	"mios/internal/tool"
)

// manifest is an apex_manifest.pb with a field that this package does not know.
func manifest() []byte {
	b := protowire.AppendBytes(nil, 1, name)
	b = protowire.AppendUint(b, 2, 30)
	b = protowire.AppendBytes(b, 8, "libc.so")
	b = protowire.AppendBytes(b, 8, "libm.so")
	b = protowire.AppendUint(b, 16, 1)
	return protowire.AppendBytes(b, 99, "unknown")
}

func publicKey(tb testing.TB, key *rsa.PrivateKey) []byte {
	tb.Helper()
	b, err := avb.EncodePublicKey(&key.PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// fileSystem makes an image of that type with the files of a payload.
func fileSystem(tb testing.TB, kind string, inner []byte) string {
	tb.Helper()
	dir, image := tb.TempDir(), filepath.Join(tb.TempDir(), "fs.img")
	for p, b := range map[string][]byte{
		ManifestName: inner, "app/Foo/Foo.apk": []byte("not really an app"), "priv-app/Bar/Bar.apk": []byte("nor this"), "bin/foo": bytes.Repeat([]byte("foo"), 3000),
	} {
		full := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(full, b, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	args := []string{"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-m", "0", "-d", dir, image, "1M"}
	if kind == "erofs" {
		args = []string{"mkfs.erofs", "--quiet", image, dir}
	}
	run(tb, args...)
	return image
}

func run(tb testing.TB, args ...string) string {
	tb.Helper()
	p, err := tool.Look(args[0])
	if err != nil {
		tb.Fatal(err)
	}
	out, err := exec.Command(p, args[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// sign puts tree, vbmeta and footer behind an image and returns all of it.
func sign(tb testing.TB, image string, key *rsa.PrivateKey) []byte {
	tb.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	meta := &avb.VBMeta{Algorithm: avb.SHA256RSA2048, Descriptors: []avb.Descriptor{&avb.PropertyDescriptor{Key: KeyProperty, Value: []byte(name)}}}
	if _, err := avb.AddHashtreeFooter(f, fi.Size(), avb.FooterOptions{Salt: []byte{1, 2}, VBMeta: meta, Key: key}); err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// pack makes an APEX as apexer does: AndroidManifest.xml first, then the rest.
func pack(tb testing.TB, payload, pubkey []byte) []byte {
	tb.Helper()
	root, err := apk.ParseText([]byte(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="` + name + `" android:versionCode="30">
<uses-sdk android:minSdkVersion="30"/><application android:hasCode="false"/></manifest>`))
	if err != nil {
		tb.Fatal(err)
	}
	info := protowire.AppendBytes(nil, 1, "apexer --force")
	info = protowire.AppendBytes(info, 3, "/ 0 2000 0755\n")
	info = protowire.AppendBytes(info, 10, "ext4")
	var buf bytes.Buffer
	w := newWriter(&buf)
	add := func(name string, b []byte, put func(zip.FileHeader, io.ReadSeeker) error) {
		//lint:ignore SA1019 1980-01-01, as apexer has it
		h := zip.FileHeader{Name: name, ModifiedDate: 1<<5 | 1}
		h.SetMode(0o644)
		if err := put(h, bytes.NewReader(b)); err != nil {
			tb.Fatal(err)
		}
	}
	add(apk.ManifestName, apk.AppendXML(nil, root), w.deflate)
	add(ManifestName, manifest(), w.deflate)
	add(PayloadName, payload, w.store)
	add(PublicKeyName, pubkey, w.deflate)
	add(BuildInfoName, info, w.deflate)
	if err := w.close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func parse(tb testing.TB, b []byte) *File {
	tb.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func payload(tb testing.TB, b []byte) *Payload {
	tb.Helper()
	p, err := parse(tb, b).Payload()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// made is an APEX signed with the test's first key.
func made(tb testing.TB, kind string) []byte {
	tb.Helper()
	key := testkit.RSA(0)
	return pack(tb, sign(tb, fileSystem(tb, kind, manifest()), key), publicKey(tb, key))
}
