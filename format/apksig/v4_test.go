package apksig_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/apksig"
)

func signV4(tb testing.TB, b []byte, signers ...apksig.Signer) []byte {
	tb.Helper()
	var out bytes.Buffer
	if err := apksig.SignV4(tb.Context(), bytes.NewReader(b), int64(len(b)), signers, &out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// v4Issue verifies a package with its .idsig file, and returns the first error.
func v4Issue(tb testing.TB, b, idsig []byte) string {
	tb.Helper()
	res, err := verify(tb, b, apksig.Options{IDSig: bytes.NewReader(idsig)})
	switch {
	case err != nil:
		tb.Fatal(err)
	case len(res.Errors) > 0:
		return res.Errors[0].Name
	case !res.VerifiedBy(apksig.V4):
		return "not verified by v4"
	}
	return ""
}

// TestV4 signs packages of several sizes, whose trees have one level or two.
func TestV4(t *testing.T) {
	s := fixedSigner(t)
	for _, n := range []int{0, 4096 * 127, 1 << 20} {
		for _, o := range []apksig.SignOptions{{V2: true}, {V3: true}, {V2: true, V3: true}} {
			o.Signers = []apksig.Signer{s}
			b := sign(t, unsigned(t, n), o)
			idsig := signV4(t, b, s)
			if issue := v4Issue(t, b, idsig); issue != "" {
				t.Errorf("package of %d bytes, v2 %v, v3 %v: %s", len(b), o.V2, o.V3, issue)
			}
			if !bytes.Equal(signV4(t, b, s), idsig) {
				t.Errorf("package of %d bytes: signed twice, other bytes", len(b))
			}
			head, err := apksig.ReadIDSig(bytes.NewReader(idsig))
			if err != nil || !bytes.HasPrefix(idsig, head.Bytes()) || len(head.Signers) != 1 {
				t.Errorf("ReadIDSig = %v, %v, or Bytes are others", head, err)
			}
		}
	}
}

// TestV4Apksigner: Debian's apksigner verifies what is signed here, and what it
// signs is verified here, and has the same tree and the same root.
func TestV4Apksigner(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	for i, s := range []apksig.Signer{rsaSigner(t, 3080), ecSigner(t, elliptic.P256())} {
		b := sign(t, unsigned(t, 3<<20+i), apksig.SignOptions{Signers: []apksig.Signer{s}, V2: true, V3: i > 0})
		name := filepath.Join(dir, "a.apk")
		ours := signV4(t, b, s)
		writeFile(t, name, b)
		writeFile(t, name+".idsig", ours)
		out := run(t, "apksigner", "verify", "-v", "--v4-signature-file", name+".idsig", name)
		if !strings.Contains(out, "Verified using v4 scheme (APK Signature Scheme v4): true") {
			t.Errorf("apksigner says\n%s", out)
		}

		if i > 0 {
			continue // ECDSA signatures of apksigner differ each time
		}
		keyFile, cert := keyFiles(t, dir, "key", s)
		theirs := filepath.Join(dir, "theirs.apk")
		run(t, "apksigner", "sign", "--v4-signing-enabled", "true", "--key", keyFile, "--cert", cert, "--out", theirs, name)
		b, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		idsig, err := os.ReadFile(theirs + ".idsig")
		if err != nil {
			t.Fatal(err)
		}
		if issue := v4Issue(t, b, idsig); issue != "" {
			t.Errorf("what apksigner signed: %s", issue)
		}
		if !bytes.Equal(signV4(t, b, s), idsig) {
			t.Error("apksigner's .idsig file has other bytes")
		}
	}
}

// editIDSig changes an .idsig file in front of its tree.
func editIDSig(t *testing.T, idsig []byte, edit func(*apksig.IDSig)) []byte {
	t.Helper()
	s, err := apksig.ReadIDSig(bytes.NewReader(idsig))
	if err != nil {
		t.Fatal(err)
	}
	tree := idsig[len(s.Bytes()):]
	edit(s)
	return append(s.Bytes(), tree...)
}

func TestV4Refuses(t *testing.T) {
	s := fixedSigner(t)
	other := ecSigners(t, 1)[0]
	in := unsigned(t, 1<<20)
	b := sign(t, in, apksig.SignOptions{Signers: []apksig.Signer{s}, V2: true, V3: true})
	good := signV4(t, b, s)
	head := len(editIDSig(t, good, func(*apksig.IDSig) {})) - treeOf(t, good)
	edit := func(f func(*apksig.IDSig)) []byte { return editIDSig(t, good, f) }
	changed := func(at int) []byte { c := bytes.Clone(good); c[at]++; return c }
	for _, tt := range []struct {
		name  string
		idsig []byte
		want  string
	}{
		{"good", good, ""},
		{"without a tree", good[:head], ""},
		{"empty", nil, "V4_SIG_MALFORMED_SIGNERS"},
		{"version", changed(0), "V4_SIG_MALFORMED_SIGNERS"},
		{"hash algorithm", changed(8), "V4_SIG_MALFORMED_SIGNERS"},
		{"size of pages", changed(12), "V4_SIG_MALFORMED_SIGNERS"},
		{"cut short", good[:head-1], "V4_SIG_MALFORMED_SIGNERS"},
		{"tree cut short", good[:len(good)-1], "V4_SIG_APK_TREE_DID_NOT_VERIFY"},
		{"tree's length cut short", good[:head+2], "V4_SIG_APK_TREE_DID_NOT_VERIFY"},
		{"tree of another size", changed(head), "V4_SIG_APK_TREE_DID_NOT_VERIFY"},
		{"bytes after the tree", append(bytes.Clone(good), 0), "V4_SIG_APK_TREE_DID_NOT_VERIFY"},
		{"another tree", changed(len(good) - 5000), "V4_SIG_APK_TREE_DID_NOT_VERIFY"},
		{"another top of the tree", changed(head + 4), "V4_SIG_APK_TREE_DID_NOT_VERIFY"},
		{"root", edit(func(i *apksig.IDSig) { i.Root[0]++ }), "V4_SIG_DID_NOT_VERIFY"},
		{"salt", edit(func(i *apksig.IDSig) { i.Salt = []byte{1} }), "V4_SIG_DID_NOT_VERIFY"},
		{"digest", edit(func(i *apksig.IDSig) { i.Signers[0].Digest[0]++ }), "V4_SIG_DID_NOT_VERIFY"},
		{"more that is signed", edit(func(i *apksig.IDSig) { i.Signers[0].Extra = []byte{1} }), "V4_SIG_DID_NOT_VERIFY"},
		{"algorithm", edit(func(i *apksig.IDSig) { i.Signers[0].Algorithm = 0x9999 }), "V4_SIG_UNKNOWN_SIG_ALGORITHM"},
		{"algorithm of other keys", edit(func(i *apksig.IDSig) { i.Signers[0].Algorithm = 0x0103 }), "V4_SIG_VERIFY_EXCEPTION"},
		{"key", edit(func(i *apksig.IDSig) { i.Signers[0].PublicKey = []byte{1} }), "V4_SIG_MALFORMED_PUBLIC_KEY"},
		{"no certificate", signedOver(t, good, b, s, func(i *apksig.IDSigSigner) { i.Certificate = nil }), "V4_SIG_NO_CERTIFICATE"},
		{"no certificate's bytes", signedOver(t, good, b, s, func(i *apksig.IDSigSigner) { i.Certificate = []byte{1} }), "V4_SIG_MALFORMED_CERTIFICATE"},
		{"another's certificate", signedOver(t, good, b, s, func(i *apksig.IDSigSigner) { i.Certificate = other.Certificate }), "V4_SIG_PUBLIC_KEY_MISMATCH_BETWEEN_CERTIFICATE_AND_SIGNATURES_RECORD"},
		{"another signer", signedOver(t, good, b, other, func(i *apksig.IDSigSigner) { i.Certificate = other.Certificate }), "V4_SIG_V2_V3_SIGNERS_MISMATCH"},
		{"another digest", signedOver(t, good, b, s, func(i *apksig.IDSigSigner) { i.Digest[0]++ }), "V4_SIG_V2_V3_DIGESTS_MISMATCH"},
		{"two signers", edit(func(i *apksig.IDSig) { i.Signers = append(i.Signers, i.Signers[0]) }), "V4_SIG_MULTIPLE_SIGNERS"},
	} {
		if got := v4Issue(t, b, tt.idsig); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	unlike := signedOver(t, good, b, s, func(*apksig.IDSigSigner) {}, func(i *apksig.IDSig) { i.Root[0]++ })
	if got := v4Issue(t, b, unlike); got != "V4_SIG_APK_ROOT_DID_NOT_VERIFY" {
		t.Errorf("another root, signed: %q", got)
	}
}

// treeOf returns how many bytes of an .idsig file the tree takes, with its
// length.
func treeOf(t *testing.T, idsig []byte) int {
	t.Helper()
	s, err := apksig.ReadIDSig(bytes.NewReader(idsig))
	if err != nil {
		t.Fatal(err)
	}
	return len(idsig) - len(s.Bytes())
}

// signedOver edits an .idsig file of a package and signs it, with a P-256 key.
func signedOver(t *testing.T, idsig, pkg []byte, by apksig.Signer, edit func(*apksig.IDSigSigner), whole ...func(*apksig.IDSig)) []byte {
	t.Helper()
	return editIDSig(t, idsig, func(s *apksig.IDSig) {
		for _, f := range whole {
			f(s)
		}
		to := &s.Signers[0]
		edit(to)
		to.PublicKey = publicKey(t, by)
		le := binary.LittleEndian
		data := le.AppendUint64(nil, uint64(len(pkg)))
		data = append(le.AppendUint32(data, 1), 12)
		for _, v := range [][]byte{s.Salt, s.Root, to.Digest, to.Certificate, to.Extra} {
			data = append(le.AppendUint32(data, uint32(len(v))), v...)
		}
		sum := digestOf(append(le.AppendUint32(nil, uint32(4+len(data))), data...))
		sig, err := by.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		to.Signature = sig
	})
}

func publicKey(t *testing.T, s apksig.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestV4OtherPackage: an .idsig file is that of one package.
func TestV4OtherPackage(t *testing.T) {
	s := fixedSigner(t)
	o := apksig.SignOptions{Signers: []apksig.Signer{s}, V3: true}
	a, b := sign(t, unsigned(t, 9000), o), sign(t, unsigned(t, 9001), o)
	if got := v4Issue(t, b, signV4(t, a, s)); got != "V4_SIG_APK_ROOT_DID_NOT_VERIFY" && got != "V4_SIG_DID_NOT_VERIFY" {
		t.Errorf("another package's: %q", got)
	}
}

// TestV41 signs a package whose key is rotated: v4 goes with v3, v4.1 with v3.1.
func TestV41(t *testing.T) {
	s := ecSigners(t, 2)
	var idsig bytes.Buffer
	b := sign(t, unsigned(t, 1<<20), apksig.SignOptions{Signers: s, Lineage: chain(t, s...), V2: true, V3: true, IDSig: &idsig})
	good := idsig.Bytes()
	if issue := v4Issue(t, b, good); issue != "" {
		t.Fatalf("v4 and v4.1: %s", issue)
	}
	for _, tt := range []struct {
		name string
		edit func(*apksig.IDSig)
		want string
	}{
		{"v4 alone", func(i *apksig.IDSig) { i.Signers = i.Signers[:1] }, "V41_SIG_NEEDS_TWO_SIGNERS"},
		{"three", func(i *apksig.IDSig) { i.Signers = append(i.Signers, i.Signers[1]) }, "V41_SIG_NEEDS_TWO_SIGNERS"},
		{"the wrong way around", func(i *apksig.IDSig) { i.Signers[0], i.Signers[1] = i.Signers[1], i.Signers[0] }, "V4_SIG_V2_V3_SIGNERS_MISMATCH"},
		{"another v4.1", func(i *apksig.IDSig) { i.Signers[1].Digest[0]++ }, "V4_SIG_DID_NOT_VERIFY"},
	} {
		if got := v4Issue(t, b, editIDSig(t, good, tt.edit)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	err := apksig.SignV4(t.Context(), bytes.NewReader(b), int64(len(b)), s[:1], new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "1 signers") {
		t.Errorf("SignV4 by one of two = %v", err)
	}
}

func TestSignV4Refuses(t *testing.T) {
	s := ecSigners(t, 2)
	in := unsigned(t)
	signed := sign(t, in, apksig.SignOptions{Signers: s[:1], V3: true})
	for _, tt := range []struct {
		name    string
		b       []byte
		signers []apksig.Signer
		want    string
	}{
		{"unsigned", in, s[:1], "sign the package with v2 or v3 first"},
		{"nobody", signed, nil, "0 signers"},
		{"somebody else", signed, s[1:], "somebody else"},
		{"two", signed, s, "2 signers"},
		{"no package", []byte("x"), s[:1], "too few"},
	} {
		err := apksig.SignV4(t.Context(), bytes.NewReader(tt.b), int64(len(tt.b)), tt.signers, new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestV4Flips: with any byte of an .idsig file changed it does not verify.
func TestV4Flips(t *testing.T) {
	s := fixedSigner(t)
	b := sign(t, unsigned(t), apksig.SignOptions{Signers: []apksig.Signer{s}, V3: true})
	good := signV4(t, b, s)
	head := len(good) - treeOf(t, good) + 8
	for i := 0; i < len(good); i++ {
		if i > head {
			i = min(i+40, len(good)-1) // enough of the tree
		}
		c := bytes.Clone(good)
		c[i] ^= 1 << (i % 8)
		if v4Issue(t, b, c) == "" {
			t.Errorf("byte %d of %d changed: it verifies", i, len(good))
		}
	}
	for i := 0; i < len(b); i += 1 + len(b)/200 {
		c := bytes.Clone(b)
		c[i] ^= 1 << (i % 8)
		res, err := verify(t, c, apksig.Options{IDSig: bytes.NewReader(good)})
		if err == nil && res.Verified() {
			t.Errorf("byte %d of the package changed: it verifies", i)
		}
	}
}

func FuzzReadIDSig(f *testing.F) {
	s := fixedSigner(f)
	b := sign(f, unsigned(f), apksig.SignOptions{Signers: []apksig.Signer{s}, V2: true})
	good := signV4(f, b, s)
	f.Add(good)
	sig, err := apksig.ReadIDSig(bytes.NewReader(good))
	if err != nil {
		f.Fatal(err)
	}
	second := sig.Signers[0]
	second.Block = 0x1b93ad61
	sig.Signers = append(sig.Signers, second)
	f.Add(sig.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		sig, err := apksig.ReadIDSig(bytes.NewReader(in))
		if err != nil {
			if _, ok := errors.AsType[*apksig.FormatError](err); !ok {
				t.Errorf("%v is no FormatError", err)
			}
			return
		}
		if !bytes.HasPrefix(in, sig.Bytes()) {
			t.Error("Bytes does not give back what ReadIDSig took")
		}
		res, err := verify(t, b, apksig.Options{IDSig: bytes.NewReader(in)})
		if err != nil || res.Verified() && !bytes.HasPrefix(in, good[:len(sig.Bytes())]) {
			t.Errorf("Verify = %+v, %v with another file", res, err)
		}
	})
}
