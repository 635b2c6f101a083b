package otazip

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/internal/testkit"
	"mios/internal/tool"
)

// certificate returns a certificate of a key by itself.
func certificate(t testing.TB, k crypto.Signer) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "ota"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fakePayload is as long as a payload's metadata says, and then some.
func fakePayload() []byte {
	b := append([]byte("CrAU"), make([]byte, 20)...)
	binary.BigEndian.PutUint64(b[4:], 2)
	binary.BigEndian.PutUint64(b[12:], 500)
	binary.BigEndian.PutUint32(b[20:], 267)
	return append(b, bytes.Repeat([]byte("data"), 3000)...)
}

func writer(t testing.TB, k crypto.Signer) *Writer {
	b := fakePayload()
	w := &Writer{
		Metadata: Metadata{Type: AB,
			Precondition: DeviceState{Device: []string{"iot"}, Build: []string{"a/b/c:1", "d"}, Incremental: "1"},
			Postcondition: DeviceState{Device: []string{"iot"}, Build: []string{"a/b/c:2"}, Incremental: "2", Timestamp: 1700000000,
				SDKLevel: "36", SecurityPatch: "2026-11-05", Partitions: []PartitionState{{Name: "system", Device: []string{"iot"}, Version: "1700000000"}}}},
		Payload: bytes.NewReader(b), Size: int64(len(b)), Properties: "FILE_SIZE=1\n",
		CareMap: &CareMap{Partitions: []CarePartition{{Name: "system", Ranges: "2,0,10", ID: "ro.x", Fingerprint: "f"}}},
		Apexes:  &ApexInfo{Apexes: []Apex{{Package: "com.android.art", Version: 3, Compressed: true, DecompressedSize: 4096}}},
	}
	if k != nil {
		w.Certificate, w.Key = certificate(t, k), k
	}
	return w
}

func packed(t testing.TB, w *Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	w := writer(t, testkit.RSA(0))
	b := packed(t, w)
	p, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckPropertyFiles(); err != nil {
		t.Error(err)
	}
	if p.PayloadOffset%PayloadAlign != 0 {
		t.Errorf("payload at %d, want a multiple of %d", p.PayloadOffset, PayloadAlign)
	}
	got, err := io.ReadAll(p.Payload())
	if err != nil || !bytes.Equal(got, fakePayload()) {
		t.Errorf("payload of %d bytes, %v", len(got), err)
	}
	if p.Metadata == nil || p.Metadata.Postcondition.Partitions[0].Name != "system" || p.Text != p.Metadata.Text() {
		t.Errorf("metadata is %+v, as text\n%s", p.Metadata, p.Text)
	}
	for _, want := range []string{"pre-build=a/b/c:1|d\n", "ota-type=AB\n", "post-timestamp=1700000000\n",
		fmt.Sprintf("ota-property-files=payload_metadata.bin:%d:791,payload.bin:%d:12024,payload_properties.txt:", p.PayloadOffset, p.PayloadOffset)} {
		if !strings.Contains(p.Text, want) {
			t.Errorf("metadata\n%sis without %q", p.Text, want)
		}
	}
	if p.CareMap.Partitions[0].Ranges != "2,0,10" || p.Apexes.Apexes[0].Version != 3 || p.Properties != "FILE_SIZE=1\n" {
		t.Errorf("beside the payload: %+v, %+v, %q", p.CareMap, p.Apexes, p.Properties)
	}
	certs := []*x509.Certificate{certificate(t, testkit.RSA(1)), w.Certificate}
	if c, err := p.Verify(t.Context(), certs); err != nil || c != certs[1] {
		t.Errorf("Verify = %v, %v", c, err)
	}
	if _, err := p.Verify(t.Context(), certs[:1]); !errors.Is(err, ErrSignature) || !errors.Is(err, mios.ErrDenied) {
		t.Errorf("Verify with another certificate = %v, want ErrSignature", err)
	}
	if again := packed(t, w); !bytes.Equal(b, again) {
		t.Error("the same package is written in other bytes")
	}
	for _, off := range []int64{100, p.PayloadOffset + 5, int64(len(b)) - 100} {
		c := bytes.Clone(b)
		c[off] ^= 1
		if _, err := VerifyFile(t.Context(), bytes.NewReader(c), int64(len(c)), certs); err == nil {
			t.Errorf("verified with another byte at %d", off)
		}
	}
}

