package apksig

import (
	"bufio"
	"bytes"
	"crypto"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
)

func TestBER(t *testing.T) {
	for _, tt := range []struct {
		name, in   string
		body, rest string
		ok         bool
	}{
		{"short", "\x04\x02ab!", "ab", "!", true},
		{"long form that need not be", "\x04\x81\x02ab", "ab", "", true},
		{"four bytes of length", "\x04\x84\x00\x00\x00\x01a", "a", "", true},
		{"five bytes of length", "\x04\x85\x00\x00\x00\x00\x01a", "", "", false},
		{"high tag", "\x1f\x81\x01\x01a", "a", "", true},
		{"indefinite", "\x30\x80\x04\x01a\x00\x00!", "\x04\x01a", "!", true},
		{"indefinite in indefinite", "\x30\x80\x30\x80\x00\x00\x00\x00", "\x30\x80\x00\x00", "", true},
		{"indefinite, primitive", "\x04\x80ab\x00\x00!", "ab", "!", true},
		{"indefinite without an end", "\x30\x80\x04\x01a\x00", "", "", false},
		{"too long", "\x04\x03ab", "", "", false},
		{"no length", "\x04", "", "", false},
		{"nothing", "", "", "", false},
		{"too deep", strings.Repeat("\x30\x80", 100) + strings.Repeat("\x00\x00", 100), "", "", false},
	} {
		v, rest, err := readBER([]byte(tt.in))
		if (err == nil) != tt.ok || string(v.body) != tt.body && tt.ok || string(rest) != tt.rest {
			t.Errorf("%s: readBER = %q, %q, %v; want %q, %q", tt.name, v.body, rest, err, tt.body, tt.rest)
		}
	}
	for in, want := range map[string]int64{"": 0, "\x7f": 127, "\xff": -1, "\x00\xff": 255, "\x80": -128} {
		if got := bigInt([]byte(in)); got.Cmp(big.NewInt(want)) != 0 {
			t.Errorf("bigInt(%q) = %v, want %d", in, got, want)
		}
	}
}

// name encodes a distinguished name of one attribute.
func name(tag byte, value string) []byte {
	attr := append([]byte{6, 3, 0x55, 4, 3, tag, byte(len(value))}, value...)
	seq := append([]byte{0x30, byte(len(attr))}, attr...)
	set := append([]byte{0x31, byte(len(seq))}, seq...)
	return append([]byte{0x30, byte(len(set))}, set...)
}

