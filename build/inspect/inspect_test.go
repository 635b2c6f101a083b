package inspect

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/build/sign/signtest"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/internal/tool"
)

// words are all that a report says, for tests to look into.
func words(tb testing.TB, r *Report) string {
	tb.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func write(tb testing.TB, dir, name string, data []byte) string {
	tb.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		tb.Fatal(err)
	}
	return p
}

func look(tb testing.TB, path string, deep bool) *Report {
	tb.Helper()
	r, err := Inspect(context.Background(), path, Options{Deep: deep})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestInspect(t *testing.T) {
	for _, f := range fixtures(t) {
		for _, deep := range []bool{false, true} {
			dir := t.TempDir()
			r := look(t, write(t, dir, f.name, f.data), deep)
			text := words(t, r)
			if r.Kind != f.kind {
				t.Errorf("%s is %s, want %s\n%s", f.name, r.Kind, f.kind, text)
			}
			for _, w := range f.want {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %q is not said\n%s", f.name, w, text)
				}
			}
			if bad := f.kind == unknown || f.kind == "product"; r.OK() == bad {
				t.Errorf("%s: OK = %v\n%s", f.name, r.OK(), text)
			}
		}
	}
}

// TestChanged changes a byte that a signature or a checksum is over.
func TestChanged(t *testing.T) {
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0x40
		return b
	}
	vb, ota := vbmetaImage(t, 0), otaPackage(t)
	apk := signtest.Sign(t, signtest.Package(t, "com.example.app", ""), testkit.RSA(0))
	z := zipOf(t, "a", "some bytes", "b", "2")
	asset := bytes.Index(apk, []byte("assets/"))
	disk := diskImage(t)
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"boot.img", flip(bootImage(t), 5000), "it has been changed since it was signed"},
		{"vbmeta.img", flip(vb, 300), "does not verify"},
		{"ota.zip", flip(ota, len(ota)-200), "signed by none of the trusted certificates"},
		{"a.apk", flip(apk, asset+200), "changed after it was signed"},
		{"plain.zip", flip(z, bytes.Index(z, []byte("a"))+3), "damaged"},
		{"disk.img", flip(disk, len(disk)-512+20), "backup table"},
		{"disk.img", flip(disk, 512+20), "primary table"},
		{"payload.bin", payloadOf(t)[:len(payloadOf(t))-8], "should have"},
		{"super.simg", sparseImage(t)[:100], "sparse:"},
		{"boot.img", bootImage(t)[:3000], "bootimg:"},
		{"root.json", bytes.Replace(rootMetadata(t, testTime), []byte(`"version":3`), []byte(`"version":4`), 1), "signature"},
	} {
		r := look(t, write(t, t.TempDir(), tt.name, tt.in), true)
		if text := words(t, r); r.OK() || !strings.Contains(text, tt.want) {
			t.Errorf("%s: OK = %v, want %q said\n%s", tt.name, r.OK(), tt.want, text)
		}
	}
}

func TestFlags(t *testing.T) {
	r := look(t, write(t, t.TempDir(), "vbmeta.img", vbmetaImage(t, 3)), false)
	if text := words(t, r); !strings.Contains(text, "verification is disabled") || !strings.Contains(text, "hash trees are disabled") || r.Count(Warning) != 2 {
		t.Errorf("two flags: %s", text)
	}
}

// TestNearest says of files that nobody knows what they come nearest to.
func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		want string
	}{
		{"x", "ANDROIX!" + strings.Repeat("x", 100), `nearest to boot (boot image): at offset 0x0 there is "ANDROIX!", want "ANDROID!"`},
		{"x", "xxxx" + "VNDRBOOT" + strings.Repeat("x", 100), "which begins at offset 0x4"},
		{"dtbo_b.img", strings.Repeat("x", 100), `by its name it would be dtbo`},
		{"super.img", "x", "it is too short: 1 bytes"},
		{"x", "words", `it begins with \"words\"`},
	} {
		r := look(t, write(t, t.TempDir(), tt.name, []byte(tt.in)), false)
		if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Advice, strings.ReplaceAll(tt.want, `\"`, `"`)) {
			t.Errorf("%s %.12q: %+v, want %q", tt.name, tt.in, r.Problems, tt.want)
		}
	}
}