func TestECDSA(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := writer(t, k)
	b := packed(t, w)
	if _, err := VerifyFile(t.Context(), bytes.NewReader(b), int64(len(b)), []*x509.Certificate{w.Certificate}); err != nil {
		t.Error(err)
	}
}

// TestOtherTools has openssl verify the signature and unzip read the file.
func TestOtherTools(t *testing.T) {
	openssl, err := tool.Look("openssl")
	if err != nil {
		t.Fatal(err)
	}
	w := writer(t, testkit.RSA(0))
	b := packed(t, w)
	tr, err := readTrailer(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := put("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate.Raw}))
	out, err := exec.Command(openssl, "cms", "-verify", "-inform", "DER", "-in", put("sig", tr.block), "-content", put("content", b[:tr.signed]),
		"-binary", "-noverify", "-certfile", cert, "-out", os.DevNull).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "erification successful") {
		t.Errorf("openssl cms -verify: %v\n%s", err, out)
	}
	python, err := tool.Look("python3")
	if err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(python, "-c", `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print([i.filename for i in z.infolist()], z.comment[:18])`, put("ota.zip", b)).CombinedOutput()
	want := `['META-INF/com/android/metadata', 'META-INF/com/android/metadata.pb', 'apex_info.pb', 'care_map.pb', 'payload.bin', 'payload_properties.txt', 'META-INF/com/android/otacert'] b'signed by SignApk\x00'`
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("zipfile: %v\n%s\nwant %s", err, out, want)
	}
}

// hole reads as zeros.
type hole struct{ head []byte }

func (h hole) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(h.head)) {
		copy(b, h.head[off:])
	}
	return len(b), nil
}

// TestLarge lays out a payload that needs ZIP64; its bytes are not written.
func TestLarge(t *testing.T) {
	w := writer(t, testkit.RSA(0))
	w.Payload, w.Size = hole{fakePayload()}, 5<<30
	list, err := w.entries()
	if err != nil {
		t.Fatal(err)
	}
	at := lay(list)
	if at < 5<<30 {
		t.Fatalf("directory at %d", at)
	}
	// The file without what lies in the payload: the directory must lead to all.
	var file sparse
	var dir []byte
	for _, e := range list {
		file.put(e.header, e.local())
		if e.name != PayloadName {
			b, err := io.ReadAll(io.NewSectionReader(e.data, 0, e.size))
			if err != nil {
				t.Fatal(err)
			}
			if err := e.sum(); err != nil {
				t.Fatal(err)
			}
			file.put(e.header, e.local())
			file.put(e.offset, b)
		}
		dir = append(dir, e.directory()...)
	}
	file.put(at, append(append(dir, end(len(list), at, int64(len(dir)))...), 0, 0))
	p, err := Open(&file, file.size)
	if err != nil {
		t.Fatal(err)
	}
	if p.PayloadSize != 5<<30 || p.Properties != w.Properties || p.PayloadOffset%PayloadAlign != 0 {
		t.Errorf("payload of %d bytes at %d, properties %q", p.PayloadSize, p.PayloadOffset, p.Properties)
	}
	if err := p.CheckPropertyFiles(); err != nil {
		t.Error(err)
	}
}

// sparse is a file of pieces, with zeros between them.
type sparse struct {
	at   []int64
	b    [][]byte
	size int64
}

