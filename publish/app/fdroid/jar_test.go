package fdroid_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/internal/tool"
	"mios/publish/app/fdroid"
	"mios/storage/tree/dir"
)

// look returns the path of a program, or ends the test with what to install.
func look(tb testing.TB, name string) string {
	tb.Helper()
	p, err := tool.Look(name)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// inJAR returns the file of a JAR.
func inJAR(tb testing.TB, b []byte, name string) []byte {
	tb.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	if first := z.File[0].Name; first != "META-INF/MANIFEST.MF" {
		tb.Errorf("the first entry is %s, want the manifest", first)
	}
	f, err := z.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	out, err := io.ReadAll(f) // to the end: the CRC is compared there
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// jarsigner returns what the JDK says of a JAR.
func jarsigner(tb testing.TB, b []byte) (string, error) {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "x.jar")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, look(tb, "jarsigner"), "-J-Xshare:auto", "-verify", "-verbose", "-certs", name).CombinedOutput()
	return string(out), err
}

// TestJARs: jarsigner verifies both, by the repository's certificate, and
// nothing that was changed.
func TestJARs(t *testing.T) {
	t.Parallel()
	tr := dir.New(t.TempDir())
	publish(t, config(t, tr), some(130, 1)...)
	for _, tt := range []struct{ jar, file string }{{"entry.jar", "entry.json"}, {"index-v1.jar", "index-v1.json"}} {
		b := read(t, tr, tt.jar)
		content := inJAR(t, b, tt.file)
		if !json.Valid(content) {
			t.Errorf("%s: no JSON", tt.jar)
		}
		out, err := jarsigner(t, b)
		if err != nil || !strings.Contains(out, "\njar verified.") || strings.Contains(out, "unsigned") {
			t.Errorf("%s: %v\n%s", tt.jar, err, out)
		}
		// "sm": the entry is in the manifest, and its signature was verified; by
		// whom stands below it.
		if i := strings.Index(out, tt.file); i < 0 || !strings.HasPrefix(strings.TrimSpace(lineOf(out, i)), "sm") || !strings.Contains(out[i:], "X.509, CN=miOS app") {
			t.Errorf("%s: %s is not said to be signed by the repository:\n%s", tt.jar, tt.file, out)
		}
		if out, err := jarsigner(t, tampered(t, b, tt.file)); err == nil && strings.Contains(out, "jar verified.") {
			t.Errorf("%s: verified after a change:\n%s", tt.jar, out)
		}
	}
	if b := read(t, tr, "entry.json"); !bytes.Equal(b, inJAR(t, read(t, tr, "entry.jar"), "entry.json")) {
		t.Error("entry.json is not what entry.jar holds")
	}
}

func lineOf(s string, i int) string {
	start := strings.LastIndexByte(s[:i], '\n') + 1
	return s[start:i]
}

// tampered returns a JAR with a digit more in one file.
func tampered(t *testing.T, b []byte, name string) []byte {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		if f.Name != name {
			if err := w.Copy(f); err != nil {
				t.Fatal(err)
			}
			continue
		}
		e, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(bytes.Replace(inJAR(t, b, name), []byte(`"timestamp":1`), []byte(`"timestamp":11`), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAddress(t *testing.T) {
	c := config(t, nil)
	cert, err := fdroid.Certificate(testKey())
	if err != nil {
		t.Fatal(err)
	}
	print := strings.ToUpper(mios.Sum(cert).String())
	for address, want := range map[string]string{
		"https://example.org/apps":   "fdroidrepos://example.org/apps?fingerprint=" + print,
		"http://127.0.0.1:8080/apps": "fdroidrepo://127.0.0.1:8080/apps?fingerprint=" + print,
	} {
		c.Address = address
		if got, err := fdroid.Address(&c); err != nil || got != want {
			t.Errorf("Address(%s) = %s, %v, want %s", address, got, err, want)
		}
	}
}

// TestCertificate: a repository that moves here keeps its certificate, which
// stands beside the key.
func TestCertificate(t *testing.T) {
	dirName := t.TempDir()
	key := testKey()
	got, err := fdroid.LoadCertificate(dirName, key)
	want, err2 := fdroid.Certificate(key)
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Errorf("without a file: %x, %v, %v", got, err, err2)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Old F-Droid repository"}, NotAfter: time.Now().AddDate(20, 0, 0)}
	old, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dirName, fdroid.CertificateFile)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old}), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = fdroid.LoadCertificate(dirName, key); err != nil || !bytes.Equal(got, old) {
		t.Errorf("with a file: %x, %v", got, err)
	}
	tr := dir.New(t.TempDir())
	c := config(t, tr)
	c.Certificate = old
	publish(t, c, made(1, 1))
	if out, err := jarsigner(t, read(t, tr, "entry.jar")); err != nil || !strings.Contains(out, "CN=Old F-Droid repository") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.WriteFile(file, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = fdroid.LoadCertificate(dirName, key)
	checkError(t, err, mios.ErrInvalid, "keytool -exportcert -rfc")
}