// TestBudget leaves out what takes long, and says so.
func TestBudget(t *testing.T) {
	for _, f := range fixtures(t) {
		s := &scan{ctx: t.Context()}
		r := s.inspect(&input{ReaderAt: bytes.NewReader(f.data), name: f.name, size: int64(len(f.data))})
		switch f.kind {
		case "boot", "ota", "apk", "payload", "zip":
		default:
			continue
		}
		if text := words(t, r); !strings.Contains(text, "--deep does it") {
			t.Errorf("%s: nothing was hashed, and that is not said\n%s", f.name, text)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Inspect(ctx, write(t, t.TempDir(), "boot.img", bootImage(t)), Options{}); !isCancelled(err) {
		t.Errorf("Inspect = %v", err)
	}
}

func TestInspectRefuses(t *testing.T) {
	if _, err := Inspect(context.Background(), filepath.Join(t.TempDir(), "none"), Options{}); !os.IsNotExist(err) {
		t.Errorf("of no file: %v", err)
	}
	if _, err := Inspect(context.Background(), "/dev/null", Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("of /dev/null: %v", err)
	}
}

func TestFolders(t *testing.T) {
	all := make(map[string][]byte)
	for _, f := range fixtures(t) {
		all[f.name] = f.data
	}
	for _, tt := range []struct {
		name  string
		files []string
		kind  string
		want  string
	}{
		{"keys", []string{"cert.pem", "key.pk8", "avb_pkmd.bin"}, "keys", "rsa2048"},
		{"images", []string{"boot.img", "vbmeta.img"}, "images", "boot image"},
		{"apps", []string{"a.apk", "b.apk"}, "packages", "com.example.app"},
		{"mixed", []string{"a.apk", "notes.txt"}, "folder", `"title":"text"`},
		{"nothing", nil, "folder", "empty"},
	} {
		dir := t.TempDir()
		for _, f := range tt.files {
			write(t, dir, f, all[f])
		}
		r := look(t, dir, false)
		if text := words(t, r); r.Kind != tt.kind || !strings.Contains(text, tt.want) || len(r.Contents) != len(tt.files) || !r.OK() {
			t.Errorf("%s is %s with %d files, OK %v: %s", tt.name, r.Kind, len(r.Contents), r.OK(), text)
		}
	}
	dir := t.TempDir()
	write(t, dir, "build.json", []byte(`{"product":"x","arch":"amd64","version":"1","partitions":[{"name":"boot","file":"boot.img","size":3,"partition_size":4096,"sha256":"`+strings.Repeat("00", 32)+`"}]}`))
	write(t, dir, "boot.img", []byte("abc"))
	if r := look(t, dir, false); r.Kind != "build" || r.OK() || !strings.Contains(words(t, r), "build.json says 0000") {
		t.Errorf("a build that changed: %s", words(t, r))
	}
}

// TestChain looks at a vbmeta image beside what it vouches for.
func TestChain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "vbmeta.img", vbmetaOf(t, "dtbo", []byte("a device tree overlay")))
	write(t, dir, "dtbo.img", []byte("a device tree overlay"))
	if r := look(t, filepath.Join(dir, "vbmeta.img"), false); !r.OK() || !strings.Contains(words(t, r), "dtbo: hash over 21 B") {
		t.Errorf("vbmeta beside dtbo: %s", words(t, r))
	}
	write(t, dir, "dtbo.img", []byte("another tree overlay!"))
	if r := look(t, filepath.Join(dir, "vbmeta.img"), false); r.OK() || !strings.Contains(words(t, r), "changed since it was signed") {
		t.Errorf("vbmeta beside another dtbo: %s", words(t, r))
	}
}

// TestChunks verifies a pack of chunks by the index beside it.
func TestChunks(t *testing.T) {
	index, pack := chunksOf(t)
	dir := t.TempDir()
	write(t, dir, "chunks.index", index)
	name := write(t, dir, "chunks.pack", pack)
	if r := look(t, name, false); !r.OK() || !strings.Contains(words(t, r), "every chunk, by chunks.index") {
		t.Errorf("beside its index: %s", words(t, r))
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0x40
		return b
	}
	write(t, dir, "chunks.pack", flip(pack, 0))
	if r := look(t, name, false); r.OK() || !strings.Contains(words(t, r), "pack: offset ") {
		t.Errorf("with a changed byte: %s", words(t, r))
	}
	write(t, dir, "chunks.pack", pack[:len(pack)-1])
	if r := look(t, name, false); r.OK() || !strings.Contains(words(t, r), "it should have ") {
		t.Errorf("cut off: %s", words(t, r))
	}
	write(t, dir, "chunks.index", flip(index, len(index)-3))
	if r := look(t, filepath.Join(dir, "chunks.index"), false); r.OK() || !strings.Contains(words(t, r), "part 0 of partition system") {
		t.Errorf("a changed index: %s", words(t, r))
	}
}

// TestIDSig verifies a v4 signature with the package beside it, if there is one.
func TestIDSig(t *testing.T) {
	plain := signtest.Package(t, "com.example.app", "")
	cert := newCert(t, 0, "tester")
	var sig, apk bytes.Buffer
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: testkit.RSA(0), Certificate: cert.Raw}}, V2: true, V3: true, IDSig: &sig}
	if err := apksig.Sign(t.Context(), bytes.NewReader(plain), int64(len(plain)), o, &apk); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := write(t, dir, "a.apk.idsig", sig.Bytes())
	if r := look(t, name, false); r.Kind != "idsig" || !r.OK() || !strings.Contains(words(t, r), "which is not beside it") {
		t.Errorf("alone: %s", words(t, r))
	}
	write(t, dir, "a.apk", apk.Bytes())
	if r := look(t, name, false); !r.OK() || len(r.Signatures) != 1 || r.Signatures[0].State != verified {
		t.Errorf("beside its package: %s", words(t, r))
	}
	write(t, dir, "a.apk", signtest.Sign(t, plain, testkit.RSA(1)))
	if r := look(t, name, false); r.OK() || r.Signatures[0].State != wrong {
		t.Errorf("beside another package: %s", words(t, r))
	}
}

