package apex

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
	"mios/format/avb"
	"mios/internal/protowire"
	"mios/internal/testkit"
)

const name = "com.example.thing"

func TestOpen(t *testing.T) {
	for _, kind := range []string{"ext4", "erofs"} {
		b := made(t, kind)
		f := parse(t, b)
		want := &Manifest{Name: name, Version: 30, RequireNativeLibs: []string{"libc.so", "libm.so"}, Bootstrap: true}
		if !reflect.DeepEqual(f.Manifest, want) {
			t.Errorf("manifest %+v", f.Manifest)
		}
		if f.BuildInfo.Command != "apexer --force" || string(f.BuildInfo.CannedFSConfig) != "/ 0 2000 0755\n" || f.BuildInfo.PayloadFSType != "ext4" {
			t.Errorf("build info %+v", f.BuildInfo)
		}
		p := payload(t, b)
		if p.Offset%PayloadAlign != 0 || p.KeyName != name {
			t.Errorf("payload at %#x, of key %q", p.Offset, p.KeyName)
		}
		if err := p.Verify(); err != nil {
			t.Errorf("%s: Verify: %v", kind, err)
		}
		files, err := p.FS()
		if err != nil {
			t.Fatal(err)
		}
		if files.Type != kind {
			t.Errorf("type %s, want %s", files.Type, kind)
		}
		apps, err := files.Apps()
		if err != nil || len(apps) != 2 || apps[0].Path != "app/Foo/Foo.apk" || apps[0].Size != 17 || apps[1].Path != "priv-app/Bar/Bar.apk" {
			t.Errorf("apps %v, %v", apps, err)
		}
		if b, err := fs.ReadFile(files, "bin/foo"); err != nil || len(b) != 9000 {
			t.Errorf("bin/foo has %d bytes, %v", len(b), err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	key, other := testkit.RSA(0), testkit.RSA(1)
	good := sign(t, fileSystem(t, "ext4", manifest()), key)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	foot, err := avb.ParseFooter(good[len(good)-64:])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"another key", pack(t, good, publicKey(t, other)), "another key than apex_pubkey"},
		{"a block changed", pack(t, flip(900<<10), publicKey(t, key)), "hash tree"},
		{"the signature changed", pack(t, flip(int(foot.VBMetaOffset)+256+40), publicKey(t, key)), "does not verify: SIGNATURE_MISMATCH"},
		{"another manifest inside", pack(t, sign(t, fileSystem(t, "ext4", protowire.AppendBytes(manifest(), 5, "2")), key), publicKey(t, key)), "is not the one beside it"},
	} {
		err := payload(t, tt.in).Verify()
		var bad *VerifyError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	entries := func(names ...string) []byte {
		var buf bytes.Buffer
		w := newWriter(&buf)
		for _, n := range names {
			h := zip.FileHeader{Name: n}
			put := w.deflate
			if n == "+"+PayloadName {
				h.Name, put = PayloadName, w.deflate
			} else if n == PayloadName {
				put = w.store
			}
			b := manifest()
			if n == "-" {
				h.Name, b = ManifestName, []byte{0x0a}
			}
			if err := put(h, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
		}
		w.close()
		return buf.Bytes()
	}
	unaligned := entries(ManifestName, PayloadName)
	unaligned = append([]byte("ab"), unaligned...)
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, "apk: "},
		{"no manifest", entries(PayloadName), "not an APEX"},
		{"no payload", entries(ManifestName), "neither apex_payload.img nor original_apex"},
		{"both", entries(ManifestName, PayloadName, OriginalName), "both"},
		{"compressed payload", entries(ManifestName, "+"+PayloadName), "compressed"},
		{"a manifest that ends early", entries("-", PayloadName), ManifestName + ": offset 0x0"},
		{"shifted", unaligned, "apk: "},
	} {
		_, err := Open(bytes.NewReader(tt.in), int64(len(tt.in)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestUnaligned refuses a payload that no loop device takes.
func TestUnaligned(t *testing.T) {
	var buf bytes.Buffer
	w := apk.NewWriter(&buf) // which aligns to 4
	for _, e := range []string{ManifestName, PayloadName} {
		if err := w.Add(e, apk.Store, bytes.NewReader(manifest())); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err == nil || !strings.Contains(err.Error(), "not a multiple of 4096") {
		t.Errorf("Open: %v", err)
	}
}

// TestRepack gives an APEX another key and signs the container, which keeps the
// payload's alignment: for our own reader, and zipalign's.
func TestRepack(t *testing.T) {
	old := made(t, "ext4")
	f, key := parse(t, old), testkit.RSA(1)
	image := filepath.Join(t.TempDir(), "payload.img")
	p := payload(t, old)
	b := make([]byte, p.Footer.OriginalImageSize)
	if _, err := p.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, b, 0o644); err != nil {
		t.Fatal(err)
	}
	img := sign(t, image, key)
	repack := func() []byte {
		var buf bytes.Buffer
		if err := Repack(&buf, f, Contents{bytes.NewReader(img), int64(len(img)), publicKey(t, key)}); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	again := repack()
	if !bytes.Equal(again, repack()) {
		t.Error("two repacked APEXes differ")
	}
	cert := newCert(t, testkit.RSA(2))
	var signed bytes.Buffer
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: testkit.RSA(2), Certificate: cert}}, V2: true, V3: true, PadFile: true}
	if err := apksig.Sign(context.Background(), bytes.NewReader(again), int64(len(again)), o, &signed); err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"repacked": again, "signed": signed.Bytes()} {
		compareRepacked(t, what, f, b, key)
	}
	file := filepath.Join(t.TempDir(), "a.apex")
	if err := os.WriteFile(file, signed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "unzip", "-tqq", file)
	if out := run(t, "zipalign", "-c", "-v", "4096", file); !strings.Contains(out, PayloadName+" (OK)") {
		t.Errorf("zipalign -c 4096:\n%s", out)
	}
	if signed.Len()%4096 != 0 {
		t.Errorf("the signed APEX has %d bytes", signed.Len())
	}
}

// compareRepacked wants of the APEX b what f has, but for the key.
func compareRepacked(t *testing.T, what string, f *File, b []byte, key *rsa.PrivateKey) {
	t.Helper()
	g := parse(t, b)
	if len(g.Entries) != len(f.Entries) {
		t.Errorf("%s: %d entries, want %d", what, len(g.Entries), len(f.Entries))
	}
	for i := range g.Entries {
		if g.Entries[i].Name != f.Entries[i].Name {
			t.Errorf("%s: entry %d is %s, want %s", what, i, g.Entries[i].Name, f.Entries[i].Name)
		}
	}
	if err := payload(t, b).Verify(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if !bytes.Equal(g.PublicKey, publicKey(t, key)) {
		t.Errorf("%s: another key", what)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if d := z.File[2].Modified; d.Year() != 1980 || z.File[2].Mode() != 0o644 {
		t.Errorf("%s: %s of %v, mode %v", what, z.File[2].Name, d, z.File[2].Mode())
	}
}

func newCert(tb testing.TB, key *rsa.PrivateKey) []byte {
	tb.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// TestCompress compresses an APEX and takes it out again.
func TestCompress(t *testing.T) {
	in := made(t, "erofs")
	f := parse(t, in)
	var buf bytes.Buffer
	if err := Compress(&buf, f); err != nil {
		t.Fatal(err)
	}
	c := parse(t, buf.Bytes())
	if !c.Compressed || c.OriginalSize() != int64(len(in)) || c.Manifest.Name != name || !c.Manifest.Bootstrap {
		t.Errorf("compressed %v, of %d bytes, manifest %+v", c.Compressed, c.OriginalSize(), c.Manifest)
	}
	if want := payload(t, in).Tree.RootDigest; c.Manifest.OriginalDigest != hexString(want) {
		t.Errorf("digest %s, want %x", c.Manifest.OriginalDigest, want)
	}
	if !bytes.Equal(c.PublicKey, f.PublicKey) {
		t.Error("another key")
	}
	if _, err := c.Payload(); !errors.Is(err, ErrCompressed) {
		t.Errorf("Payload: %v", err)
	}
	r, err := c.Original()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(out, in) {
		t.Errorf("Original: %d bytes, %v; want what went in", len(out), err)
	}
	if _, err := f.Original(); err == nil {
		t.Error("Original of what is not compressed: no error")
	}
	if err := Compress(io.Discard, c); !errors.Is(err, ErrCompressed) {
		t.Errorf("Compress of a compressed one: %v", err)
	}
}

func hexString(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestManifest(t *testing.T) {
	text := func(n protowire.Number, s string) []byte { return protowire.AppendBytes(nil, n, s) }
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"no name", protowire.AppendUint(nil, 2, 1), "no name"},
		{"no version", text(1, name), "no version"},
		{"a number for a name", protowire.AppendUint(nil, 1, 1), "field 1 is not a text"},
		{"a text for a version", append(text(1, name), text(2, "1")...), "offset 0x13: field 2 is not a number"},
		{"a name that is no text", text(1, "\xff"), "not a text"},
		{"a digest that is no text", append(text(1, name), protowire.AppendBytes(nil, fieldCapex, protowire.AppendUint(nil, 1, 1))...), "offset 0x15: field 1 is not a text"},
		{"cut off", text(1, name)[:5], "offset 0x0"},
	} {
		_, err := ParseManifest(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	b, err := withDigest(manifest(), "ab")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ParseManifest(b); err != nil || m.OriginalDigest != "ab" || !m.Bootstrap {
		t.Errorf("withDigest: %+v, %v", m, err)
	}
	if c, err := withDigest(b, "cd"); err != nil || len(c) != len(b) {
		t.Errorf("withDigest again: %d bytes, want %d; %v", len(c), len(b), err)
	}
}

func FuzzOpen(f *testing.F) {
	b := made(f, "erofs")
	f.Add(b)
	var buf bytes.Buffer
	if err := Compress(&buf, parse(f, b)); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		p, err := a.Payload()
		if err != nil {
			return
		}
		if err := p.Verify(); err == nil {
			if err := Repack(io.Discard, a, Contents{}); err != nil {
				t.Errorf("an APEX that verifies cannot be repacked: %v", err)
			}
		}
		if files, err := p.FS(); err == nil {
			files.Apps()
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(manifest())
	f.Fuzz(func(t *testing.T, in []byte) {
		ParseBuildInfo(in)
		m, err := ParseManifest(in)
		if err != nil {
			return
		}
		b, err := withDigest(in, "ab")
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseManifest(b)
		if err != nil {
			t.Fatal(err)
		}
		if m.OriginalDigest = "ab"; !reflect.DeepEqual(m, again) {
			t.Errorf("withDigest makes %+v of %+v", again, m)
		}
	})
}
