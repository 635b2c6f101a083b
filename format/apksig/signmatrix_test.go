package apksig_test

import (
	"archive/zip"
	"bytes"
	"crypto/elliptic"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/tool"
)

var keep = flag.String("keep", "", "keep the packages of TestSignMatrix in this folder, for other judges")

// zipped returns a package as a ZIP writer makes it that knows nothing of
// Android: nothing aligned, data descriptors, folders, a manifest of its own.
func zipped(tb testing.TB, minSDK int) []byte {
	tb.Helper()
	root, err := apk.ParseText([]byte(strings.Replace(manifestText, `minSdkVersion="24"`, fmt.Sprintf(`minSdkVersion="%d"`, minSDK), 1)))
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range []struct {
		name   string
		method uint16
		data   []byte
	}{
		{apk.ManifestName, zip.Deflate, apk.AppendXML(nil, root)},
		{"assets/", zip.Store, nil},
		{"assets/a", zip.Store, []byte("hello")},
		{"lib/arm64-v8a/liba.so", zip.Store, bytes.Repeat([]byte("native"), 5000)},
		{"lib/arm64-v8a/libb.so", zip.Deflate, bytes.Repeat([]byte("native"), 5000)},
		{"META-INF/MANIFEST.MF", zip.Deflate, []byte("Manifest-Version: 1.0\r\nBuilt-By: a person with a name so long that it does not fit into one line of seventy\r\n\r\n")},
		{"META-INF/services/x", zip.Deflate, []byte("y")},
		{"res/" + strings.Repeat("long/", 20) + "größe.bin", zip.Store, []byte{1, 2, 3}},
	} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := f.Write(e.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// A signCase is a row of the matrix: who signs, how, and for which platforms.
type signCase struct {
	name    string
	minSDK  int // of the manifest
	o       apksig.SignOptions
	least   int    // SDK versions that it is verified for
	most    int    // 0: no end
	unknown bool   // to Debian's apksigner, which is of 2021
	cert    []byte // of who is to be seen there; nil: the first signer
}

func schemes(s string) apksig.SignOptions {
	return apksig.SignOptions{V1: strings.Contains(s, "1"), V2: strings.Contains(s, "2"), V3: strings.Contains(s, "3")}
}

// signCases are keys by schemes by platforms.
func signCases(tb testing.TB) []signCase {
	rsa2, rsa4 := rsaSigner(tb, 2048), rsaSigner(tb, 4096)
	p256, p384, p521 := ecSigner(tb, elliptic.P256()), ecSigner(tb, elliptic.P384()), ecSigner(tb, elliptic.P521())
	dsa1, dsa2 := testSigner(tb, "dsa1024"), testSigner(tb, "dsa2048")
	var out []signCase
	add := func(name string, minSDK int, s string, change func(*signCase), signers ...apksig.Signer) {
		c := signCase{name: fmt.Sprintf("%s v%s min %d", name, s, minSDK), minSDK: minSDK, o: schemes(s), least: minSDK}
		c.o.Signers = signers
		if change != nil {
			change(&c)
		}
		out = append(out, c)
	}
	for _, k := range []struct {
		name string
		s    apksig.Signer
		v1   int // the first platform on which v1 takes it
	}{{"rsa2048", rsa2, 9}, {"rsa4096", rsa4, 9}, {"p256", p256, 18}, {"p384", p384, 18}, {"p521", p521, 18}, {"dsa1024", dsa1, 9}, {"dsa2048", dsa2, 21}} {
		add(k.name, k.v1, "123", nil, k.s) // which are all judged, for the range begins before 24
	}
	for _, s := range []apksig.Signer{rsa2, p256} {
		add("alone", 18, "1", nil, s)
		add("alone", 24, "2", nil, s)
		add("alone", 28, "3", nil, s)
	}
	verity := func(c *signCase) { c.o.Verity = true; c.name += " verity" }
	add("rsa2048", 28, "23", verity, rsa2)
	add("p256", 28, "23", verity, p256)
	add("dsa2048", 28, "23", verity, dsa2)
	pss := func(c *signCase) { c.o.PSS, c.unknown = true, true; c.name += " pss" }
	add("rsa2048", 24, "23", pss, rsa2)
	add("rsa4096", 24, "123", pss, rsa4)
	add("two signers", 18, "12", nil, rsa2, p256)
	add("three signers", 24, "2", nil, rsa2, dsa1, p521)
	add("padded", 18, "123", func(c *signCase) { c.o.PadFile = true }, rsa2)
	line := lineageOf(tb, rsa2, p256, rsa4)
	rotated := func(from int) func(*signCase) {
		return func(c *signCase) {
			c.o.Lineage, c.o.RotationMinSDK, c.name = line, from, fmt.Sprintf("%s rotated from %d", c.name, from)
			if from == 28 {
				c.cert = c.o.Signers[len(c.o.Signers)-1].Certificate
			}
		}
	}
	add("rsa2048 to rsa4096", 24, "23", rotated(28), rsa2, rsa4)
	add("rsa2048 to p256", 21, "123", rotated(28), rsa2, p256)
	add("p256, then rsa4096", 28, "3", rotated(28), p256, rsa4)
	add("rsa2048 to rsa4096", 21, "123", rotated(33), rsa2, rsa4)
	add("rsa2048 to rsa4096", 24, "23", rotated(34), rsa2, rsa4)
	add("rsa2048 to p256", 24, "23", rotated(33), rsa2, p256)
	for i, c := range out {
		if r := c.o.RotationMinSDK; r >= 33 { // all platforms, and those before v3.1
			c.name, c.cert, c.unknown = c.name+" whole", c.o.Signers[1].Certificate, true
			out = append(out, c)
			out[i].most = 32
		}
	}
	return out
}

// TestSignMatrix signs with each kind of key in each scheme, and lets this
// package judge, zipalign, and Debian's apksigner what it knows: with -short the
// first row alone.
func TestSignMatrix(t *testing.T) {
	dir := t.TempDir()
	if *keep != "" {
		dir = *keep
	}
	for i, c := range signCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := zipped(t, c.minSDK)
			var idsig bytes.Buffer
			if c.most == 0 && (c.o.V3 || c.o.V2 && len(c.o.Signers) == 1) { // its two signers count only where v3.1 does
				c.o.IDSig = &idsig
			}
			out := sign(t, in, c.o)
			c.o.IDSig = nil
			if !c.o.PSS && !bytes.Equal(sign(t, in, c.o), out) {
				t.Error("signed twice, other bytes")
			}
			c.o.KeepAlignment = true
			if again := sign(t, out, c.o); !c.o.PSS && !c.o.V1 && !c.o.PadFile && !bytes.Equal(again, out) {
				t.Error("signed again, other bytes")
			} else if res, err := verify(t, again, apksig.Options{MinSDK: c.least, MaxSDK: c.most}); err != nil || !res.Verified() {
				t.Errorf("signed again: Verify = %+v, %v", res, err)
			}
			cert := c.cert
			if cert == nil {
				cert = c.o.Signers[0].Certificate
			}
			c.verify(t, out, idsig.Bytes(), cert)
			path := filepath.Join(dir, fmt.Sprintf("%02d %s, for %d to %d.apk", i, c.name, c.least, c.most))
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			if idsig.Len() > 0 {
				if err := os.WriteFile(path+".idsig", idsig.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if !c.unknown && (i == 0 || !testing.Short()) {
				c.apksigner(t, path, idsig.Len() > 0, cert)
			}
			checkAligned(t, out, c.o)
			runTool(t, "zipalign", "-c", "-v", "-p", "4", path)
		})
	}
}

// needJava skips a test that starts Java, which takes a second each time, or runs
// it beside others.
func needJava(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Java, again and again: without -short")
	}
	t.Parallel()
}

