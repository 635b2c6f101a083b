package apksig_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/format/apksig"
)

func verifyStamp(tb testing.TB, b []byte, o apksig.StampOptions) *apksig.Stamp {
	tb.Helper()
	s, err := apksig.VerifyStamp(tb.Context(), bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestStamp stamps packages of each scheme, and verifies the stamps alone and
// within the package.
func TestStamp(t *testing.T) {
	s := ecSigners(t, 3)
	lineage := chain(t, s[1], s[2])
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	in := unsigned(t, 9000)
	for _, o := range []apksig.SignOptions{
		{V1: true, MinSDK: 18}, {V2: true}, {V3: true}, {V1: true, V2: true, V3: true, MinSDK: 21}, {V2: true, V3: true, Verity: true},
		{V2: true, V3: true, Lineage: chain(t, s[0], s[1])},
	} {
		o.Signers = s[:1]
		if o.Lineage != nil {
			o.Signers = s[:2] // and there is v3.1
		}
		for _, stamp := range []*apksig.StampSigner{{Signer: s[2]}, {Signer: s[2], Lineage: lineage, Time: at}} {
			o.Stamp = stamp
			b := sign(t, in, o)
			digest := digestOf(s[2].Certificate)
			alone := verifyStamp(t, b, apksig.StampOptions{Certificate: digest[:], MinSDK: o.MinSDK})
			res, err := verify(t, b, apksig.Options{MinSDK: o.MinSDK})
			if err != nil || !res.Verified() || res.Stamp == nil {
				t.Fatalf("%+v: Verify = %+v, %v", o, res, err)
			}
			for _, got := range []*apksig.Stamp{alone, res.Stamp} {
				if !got.Verified() || len(got.Certificates) != 1 || !bytes.Equal(got.Certificates[0], s[2].Certificate) {
					t.Errorf("%+v: stamp %+v", o, got)
				}
				if (stamp.Lineage == nil) != (got.Lineage == nil) || got.Lineage != nil && !bytes.Equal(got.Lineage.Bytes(), lineage.Bytes()) {
					t.Errorf("%+v: the stamp's lineage is another", o)
				}
				if stamp.Time.IsZero() != (got.Timestamp == 0) || got.Timestamp != 0 && got.Timestamp != at.Unix() {
					t.Errorf("%+v: the stamp's time is %d", o, got.Timestamp)
				}
			}
		}
	}
}

// TestStampApksigner: Debian's apksigner verifies a stamp that is made here, and
// one that it makes is verified here. It is of 2021: it does not know the time
// in stamps, and makes them with RSA keys only.
func TestStampApksigner(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	s := append(ecSigners(t, 2), rsaSigner(t, 2048), rsaSigner(t, 2048))
	b := sign(t, unsigned(t, 9000), apksig.SignOptions{Signers: s[:1], V1: true, V2: true, V3: true, MinSDK: 24,
		Stamp: &apksig.StampSigner{Signer: s[1], Lineage: chain(t, s[2], s[1])}})
	name := filepath.Join(dir, "a.apk")
	writeFile(t, name, b)
	if out := run(t, "apksigner", "verify", "-v", name); !strings.Contains(out, "Verified for SourceStamp: true") {
		t.Errorf("apksigner says\n%s", out)
	}

	key, cert := keyFiles(t, dir, "key", s[2])
	stampKey, stampCert := keyFiles(t, dir, "stamp", s[3])
	in, theirs := filepath.Join(dir, "in.apk"), filepath.Join(dir, "theirs.apk")
	writeFile(t, in, unsigned(t, 9000))
	run(t, "apksigner", "sign", "--key", key, "--cert", cert, "--out", theirs, "--stamp-signer", "--key", stampKey, "--cert", stampCert, in)
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if !verifyStamp(t, b, apksig.StampOptions{}).Verified() {
		t.Errorf("apksigner's stamp: %+v", verifyStamp(t, b, apksig.StampOptions{}))
	}
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStampStatus(t *testing.T) {
	s := ecSigners(t, 2)
	in := unsigned(t)
	o := apksig.SignOptions{Signers: s[:1], V2: true, V3: true}
	plain := sign(t, in, o)
	o.Stamp = &apksig.StampSigner{Signer: s[1], Time: time.Unix(1, 0)}
	stamped := sign(t, in, o)
	digest := digestOf(s[0].Certificate)
	for _, tt := range []struct {
		name   string
		b      []byte
		o      apksig.StampOptions
		status apksig.StampStatus
		issue  string
	}{
		{"none", plain, apksig.StampOptions{}, apksig.StampMissing, "SOURCE_STAMP_CERT_DIGEST_AND_SIG_BLOCK_MISSING"},
		{"good", stamped, apksig.StampOptions{}, apksig.StampVerified, ""},
		{"somebody else's", stamped, apksig.StampOptions{Certificate: digest[:]}, apksig.StampDigestMismatch, "SOURCE_STAMP_EXPECTED_DIGEST_MISMATCH"},
		{"no block", swapped(stamped, "\x0d\x80\xff\x6d", "\x0e\x80\xff\x6d"), apksig.StampOptions{}, apksig.StampNotVerified, "SOURCE_STAMP_SIG_MISSING"},
		{"of the first form", stamped, apksig.StampOptions{V1: true}, apksig.StampNotVerified, "SOURCE_STAMP_SIG_MISSING"},
		{"no entry", swapped(stamped, "stamp-cert-sha256", "stamp-cert-sha255"), apksig.StampOptions{}, apksig.StampNotVerified, "SOURCE_STAMP_SIGNATURE_BLOCK_WITHOUT_CERT_DIGEST"},
		{"signatures that do not verify", swapped(stamped, "\xc0\x68\x53\xf0", "\xc1\x68\x53\xf0"), apksig.StampOptions{}, apksig.StampError, "V2_SIG_MISSING_APK_SIG_REFERENCED"},
		{"no package", []byte("x"), apksig.StampOptions{}, apksig.StampError, "MALFORMED_APK"},
	} {
		got := verifyStamp(t, tt.b, tt.o)
		if got.Status != tt.status || tt.issue != "" && !named(got.Issues, tt.issue) || (tt.issue == "") != (len(got.Issues) == 0) {
			t.Errorf("%s: %s %v, want %s %s", tt.name, got.Status, got.Issues, tt.status, tt.issue)
		}
	}
	if _, err := apksig.VerifyStamp(t.Context(), bytes.NewReader(stamped), int64(len(stamped)), apksig.StampOptions{MinSDK: 30, MaxSDK: 29}); err == nil {
		t.Error("VerifyStamp took SDK versions 30 to 29")
	}
}

// TestStampOfOther: a stamp is worth nothing on another package.
func TestStampOfOther(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // whose signatures are all of one length
	if err != nil {
		t.Fatal(err)
	}
	o := apksig.SignOptions{Signers: ecSigners(t, 1), V3: true, Stamp: &apksig.StampSigner{Signer: newSigner(t, key)}}
	a, b := sign(t, unsigned(t, 5000), o), sign(t, unsigned(t, 5001), o)
	mixed := moveStamp(t, a, b)
	if got := verifyStamp(t, mixed, apksig.StampOptions{}); got.Status != apksig.StampFailed || !named(got.Issues, "SOURCE_STAMP_DID_NOT_VERIFY") {
		t.Errorf("another package's stamp: %+v", got)
	}
	res, err := verify(t, mixed, apksig.Options{})
	if err != nil || !res.Verified() || res.Stamp == nil || res.Stamp.Verified() {
		t.Errorf("another package's stamp: Verify = %+v, %v; want the package verified, and the stamp not", res, err)
	}
}

func TestStampSignRefuses(t *testing.T) {
	s := ecSigners(t, 3)
	in := unsigned(t)
	for _, tt := range []struct {
		name  string
		stamp apksig.StampSigner
		want  string
	}{
		{"no key", apksig.StampSigner{}, "stamp: no key"},
		{"another's lineage", apksig.StampSigner{Signer: s[2], Lineage: chain(t, s[0], s[1])}, "ends with another certificate"},
		{"a time before 1970", apksig.StampSigner{Signer: s[2], Time: time.Unix(-1, 0)}, "before 1970"},
	} {
		o := apksig.SignOptions{Signers: s[:1], V3: true, Stamp: &tt.stamp}
		err := apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), o, new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestStampFlips: with any byte of its block changed a stamp does not verify.
func TestStampFlips(t *testing.T) {
	s := ecSigners(t, 3)
	o := apksig.SignOptions{Signers: s[:1], V2: true, V3: true, Stamp: &apksig.StampSigner{Signer: s[2], Lineage: chain(t, s[1], s[2]), Time: time.Unix(1, 0)}}
	b := sign(t, unsigned(t), o)
	at, n := stampBlock(t, b)
	for i := range n {
		c := bytes.Clone(b)
		c[at+i] ^= 1 << (i % 8)
		if got := verifyStamp(t, c, apksig.StampOptions{}); got.Verified() {
			t.Errorf("byte %d of %d of the stamp changed: it verifies", i, n)
		}
	}
}

// stampBlock returns where the value of the pair lies that is a package's stamp.
func stampBlock(tb testing.TB, b []byte) (at, n int) {
	tb.Helper()
	i := bytes.Index(b, []byte("\x0d\x80\xff\x6d"))
	if i < 8 {
		tb.Fatal("no stamp in the package")
	}
	return i + 4, int(b[i-8]) | int(b[i-7])<<8 - 4
}

// moveStamp puts the stamp of one package into another, whose own is as long.
func moveStamp(t *testing.T, from, to []byte) []byte {
	t.Helper()
	at, n := stampBlock(t, from)
	into, m := stampBlock(t, to)
	if n != m {
		t.Fatalf("stamps of %d and %d bytes", n, m)
	}
	out := bytes.Clone(to)
	copy(out[into:], from[at:at+n])
	return out
}

func swapped(b []byte, old, new string) []byte {
	return bytes.ReplaceAll(b, []byte(old), []byte(new))
}

// FuzzStamp puts other bytes in the place of a package's stamp.
func FuzzStamp(f *testing.F) {
	s := []apksig.Signer{fixedSigner(f), fixedSigner(f)}
	o := apksig.SignOptions{Signers: s[:1], V2: true, V3: true, Stamp: &apksig.StampSigner{Signer: s[1], Time: time.Unix(1, 0)}}
	b := sign(f, unsigned(f), o)
	at, n := stampBlock(f, b)
	f.Add(b[at : at+n])
	f.Add(b[at+4 : at+n])
	f.Fuzz(func(t *testing.T, block []byte) {
		c := bytes.Clone(b)
		copy(c[at:at+n], make([]byte, n))
		copy(c[at:at+n], block)
		stamp := verifyStamp(t, c, apksig.StampOptions{})
		if stamp.Verified() != (len(stamp.Issues) == 0) {
			t.Errorf("%s with %v", stamp.Status, stamp.Issues)
		}
		if stamp.Verified() && !bytes.Equal(stamp.Certificates[0], s[1].Certificate) {
			t.Error("somebody else's stamp verifies")
		}
	})
}
