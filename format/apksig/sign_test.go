package apksig_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testSigner is the signer of that name in testdata.
func testSigner(tb testing.TB, name string) apksig.Signer {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name + ".pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := apksig.ParsePrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := os.ReadFile("testdata/" + name + ".der")
	if err != nil {
		tb.Fatal(err)
	}
	return apksig.Signer{Key: key, Certificate: cert}
}

// fixedSigner is the key of the golden files.
func fixedSigner(tb testing.TB) apksig.Signer {
	tb.Helper()
	return testSigner(tb, "p256")
}

func rsaSigner(tb testing.TB, bits int) apksig.Signer {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return newSigner(tb, k)
}

func ecSigner(tb testing.TB, c elliptic.Curve) apksig.Signer {
	tb.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return newSigner(tb, k)
}

// lineageOf joins signers, the oldest first.
func lineageOf(tb testing.TB, signers ...apksig.Signer) *apksig.Lineage {
	tb.Helper()
	const all = ^apksig.Capabilities(0) & 0x1f
	l, err := apksig.NewLineage(signers[0], all, signers[1], all)
	for i := 2; i < len(signers) && err == nil; i++ {
		l, err = l.Extend(signers[i-1], signers[i], all)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// TestGolden holds the bytes of a signed package.
func TestGolden(t *testing.T) {
	one := []apksig.Signer{fixedSigner(t)}
	for name, o := range map[string]apksig.SignOptions{
		"signed":   {Signers: one, V2: true, V3: true},
		"signedv1": {Signers: one, V1: true, V2: true},
	} {
		got := sign(t, unsigned(t), o)
		golden := "testdata/" + name + ".apk.golden"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d other bytes", golden, len(got))
		}
	}
}

func TestSignRefuses(t *testing.T) {
	in := unsigned(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fixed, other, dsa := fixedSigner(t), ecSigner(t, elliptic.P256()), testSigner(t, "dsa2048")
	big, next := ecSigner(t, elliptic.P384()), ecSigner(t, elliptic.P256())
	line := lineageOf(t, fixed, next)
	one := []apksig.Signer{fixed}
	var idsig bytes.Buffer
	for _, tt := range []struct {
		o    apksig.SignOptions
		want string
	}{
		{apksig.SignOptions{Signers: one}, "no scheme is asked for: ask for"},
		{apksig.SignOptions{V2: true}, "no key to sign with: give a signer"},
		{apksig.SignOptions{V2: true, Signers: []apksig.Signer{{Certificate: fixed.Certificate}}}, "no key: give a private key"},
		{apksig.SignOptions{V2: true, Signers: []apksig.Signer{{Key: ed, Certificate: fixed.Certificate}}}, "make one of those"},
		{apksig.SignOptions{V1: true, Signers: []apksig.Signer{{Key: ed, Certificate: fixed.Certificate}}}, "make one of those"},
		{apksig.SignOptions{V2: true, Signers: []apksig.Signer{{Key: other.Key, Certificate: fixed.Certificate}}}, "of another key: give the one"},
		{apksig.SignOptions{V1: true, Signers: []apksig.Signer{{Key: dsa.Key, Certificate: fixed.Certificate}}}, "of another key: give the one"},
		{apksig.SignOptions{V2: true, Signers: []apksig.Signer{{Key: other.Key}}}, "want X.509 in DER"},
		{apksig.SignOptions{V2: true, Signers: []apksig.Signer{{Key: fixed.Key, Certificate: fixed.Certificate, Chain: [][]byte{{1}}}}}, "certificate 1 of the chain"},
		{apksig.SignOptions{V2: true, V3: true, Signers: []apksig.Signer{fixed, other}}, "give the lineage that joins them, or leave v3 off"},
		{apksig.SignOptions{V2: true, Signers: make([]apksig.Signer, 11)}, "at most 10"},
		{apksig.SignOptions{V1: true, Signers: []apksig.Signer{{Key: fixed.Key, Certificate: fixed.Certificate, Name: "x"}, {Key: other.Key, Certificate: other.Certificate, Name: "X"}}}, "both named X"},
		{apksig.SignOptions{V1: true, MinSDK: 17, Signers: one}, "raise its minSdkVersion to 18"},
		{apksig.SignOptions{V2: true, PageAlign: 5000, Signers: one}, "give a power of two up to 32768"},
		{apksig.SignOptions{V2: true, PSS: true, Signers: one}, "PSS is for RSA keys"},
		{apksig.SignOptions{V1: true, PSS: true, Signers: one}, "for v2 and v3"},
		{apksig.SignOptions{V2: true, Verity: true, Signers: []apksig.Signer{big}}, "leave verity off"},
		{apksig.SignOptions{V1: true, IDSig: &idsig, Signers: one}, "v4 signs the digest of v2 or v3"},
		{apksig.SignOptions{V2: true, IDSig: &idsig, Signers: []apksig.Signer{fixed, other}}, "v4 has one signer"},
		{apksig.SignOptions{V3: true, RotationMinSDK: 33, Signers: one}, "no lineage: give the lineage"},
		{apksig.SignOptions{V3: true, Lineage: line, Signers: one}, "give the newest as well"},
		{apksig.SignOptions{V3: true, Lineage: line, Signers: []apksig.Signer{fixed, other}}, "not in the lineage"},
		{apksig.SignOptions{V2: true, Lineage: line, Signers: []apksig.Signer{fixed, next}}, "a lineage is for v3"},
		{apksig.SignOptions{V2: true, V3: true, Lineage: line, Signers: []apksig.Signer{next}}, "oldest signer, which is missing"},
		{apksig.SignOptions{V3: true, Lineage: line, Signers: []apksig.Signer{next}}, "rotate from 28 on"},
		{apksig.SignOptions{V3: true, Lineage: line, RotationMinSDK: 27, Signers: []apksig.Signer{fixed, next}}, "give 28 or more"},
		{apksig.SignOptions{V3: true, Lineage: line, RotationMinSDK: 30, RotationDev: true, Signers: []apksig.Signer{fixed, next}}, "give 33 or more"},
	} {
		var out bytes.Buffer
		err := apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), tt.o, &out)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 || idsig.Len() > 0 {
			t.Errorf("Sign = %v and %d bytes, want an error with %q", err, out.Len(), tt.want)
		}
	}
}

