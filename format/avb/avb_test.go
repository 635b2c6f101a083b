package avb_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/avb"
)

var update = flag.Bool("update", false, "rewrite the images and golden files in testdata")

// memory is an [io.WriterAt] of a fixed size.
type memory []byte

func (m memory) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(m)) {
		return 0, errors.New("write outside")
	}
	return copy(m[off:], b), nil
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testKey is a key for tests only; testdata has it, so that images that it
// signs are the same in every run.
func testKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("test_rsa%d.pem", bits)))
	if err != nil {
		t.Fatal(err)
	}
	return privateKey(t, b)
}

func publicKey(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	b, err := avb.EncodePublicKey(key.Public().(*rsa.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sign returns the encoded image, signed.
func sign(t testing.TB, m *avb.VBMeta, key crypto.Signer, a avb.Algorithm) []byte {
	t.Helper()
	if err := m.Sign(key, a); err != nil {
		t.Fatal(err)
	}
	b, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// samples are the images of testdata.
func samples(t testing.TB) map[string][]byte {
	salt := []byte("salt")
	digest := bytes.Repeat([]byte{0xd1}, 32)
	all := &avb.VBMeta{
		RollbackIndex: 1700000000, RollbackIndexLocation: 2, Release: "mios 1.0", Flags: avb.FlagHashtreeDisabled,
		PublicKeyMetadata: []byte("metadata"),
		Descriptors: []avb.Descriptor{
			&avb.HashDescriptor{ImageSize: 4097, HashAlgorithm: "sha256", PartitionName: "boot", Salt: salt, Digest: digest},
			&avb.HashtreeDescriptor{
				DMVerityVersion: 1, ImageSize: 8192, TreeOffset: 8192, TreeSize: 4096, DataBlockSize: 4096, HashBlockSize: 4096,
				FECRoots: 2, FECOffset: 12288, FECSize: 8192, HashAlgorithm: "sha256", PartitionName: "system", Salt: salt, RootDigest: digest,
				Flags: avb.FlagCheckAtMostOnce,
			},
			&avb.ChainPartitionDescriptor{RollbackIndexLocation: 1, PartitionName: "vendor", PublicKey: publicKey(t, testKey(t, 2048)), Flags: avb.FlagDoNotUseAB},
			&avb.PropertyDescriptor{Key: "com.android.build.boot.os_version", Value: []byte("15")},
			&avb.KernelCmdlineDescriptor{Flags: avb.CmdlineOnlyIfHashtreeEnabled, Cmdline: "root=/dev/dm-0"},
			&avb.UnknownDescriptor{Number: 77, Data: []byte("12345678")},
		},
	}
	return map[string][]byte{
		"all.vbmeta":    sign(t, all, testKey(t, 4096), avb.SHA512RSA4096),
		"empty.vbmeta":  sign(t, &avb.VBMeta{}, nil, avb.None),
		"signed.vbmeta": sign(t, &avb.VBMeta{Release: "mios"}, testKey(t, 2048), avb.SHA256RSA2048),
	}
}

// images returns testdata's images by name, and fails if there are none.
func images(t testing.TB) map[string][]byte {
	t.Helper()
	files, _ := filepath.Glob("testdata/*.vbmeta")
	if len(files) == 0 {
		t.Fatal("no images in testdata")
	}
	m := make(map[string][]byte)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(f)] = b
	}
	return m
}

// TestGolden makes the images of testdata again, which must give the same
// bytes, and compares a dump of each with NAME.golden.
func TestGolden(t *testing.T) {
	if *update {
		for name, b := range samples(t) {
			if err := os.WriteFile(filepath.Join("testdata", name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	made := samples(t)
	for name, b := range images(t) {
		if !bytes.Equal(made[name], b) {
			t.Errorf("%s: signing gives other bytes now", name)
		}
		golden := filepath.Join("testdata", name+".golden")
		got := dump(b)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("Parse(%s):\n%s\nwant:\n%s", name, got, want)
		}
	}
}

func dump(b []byte) string {
	var w strings.Builder
	result, _ := avb.VerifyVBMeta(b)
	m, err := avb.Parse(b)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	fmt.Fprintf(&w, "%v, AVB 1.%d, %v, rollback index %d at %d, flags %d, release %q\n", result, m.RequiredMinor, m.Algorithm, m.RollbackIndex, m.RollbackIndexLocation, m.Flags, m.Release)
	fmt.Fprintf(&w, "key %s, metadata %q, hash %x\n", sha256Hex(m.PublicKey), m.PublicKeyMetadata, m.Hash)
	for _, d := range m.Descriptors {
		if c, ok := d.(*avb.ChainPartitionDescriptor); ok {
			c.PublicKey = []byte(sha256Hex(c.PublicKey))
		}
		fmt.Fprintf(&w, "%d: %+v\n", d.Tag(), d)
	}
	return w.String()
}

func TestParseErrors(t *testing.T) {
	good := images(t)["all.vbmeta"]
	for _, tt := range []struct {
		name string
		off  int // where to put b
		b    string
		want string
	}{
		{"magic", 0, "x", "avb: offset 0x0: magic is"},
		{"major", 7, "\x02", "avb: offset 0x4: version 2.3"},
		{"minor", 11, "\x09", "avb: offset 0x4: version 1.9"},
		{"auth size", 19, "\x01", "avb: offset 0xc: authentication block"},
		{"huge", 12, "\xff", "avb: offset 0xc: authentication block"},
		{"aux size", 20, "\x7f", "avb: offset 0x14: auxiliary block"},
		{"algorithm", 31, "\x63", "avb: offset 0x1c: algorithm 99"},
		{"other algorithm", 31, "\x01", "avb: offset 0x20: hash"},
		{"hash offset", 39, "\x01", "avb: offset 0x20: hash"},
		{"key offset", 71, "\xff", "avb: offset 0x40: public key"},
		{"huge key", 72, "\xff", "avb: offset 0x40: public key"},
		{"release", 175, "x", "avb: offset 0xaf: padding of text"},
		{"reserved", 200, "x", "avb: offset 0xc8: reserved field"},
		{"descriptor length", 256 + 576 + 8, "\x01", "avb: offset 0x348: descriptor 0:"},
		{"descriptor length, odd", 256 + 576 + 15, "\x01", "avb: offset 0x348: descriptor 0:"},
		{"name length", 256 + 576 + 56, "\x01", "avb: offset 0x3c4: descriptor: field"},
		{"name", 256 + 576 + 132, "\xff", "avb: offset 0x3c8: descriptor: text is not UTF-8"},
		{"end", len(good) - 1, "x", "avb: offset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(good)
			copy(b[tt.off:], tt.b)
			_, err := avb.Parse(b)
			if _, ok := errors.AsType[*avb.FormatError](err); !ok || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want a FormatError that begins %q", err, tt.want)
			}
		})
	}
	for n := range good {
		if _, err := avb.Parse(good[:n]); err == nil {
			t.Fatalf("Parse took %d of %d bytes", n, len(good))
		}
	}
	if _, err := avb.Parse(append(bytes.Clone(good), 0)); err == nil {
		t.Error("Parse took a byte too many")
	}
}

// TestVerifyVBMetaFlips flips a bit in every byte of a signed image: none is
// taken, but for those that AVB does not cover.
func TestVerifyVBMetaFlips(t *testing.T) {
	b := images(t)["signed.vbmeta"]
	m, err := avb.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	signed := avb.HeaderSize + len(m.Hash) + len(m.Signature)
	for i := range b {
		b[i] ^= 0x10
		r, key := avb.VerifyVBMeta(b)
		b[i] ^= 0x10
		padding := i >= signed && i < avb.HeaderSize+320
		if (r == avb.VerifyOK) != padding || (key != nil) != padding {
			t.Errorf("VerifyVBMeta with byte %d flipped = %v, key of %d bytes", i, r, len(key))
		}
	}
}

type wrongSigner struct{ crypto.Signer }

func (s wrongSigner) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	digest = bytes.Clone(digest)
	digest[0] ^= 1
	return s.Signer.Sign(r, digest, o)
}

func TestSignErrors(t *testing.T) {
	rsa2048 := testKey(t, 2048)
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		a    avb.Algorithm
		want string
	}{
		{"no key", nil, avb.SHA256RSA2048, "no key"},
		{"size", rsa2048, avb.SHA256RSA4096, "not an RSA key of 4096 bits"},
		{"kind", ed25519.NewKeyFromSeed(make([]byte, 32)), avb.SHA256RSA2048, "not an RSA key"},
		{"algorithm", rsa2048, 99, "Algorithm(99)"},
		{"signer", wrongSigner{rsa2048}, avb.SHA256RSA2048, "wrong signature"},
	} {
		err := new(avb.VBMeta).Sign(tt.key, tt.a)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Sign = %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := (&avb.VBMeta{Algorithm: avb.SHA256RSA2048}).Bytes(); err == nil || !strings.Contains(err.Error(), "sign it first") {
		t.Errorf("Bytes of an unsigned image = %v, want that it is to be signed first", err)
	}
	if _, err := (&avb.VBMeta{Release: strings.Repeat("x", 48)}).Bytes(); err == nil {
		t.Error("Bytes took a release of 48 bytes")
	}
	big := &avb.VBMeta{Descriptors: []avb.Descriptor{&avb.PropertyDescriptor{Value: make([]byte, avb.MaxVBMetaSize)}}}
	if _, err := big.Bytes(); err == nil {
		t.Error("Bytes made an image that libavb does not load")
	}
}

func TestAlgorithms(t *testing.T) {
	for a := avb.None; a.Known(); a++ {
		got, err := avb.ParseAlgorithm(a.String())
		if err != nil || got != a {
			t.Errorf("ParseAlgorithm(%v) = %v, %v", a, got, err)
		}
		if a == avb.None {
			continue
		}
		if got, err := avb.AlgorithmFor(a.Hash(), a.KeyBits()); err != nil || got != a {
			t.Errorf("AlgorithmFor(%v, %d) = %v, %v, want %v", a.Hash(), a.KeyBits(), got, err, a)
		}
	}
	if _, err := avb.AlgorithmFor(crypto.SHA256, 1024); err == nil {
		t.Error("AlgorithmFor took a key of 1024 bits")
	}
	if _, err := avb.ParseAlgorithm("SHA1_RSA2048"); err == nil {
		t.Error("ParseAlgorithm took SHA1_RSA2048")
	}
}

func TestPublicKey(t *testing.T) {
	pub := testKey(t, 4096).Public().(*rsa.PublicKey)
	b := publicKey(t, testKey(t, 4096))
	got, err := avb.ParsePublicKey(b)
	if err != nil || !got.Equal(pub) {
		t.Errorf("ParsePublicKey = %v, %v", got, err)
	}
	for _, i := range []int{0, 3, 4, 7, 8, 519, 520, len(b) - 1} {
		bad := bytes.Clone(b)
		bad[i] ^= 0x81
		if _, err := avb.ParsePublicKey(bad); err == nil {
			t.Errorf("ParsePublicKey took a key with a wrong byte %d", i)
		}
	}
	if _, err := avb.EncodePublicKey(&rsa.PublicKey{N: pub.N, E: 3}); err == nil {
		t.Error("EncodePublicKey took the exponent 3")
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range images(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _ = avb.VerifyVBMeta(in)
		_, _, _ = avb.Read(bytes.NewReader(in), int64(len(in)))
		m, err := avb.Parse(in)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if _, err := m.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), in) {
			t.Errorf("WriteTo wrote %x, Parse read %x", out.Bytes(), in)
		}
	})
}

func FuzzParseFooter(f *testing.F) {
	f.Add((&avb.Footer{OriginalImageSize: 1, VBMetaOffset: 4096, VBMetaSize: 256}).Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, err := avb.ParseFooter(in); err == nil && !bytes.Equal(p.Bytes(), in) {
			t.Errorf("Bytes wrote %x, ParseFooter read %x", p.Bytes(), in)
		}
	})
}