// TestOpenSSL looks at what openssl encrypts.
func TestOpenSSL(t *testing.T) {
	openssl, err := tool.Look("openssl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := write(t, dir, "k.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(testkit.RSA(0)))}))
	crt := write(t, dir, "c.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newCert(t, 0, "a").Raw}))
	for _, tt := range []struct {
		name, kind string
		args       []string
	}{
		{"e.pem", "private_key", []string{"pkcs8", "-topk8", "-in", key, "-passout", "pass:x"}},
		{"e.pk8", "private_key", []string{"pkcs8", "-topk8", "-in", key, "-passout", "pass:x", "-outform", "DER"}},
		{"s.p12", "p12", []string{"pkcs12", "-export", "-inkey", key, "-in", crt, "-passout", "pass:x"}},
		{"s.p7b", "pkcs7", []string{"crl2pkcs7", "-nocrl", "-certfile", crt, "-outform", "DER"}},
	} {
		out := filepath.Join(dir, tt.name)
		if b, err := exec.Command(openssl, append(tt.args, "-out", out)...).CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v\n%s", err, b)
		}
		if r := look(t, out, false); r.Kind != tt.kind || !r.OK() {
			t.Errorf("%s: %s", tt.name, words(t, r))
		}
	}
}

// TestTargetFiles looks into what a build of AOSP hands out: the folder, and the
// zip of it.
func TestTargetFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("makes file systems")
	}
	target := signtest.New(t, signtest.Options{})
	for _, path := range []string{target.Dir, target.Zip(t)} {
		r := look(t, path, true)
		text := words(t, r)
		for _, w := range []string{
			signtest.Fingerprint, "IMAGES/system.img", "IMAGES/super", "IMAGES/vbmeta.img", "META/apkcerts.txt", "com.android.hello",
			"miOS test key platform", "updates by", "A/B: ", "erofs file system", "ext4 file system",
		} {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is not said\n%s", filepath.Base(path), w, text)
			}
		}
		if r.Kind != "target_files" || !r.OK() {
			for _, p := range problemsOf(r) {
				t.Logf("%+v", p)
			}
			t.Errorf("%s is %s, OK %v", path, r.Kind, r.OK())
		}
	}
}

// TestChangedEntry changes a byte of a file that nothing else vouches for.
func TestChangedEntry(t *testing.T) {
	const text = "a kernel, or as good as one"
	path := filepath.Join(t.TempDir(), "tf.zip")
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, data := range map[string]string{"META/misc_info.txt": "ab_update=true\n", "BOOT/kernel": text} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b.Bytes(), []byte(text), []byte(strings.ToUpper(text)), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := look(t, path, false); !strings.Contains(words(t, r), "the zip's checksums") {
		t.Errorf("without --deep it is not said that checksums were not verified:\n%s", words(t, r))
	}
	if r := look(t, path, true); r.OK() || !strings.Contains(words(t, r), "BOOT/kernel: ") {
		t.Errorf("a changed file is not found:\n%s", words(t, r))
	}
}

func problemsOf(r *Report) []Problem {
	out := r.Problems
	for _, c := range r.Contents {
		out = append(out, problemsOf(c)...)
	}
	return out
}

// FuzzInspect changes headers: whatever comes out, it ends, and in a report.
func FuzzInspect(f *testing.F) {
	for _, x := range fixtures(f) {
		if len(x.data) > 1<<20 {
			continue // the head of a disk is one of GPT as well
		}
		f.Add(x.data, uint16(0), byte(0))
	}
	f.Add(diskImage(f)[:40<<10], uint16(520), byte(1))
	f.Add(superImage(f)[:64<<10], uint16(4100), byte(1))
	f.Fuzz(func(t *testing.T, in []byte, at uint16, x byte) {
		if len(in) > 0 {
			in = bytes.Clone(in)
			in[int(at)%len(in)] ^= x
		}
		s := &scan{ctx: t.Context(), left: 1 << 20}
		r := s.inspect(&input{ReaderAt: bytes.NewReader(in), name: "in", size: int64(len(in))})
		if r.Kind == "" || r.Title == "" {
			t.Errorf("a report without a kind: %+v", r)
		}
		if !json.Valid([]byte(words(t, r))) {
			t.Error("not JSON")
		}
	})
}

// TestEntryBeyond has an entry that says to be longer than any file.
func TestEntryBeyond(t *testing.T) {
	for _, size := range []uint64{100 << 10, 1<<63 - 1, 1<<64 - 1} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		e, err := w.CreateRaw(&zip.FileHeader{Name: "x", Method: zip.Store, CompressedSize64: size, UncompressedSize64: size})
		if err == nil {
			_, err = e.Write([]byte("x"))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		in := &input{ReaderAt: bytes.NewReader(b.Bytes()), size: int64(b.Len())}
		if p, err := new(scan).entry(in, z.File[0]); err == nil {
			t.Errorf("an entry of %d bytes in a zip of %d: taken as %d", size, in.size, p.size)
		}
	}
}