// packed returns a package of a manifest and of entries, names and data.
func packed(tb testing.TB, entries ...string) []byte {
	tb.Helper()
	root, err := apk.ParseText([]byte(manifestText))
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	err = w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root)))
	for i := 0; i < len(entries) && err == nil; i += 2 {
		err = w.Add(entries[i], apk.Store, strings.NewReader(entries[i+1]))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// TestSignRefusesPackage signs packages that cannot be signed.
func TestSignRefusesPackage(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"assets/a\rb", "x", "rename it, or leave v1 off"},
		{"META-INF/MANIFEST.MF", "Manifest Version: 1.0\r\n\r\n", "take the file out of the package"},
		{"assets/com.android.hints.pins.txt", "a b\n", "line 1: want a pattern"},
		{"assets/com.android.hints.pins.txt", "x\n(", "line 2: "},
	} {
		in := packed(t, tt.name, tt.data)
		var out bytes.Buffer
		o := apksig.SignOptions{V1: true, Signers: []apksig.Signer{fixedSigner(t)}}
		err := apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), o, &out)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("%q: Sign = %v and %d bytes, want an error with %q", tt.name, err, out.Len(), tt.want)
		}
	}
	in := []byte("no package")
	var out bytes.Buffer
	err := apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), apksig.SignOptions{V2: true, Signers: []apksig.Signer{fixedSigner(t)}}, &out)
	if err == nil || out.Len() > 0 {
		t.Errorf("Sign of no package = %v", err)
	}
}

// TestSignDamaged signs a package with a changed byte in an entry: only v1
// unpacks entries, so only v1 sees it.
func TestSignDamaged(t *testing.T) {
	in := packed(t, "assets/a", "stored data")
	in[bytes.Index(in, []byte("stored data"))] ^= 1
	for _, tt := range []struct {
		schemes apksig.SignOptions
		want    string
	}{
		{apksig.SignOptions{V1: true, V2: true}, "assets/a: CRC-32 is "},
		{apksig.SignOptions{V2: true, V3: true}, ""},
	} {
		var out bytes.Buffer
		tt.schemes.Signers = []apksig.Signer{fixedSigner(t)}
		err := apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), tt.schemes, &out)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("Sign by v2 and v3 = %v", err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0):
			t.Errorf("Sign by v1 = %v and %d bytes, want an error with %q", err, out.Len(), tt.want)
		}
	}
}

// TestDSA signs twice, and wants the same.
func TestDSA(t *testing.T) {
	for _, name := range []string{"dsa1024", "dsa2048"} {
		k := testSigner(t, name).Key
		sum := crypto.SHA256.New().Sum(nil)
		a, err := k.Sign(rand.Reader, sum, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := k.Sign(rand.Reader, sum, crypto.SHA256); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: signed twice, other bytes (%v)", name, err)
		}
	}
}