func (s *sparse) put(off int64, b []byte) {
	s.at, s.b = append(s.at, off), append(s.b, b)
	s.size = max(s.size, off+int64(len(b)))
}

func (s *sparse) ReadAt(b []byte, off int64) (int, error) {
	n := int(min(int64(len(b)), s.size-off))
	if n <= 0 {
		return 0, io.EOF
	}
	clear(b[:n])
	for i, at := range s.at {
		lo, hi := max(off, at), min(off+int64(n), at+int64(len(s.b[i])))
		if lo < hi {
			copy(b[lo-off:hi-off], s.b[i][lo-at:])
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func TestWriteRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(w *Writer)
		want string
	}{
		"no payload":         {func(w *Writer) { w.Payload = strings.NewReader("no") }, "no payload"},
		"metadata too long":  {func(w *Writer) { w.Size = 30 }, "metadata of 791 bytes in a payload of 30"},
		"no certificate":     {func(w *Writer) { w.Certificate = nil }, "without its certificate"},
		"another key's":      {func(w *Writer) { w.Key = testkit.RSA(1) }, "of another key"},
		"a payload that end": {func(w *Writer) { w.Size = math.MaxInt32 }, "payload.bin"},
	} {
		w := writer(t, testkit.RSA(0))
		tc.edit(w)
		if err := w.Write(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Write = %v, want %q", name, err, tc.want)
		}
	}
}

func TestProtoRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"twice":     {[]byte{8, 1, 8, 1}, "canonical"},
		"order":     {[]byte{16, 1, 8, 1}, "canonical"},
		"zero":      {[]byte{8, 0}, "canonical"},
		"half":      {[]byte{8}, "unexpected EOF"},
		"wire type": {[]byte{10, 0}, "wire type"},
	} {
		_, err := ParseMetadata(tc.in)
		var fe *FormatError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: ParseMetadata(%x) = %v, want a FormatError with %q", name, tc.in, err, tc.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(packed(f, writer(f, testkit.RSA(0))))
	f.Add(packed(f, writer(f, nil)))
	certs := []*x509.Certificate{certificate(f, testkit.RSA(1))}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		p.CheckPropertyFiles()
		if _, err := p.Verify(t.Context(), certs); err == nil {
			t.Error("verified with a key that signed nothing")
		}
	})
}

func FuzzMetadata(f *testing.F) {
	w := writer(f, nil)
	f.Add(w.Metadata.Encode())
	f.Add(w.CareMap.Encode())
	f.Add(w.Apexes.Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if m, err := ParseMetadata(in); err == nil && !bytes.Equal(m.Encode(), in) {
			t.Errorf("metadata %x encodes as %x", in, m.Encode())
		}
		if m, err := ParseCareMap(in); err == nil && !bytes.Equal(m.Encode(), in) {
			t.Errorf("care map %x encodes as %x", in, m.Encode())
		}
		if m, err := ParseApexInfo(in); err == nil && !bytes.Equal(m.Encode(), in) {
			t.Errorf("apex info %x encodes as %x", in, m.Encode())
		}
	})
}

// TestCheckToken compares a token, which has no folder, with all entries of that
// name.
func TestCheckToken(t *testing.T) {
	p := &Package{where: map[string][2]int64{"metadata": {100, 7}, "META-INF/com/android/metadata": {200, 9}, "payload.bin": {300, 50}}}
	for range 20 { // whatever order a map has
		for token, want := range map[string]string{
			"metadata:200:9": "", "metadata:100:7": "", "payload.bin:300:50": "",
			"metadata:200:7":  `"metadata:200:7": META-INF/com/android/metadata is at 200 with 9 bytes, metadata is at 100 with 7 bytes: invalid`,
			"care_map.pb:1:2": `"care_map.pb:1:2": not in the package as it is: invalid`,
		} {
			got := ""
			if err := p.checkToken(token); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("checkToken(%s) = %q, want %q", token, got, want)
			}
		}
	}
}
