package apksig_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
)

const manifestText = `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.mios.test" android:versionCode="3">
<uses-sdk android:minSdkVersion="24"/><application/></manifest>`

// unsigned returns a package of a few entries; each of more is one of random
// bytes.
func unsigned(tb testing.TB, more ...int) []byte {
	tb.Helper()
	root, err := apk.ParseText([]byte(manifestText))
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := apk.NewWriter(&b)
	add := func(name string, m apk.Method, data []byte) {
		if err := w.Add(name, m, bytes.NewReader(data)); err != nil {
			tb.Fatal(err)
		}
	}
	add(apk.ManifestName, apk.Deflate, apk.AppendXML(nil, root))
	add("assets/a", apk.Store, []byte("hello"))
	for i, n := range more {
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(j * j >> 3)
		}
		add(fmt.Sprintf("assets/big%d", i), apk.Store, data)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func newSigner(tb testing.TB, key crypto.Signer) apksig.Signer {
	tb.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return apksig.Signer{Key: key, Certificate: cert}
}

func sign(tb testing.TB, in []byte, o apksig.SignOptions) []byte {
	tb.Helper()
	var out bytes.Buffer
	if err := apksig.Sign(tb.Context(), bytes.NewReader(in), int64(len(in)), o, &out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func verify(tb testing.TB, b []byte, o apksig.Options) (*apksig.Result, error) {
	tb.Helper()
	return apksig.Verify(tb.Context(), bytes.NewReader(b), int64(len(b)), o)
}

// TestNoByteChanges flips each byte that a signature covers, and each byte of
// the signature: not one may go unnoticed. Not covered are only the lengths of
// the pairs in the signing block, and the pair that pads it.
func TestNoByteChanges(t *testing.T) {
	le := binary.LittleEndian
	for id, o := range map[uint32]apksig.SignOptions{0x7109871a: {V2: true}, 0xf05368c0: {V3: true}} {
		o.Signers = []apksig.Signer{fixedSigner(t)}
		good := sign(t, unsigned(t), o)
		if res, err := verify(t, good, apksig.Options{MinSDK: 35}); err != nil || !res.Verified() {
			t.Fatalf("Verify = %+v, %v", res, err)
		}
		value := bytes.Index(good, le.AppendUint32(nil, id))
		valueEnd := value + int(le.Uint64(good[value-8:]))
		footer := int(le.Uint32(good[len(good)-6:])) - 24
		for i := range good {
			uncovered := i >= value-8 && i < value || i >= valueEnd && i < footer
			if uncovered || i < value && i%31 > 0 { // of the entries and their padding, a few
				continue
			}
			good[i] ^= 1 << (i % 8)
			if res, err := verify(t, good, apksig.Options{MinSDK: 35}); err == nil && res.Verified() {
				t.Errorf("byte %#x changed, and the package verifies", i)
			}
			good[i] ^= 1 << (i % 8)
		}
	}
}

// TestStripped takes a scheme away from a package that was signed with two.
func TestStripped(t *testing.T) {
	b := sign(t, unsigned(t), apksig.SignOptions{Signers: []apksig.Signer{fixedSigner(t)}, V2: true, V3: true})
	id := binary.LittleEndian.AppendUint32(nil, 0xf05368c0)
	i := bytes.Index(b, id)
	b[i]++
	res, err := verify(t, b, apksig.Options{MinSDK: 35})
	if err != nil || len(res.Errors) != 1 || res.Errors[0].Name != "V2_SIG_MISSING_APK_SIG_REFERENCED" {
		t.Errorf("Verify = %+v, %v; want V2_SIG_MISSING_APK_SIG_REFERENCED", res, err)
	}
}

func TestUnsigned(t *testing.T) {
	b := unsigned(t)
	_, err := apksig.Inspect(t.Context(), bytes.NewReader(b), int64(len(b)), 35)
	if ve, ok := errors.AsType[*apksig.VerifyError](err); !ok || !errors.Is(err, mios.ErrDenied) || ve.Issues[0].Name != "JAR_SIG_NO_MANIFEST" {
		t.Errorf("Inspect = %v, want denied, JAR_SIG_NO_MANIFEST", err)
	}
	if _, err := verify(t, b, apksig.Options{MinSDK: 24, MaxSDK: 23}); err == nil {
		t.Error("Verify for no SDK version at all did not refuse")
	}
}

func FuzzVerify(f *testing.F) {
	for _, o := range []apksig.SignOptions{{V2: true}, {V3: true}, {V2: true, V3: true}} {
		o.Signers = []apksig.Signer{fixedSigner(f)}
		f.Add(sign(f, unsigned(f), o))
	}
	var plain []string
	for _, o := range []apksig.SignOptions{{V2: true}, {V3: true}, {V2: true, V3: true}} {
		o.Signers = []apksig.Signer{fixedSigner(f)}
		plain = append(plain, covered(sign(f, unsigned(f), o)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := verify(t, b, apksig.Options{MinSDK: 24})
		if err != nil || !res.Verified() {
			return
		}
		for _, p := range plain {
			if covered(b) == p {
				return
			}
		}
		t.Errorf("a package that nobody signed verifies")
	})
}

// covered returns what is before the signing block, and the directory.
func covered(b []byte) string {
	le := binary.LittleEndian
	l, err := apk.FindLayout(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return ""
	}
	n := le.Uint64(b[l.DirOff-24:])
	return string(b[:l.DirOff-8-int64(n)]) + string(b[l.DirOff:l.EndOff])
}

// TestInspectLabel wants the label that stands in the resource table.
func TestInspectLabel(t *testing.T) {
	label := func(manifestLabel string, resources ...apk.NewResource) string {
		root, err := apk.ParseText([]byte(strings.Replace(manifestText, "<application/>", `<application android:label="`+manifestLabel+`"/>`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		var b, out bytes.Buffer
		w := apk.NewWriter(&b)
		err = w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root)))
		if len(resources) > 0 {
			table, err := apk.AppendResources(nil, "org.mios.test", resources)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Add(apk.ResourcesName, apk.Store, bytes.NewReader(table)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		o := apksig.SignOptions{V3: true, Signers: []apksig.Signer{fixedSigner(t)}}
		if err := apksig.Sign(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), o, &out); err != nil {
			t.Fatal(err)
		}
		p, err := apksig.Inspect(t.Context(), bytes.NewReader(out.Bytes()), int64(out.Len()), 33)
		if err != nil {
			t.Fatal(err)
		}
		return p.Label
	}
	named := apk.NewResource{Type: "string", Name: "app_name", Value: apk.StringValue("Weather")}
	for _, tt := range []struct {
		in, want  string
		resources []apk.NewResource
	}{
		{"Plain", "Plain", nil},
		{"@0x7f010000", "Weather", []apk.NewResource{named}},
		{"@0x7f010001", "", []apk.NewResource{named}},
		{"@0x7f010000", "", nil},
	} {
		if got := label(tt.in, tt.resources...); got != tt.want {
			t.Errorf("label %s is %q, want %q", tt.in, got, tt.want)
		}
	}
}