func TestSameName(t *testing.T) {
	for _, tt := range []struct {
		a, b []byte
		want bool
	}{
		{name(tagUTF8, "Android Debug"), name(tagPrintable, " android  DEBUG"), true},
		{name(tagUTF8, "a"), name(tagUTF8, "b"), false},
		{name(tagTeletex, "a"), name(tagTeletex, "A"), false},
		{name(tagUTF8, "ab"), name(tagUTF8, "a b"), false},
	} {
		if got := sameName(tt.a, tt.b); got != tt.want {
			t.Errorf("sameName(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}

func TestUnsupported(t *testing.T) {
	cipher := func(kind keyKind, h crypto.Hash) *jarCipher { return &jarCipher{kind: kind, hash: h} }
	for _, tt := range []struct {
		alg         jarAlgorithm
		least, most int
		want        string
	}{
		{jarAlgorithm{crypto.SHA1, cipher(rsaPKCS1, 0)}, 1, newest, ""},
		{jarAlgorithm{crypto.SHA256, cipher(rsaPKCS1, 0)}, 18, newest, ""},
		{jarAlgorithm{crypto.SHA256, cipher(rsaPKCS1, 0)}, 1, newest, "9-17"},
		{jarAlgorithm{crypto.SHA256, cipher(rsaPKCS1, 0)}, 9, 12, "9-12"},
		{jarAlgorithm{crypto.MD5, cipher(rsaPKCS1, crypto.MD5)}, 8, 9, "9"},
		{jarAlgorithm{crypto.MD5, cipher(rsaPKCS1, crypto.SHA1)}, 21, 23, ""},
		{jarAlgorithm{crypto.MD5, cipher(rsaPKCS1, crypto.SHA1)}, 20, newest, "20, 24+"},
		{jarAlgorithm{crypto.SHA224, cipher(rsaPKCS1, crypto.SHA256)}, 21, 22, "22"},
		{jarAlgorithm{crypto.SHA384, cipher(dsaKey, 0)}, 1, newest, "1+"},
		{jarAlgorithm{crypto.SHA1, cipher(dsaKey, crypto.SHA1)}, 8, 30, "8"},
		{jarAlgorithm{crypto.SHA256, cipher(ecdsaKey, 0)}, 17, 30, "17"},
		{jarAlgorithm{0, cipher(ecdsaKey, 0)}, 24, 24, "24"},
		{jarAlgorithm{crypto.SHA1, nil}, 24, newest, "24+"},
	} {
		got, ok := tt.alg.unsupported(tt.least, tt.most)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%+v.unsupported(%d, %d) = %q, %v; want %q", tt.alg, tt.least, tt.most, got, ok, tt.want)
		}
	}
}

func TestSections(t *testing.T) {
	const text = "\r\nA: b\rC: d\n e\r\n f\r\n\r\n\n\nname: x: y\nno value\n: \n\nlast: 1"
	r := sectionReader{text: text}
	var got []string
	for {
		s, ok := r.next()
		if !ok {
			break
		}
		line := ""
		for _, a := range s.attributes(nil) {
			line += "[" + a.name + "|" + a.value + "]"
		}
		got = append(got, line)
	}
	want := []string{"[A|b][C|def]", "[name|x: y][no value|][|]", "[last|1]"}
	if strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("sections = %q, want %q", got, want)
	}
}

func TestStatedDigests(t *testing.T) {
	attrs := []jarAttribute{{"Name", "x"}, {"sha1-digest", "a"}, {"SHA-256-Digest", "b"}, {"MD5-Digest", "c"}, {"SHA-512-Digest", "d"}}
	old := append(attrs[:4:4], jarAttribute{"Digest-Algorithms", "SHA-512 MD5 SHA1"}, attrs[4])
	for _, tt := range []struct {
		attrs       []jarAttribute
		least, most int
		want        []namedDigest
	}{
		{attrs, 18, newest, []namedDigest{{crypto.SHA512, "d"}}},
		{attrs, 8, 17, []namedDigest{{crypto.SHA1, "a"}}},
		{attrs, 8, 18, []namedDigest{{crypto.SHA1, "a"}, {crypto.SHA512, "d"}}},
		{attrs[:2], 8, 18, []namedDigest{{crypto.SHA1, "a"}}},
		{attrs[2:], 8, 18, nil},
		{attrs[3:4], 18, 18, nil},
		{old, 8, 17, []namedDigest{{crypto.MD5, "c"}}},
		{old, 9, 17, []namedDigest{{crypto.SHA512, "d"}}},
	} {
		got := statedDigests(tt.attrs, "-Digest", tt.least, tt.most)
		if len(got) != len(tt.want) {
			t.Errorf("statedDigests(%d, %d) = %v, want %v", tt.least, tt.most, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("statedDigests(%d, %d) = %v, want %v", tt.least, tt.most, got, tt.want)
			}
		}
	}
	for text, want := range map[string]bool{"YWI=": true, "YWI": true, "YW": false, "": false, "YWI!": false} {
		if got := (namedDigest{crypto.SHA1, text}).is([]byte("ab")); got != want {
			t.Errorf("digest %q is \"ab\" = %v, want %v", text, got, want)
		}
	}
}

func testCertificate(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/p256.der")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func FuzzCertificate(f *testing.F) {
	f.Add(testCertificate(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCertificate(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.raw, b) || !sameName(c.issuer, c.issuer) {
			t.Error("another certificate")
		}
		if key, err := parsePublicKey(c.key); err == nil && key == nil {
			t.Error("no key, and no error")
		}
	})
}

// FuzzSignedData changes the signature blocks of signed packages, and verifies
// each signature that is found in them.
func FuzzSignedData(f *testing.F) {
	for _, name := range []string{"testdata/signedv1.apk.golden"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		v, _, err := newVerifier(bytes.NewReader(b), int64(len(b)), Options{MinSDK: 21})
		if err != nil {
			f.Fatal(err)
		}
		j, err := v.jar()
		if err != nil {
			f.Fatal(err)
		}
		n := 0
		for i := range int32(len(j.records)) {
			if e := j.entry(i); strings.HasPrefix(e.name, metaInf) && strings.Contains(e.name, ".") {
				text, err := (&extractor{j: j}).read(e, maxBlockFile)
				if err != nil {
					f.Fatal(err)
				}
				f.Add([]byte(text))
				n++
			}
		}
		if n < 3 {
			f.Fatalf("%s has %d files of a JAR signature, want 3 or more", name, n)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sd, err := parseSignedData(b)
		if err != nil {
			return
		}
		var certs []*certificate
		for _, raw := range sd.certs {
			if c, err := parseCertificate(raw.full); err == nil {
				certs = append(certs, c)
			}
		}
		for i := range sd.infos {
			sd.verify(&sd.infos[i], certs, &content{text: "Signature-Version: 1.0\r\n\r\n"}, 24, newest)
			if cert, _ := sd.verify(&sd.infos[i], certs, &content{text: "something else"}, 24, newest); cert != nil {
				t.Error("a signature of what nobody signed")
			}
		}
	})
}

func FuzzSections(f *testing.F) {
	f.Add("Manifest-Version: 1.0\r\nCreated-By: me\r\n\r\nName: a\r\n b\r\nSHA-256-Digest: x\r\n\r\n")
	f.Add("\n\nA: b\rC\n\n \n")
	f.Fuzz(func(t *testing.T, text string) {
		r, stream := sectionReader{text: text}, sectionStream{r: bufio.NewReader(strings.NewReader(text))}
		end := 0
		for {
			s, ok := r.next()
			if !ok {
				break
			}
			if s.off < end || s.text == "" || text[s.off:s.off+len(s.text)] != s.text {
				t.Fatalf("section at %d of %q after %d", s.off, s.text, end)
			}
			if strings.Trim(text[end:s.off], "\r\n") != "" {
				t.Fatalf("%q is in no section", text[end:s.off])
			}
			if other, ok := stream.next(); !ok || other.text != s.text {
				t.Fatalf("section %q as a stream is %q, %v", s.text, other.text, ok)
			}
			end = s.off + len(s.text)
			if len(s.attributes(nil)) == 0 {
				t.Errorf("section %q has no attribute", s.text)
			}
		}
		if s, ok := stream.next(); ok || stream.err != io.EOF {
			t.Errorf("a section more as a stream: %q, %v", s.text, stream.err)
		}
		if strings.Trim(text[end:], "\r\n") != "" {
			t.Errorf("%q is in no section", text[end:])
		}
	})
}