// runTool runs a program with no more of Java than it needs.
func runTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := tool.Look(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, text)
	}
	return string(text)
}

func (c *signCase) verify(t *testing.T, signed, idsig, cert []byte) {
	o := apksig.Options{MinSDK: c.least, MaxSDK: c.most}
	if len(idsig) > 0 {
		o.IDSig = bytes.NewReader(idsig)
	}
	res, err := verify(t, signed, o)
	if err != nil {
		t.Fatal(err)
	}
	res.Warnings = slices.DeleteFunc(res.Warnings, func(i apksig.Issue) bool {
		return i.Name == "JAR_SIG_UNPROTECTED_ZIP_ENTRY" && i.Detail != "" // META-INF/services/x, as AOSP warns too
	})
	if !res.Verified() || len(res.Warnings) > 0 {
		t.Errorf("Verify = %v, warnings %v", res.Errors, res.Warnings)
	}
	for scheme, want := range map[apksig.Scheme]bool{
		apksig.V1: c.o.V1 && (c.least < 24 || !c.o.V2 && !c.o.V3), apksig.V2: c.o.V2 && (c.least < 28 || !c.o.V3),
		apksig.V3: c.o.V3, apksig.V31: c.o.RotationMinSDK >= 33 && c.most == 0, apksig.V4: len(idsig) > 0,
	} {
		if res.VerifiedBy(scheme) != want {
			t.Errorf("VerifiedBy(%v) = %v, want %v", scheme, !want, want)
		}
	}
	signers := res.Signers()
	if len(signers) == 0 || signers[0].Digest() != mios.Sum(cert) {
		t.Errorf("Signers = %d, want first %v", len(signers), mios.Sum(cert))
	}
	if c.o.Lineage == nil && len(signers) != len(c.o.Signers) {
		t.Errorf("Signers = %d, want %d", len(signers), len(c.o.Signers))
	}
}

func (c *signCase) apksigner(t *testing.T, path string, v4 bool, cert []byte) {
	args := []string{"verify", "--verbose", "--print-certs", fmt.Sprintf("--min-sdk-version=%d", c.least)}
	if v4 {
		args = append(args, "--v4-signature-file", path+".idsig")
	}
	if c.most > 0 {
		args = append(args, fmt.Sprintf("--max-sdk-version=%d", c.most))
	}
	text := runTool(t, "apksigner", append(args, path)...)
	for _, want := range []string{
		"Verifies\n",
		fmt.Sprintf("Verified using v1 scheme (JAR signing): %v", c.o.V1 && (c.least < 24 || !c.o.V2 && !c.o.V3)),
		fmt.Sprintf("Verified using v2 scheme (APK Signature Scheme v2): %v", c.o.V2 && (c.least < 28 || !c.o.V3)),
		fmt.Sprintf("Verified using v3 scheme (APK Signature Scheme v3): %v", c.o.V3),
		fmt.Sprintf("Verified using v4 scheme (APK Signature Scheme v4): %v", v4),
		"certificate SHA-256 digest: " + mios.Sum(cert).String(),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("apksigner: want %q in\n%s", want, text)
		}
	}
}

// checkAligned wants stored entries where they can be mapped from: native code
// at pages of 16 KiB.
func checkAligned(t *testing.T, b []byte, o apksig.SignOptions) {
	f, err := apk.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, e := range f.Entries {
		if e.Method != apk.Store {
			continue
		}
		stored++
		multiple := int64(4)
		if strings.HasSuffix(e.Name, ".so") {
			multiple = 16 << 10
		}
		if e.DataOff%multiple != 0 {
			t.Errorf("%s lies at %#x, want a multiple of %d", e.Name, e.DataOff, multiple)
		}
	}
	if stored != 3 {
		t.Errorf("%d stored entries, want 3", stored)
	}
	if o.PadFile && len(b)%4096 != 0 {
		t.Errorf("a file of %d bytes, want a multiple of 4096", len(b))
	}
}
