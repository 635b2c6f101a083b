package apksig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"testing"
)

func testSigner(t *testing.T, serial int64) Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial)}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), crypto.Signer(key))
	if err != nil {
		t.Fatal(err)
	}
	return Signer{Key: key, Certificate: cert}
}

func le32(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// stampParts are what a block is made of.
type stampParts struct {
	cert, schemes, attrs, sigs []byte
}

func (p stampParts) bytes() []byte { return prefixed(prefixed(p.cert, p.schemes, p.attrs, p.sigs)) }

// stampMaker makes stamps of a package with digests.
type stampMaker struct {
	t        *testing.T
	s, older Signer
	digests  map[Scheme]map[digestKind][]byte
}

func (m *stampMaker) sign(data []byte) []byte {
	sigs, err := m.s.signatures([]*algorithm{findAlgorithm(0x0201)}, data)
	if err != nil {
		m.t.Fatal(err)
	}
	return sigs
}

// lineage returns the attribute of a lineage of two.
func (m *stampMaker) lineage(old, new Signer) []byte {
	l, err := NewLineage(old, DefaultCapabilities, new, DefaultCapabilities)
	if err != nil {
		m.t.Fatal(err)
	}
	return append(le32(attrStampLineage), l.attribute()...)
}

// attrs puts attributes into a stamp, and signs them.
func (m *stampMaker) attrs(list ...[]byte) func(*stampParts) {
	return func(p *stampParts) { p.attrs = prefixed(prefixed(list...)); p.sigs = m.sign(p.attrs) }
}

func schemeOf(id Scheme, sigs []byte) []byte {
	return prefixed(append(le32(uint32(id)), prefixed(sigs)...))
}

// A stampCase is a way to change a stamp, and what becomes of it.
type stampCase struct {
	name string
	edit func(*stampParts)
	want string // issue; "": it verifies
	note string
}

// attributeCases are those in which attributes change.
func (m *stampMaker) attributeCases() []stampCase {
	damaged := m.lineage(m.older, m.s)
	damaged[len(damaged)-1]++
	return []stampCase{
		{"lineage and time", m.attrs(m.lineage(m.older, m.s), le32(attrStampTime, 7, 0, 99)), "", ""},
		{"unknown attribute", m.attrs(le32(0x1234, 5)), "", "SOURCE_STAMP_UNKNOWN_ATTRIBUTE"},
		{"a time that is zero", m.attrs(le32(attrStampTime, 0, 0)), "SOURCE_STAMP_INVALID_TIMESTAMP", ""},
		{"a time below zero", m.attrs(le32(attrStampTime, 0, 1<<31)), "SOURCE_STAMP_INVALID_TIMESTAMP", ""},
		{"a time cut short", m.attrs(le32(attrStampTime, 5)), "SOURCE_STAMP_MALFORMED_ATTRIBUTE", ""},
		{"an attribute cut short", m.attrs([]byte{1, 2}), "SOURCE_STAMP_MALFORMED_ATTRIBUTE", ""},
		{"lineage of another", m.attrs(m.lineage(m.s, m.older)), "SOURCE_STAMP_POR_CERT_MISMATCH", ""},
		{"lineage of another version", m.attrs(le32(attrStampLineage, 2)), "SOURCE_STAMP_POR_CERT_MISMATCH", ""},
		{"lineage that does not verify", m.attrs(damaged), "SOURCE_STAMP_POR_DID_NOT_VERIFY", ""},
		{"empty lineage", m.attrs(le32(attrStampLineage)), "SOURCE_STAMP_MALFORMED_LINEAGE", ""},
		{"lineage cut short", m.attrs(le32(attrStampLineage, 1, 99)), "SOURCE_STAMP_MALFORMED_LINEAGE", ""},
		{"attributes of another", func(p *stampParts) { p.attrs = prefixed(prefixed(le32(0x1234))) }, "SOURCE_STAMP_DID_NOT_VERIFY", ""},
		{"attributes without signatures", func(p *stampParts) { p.sigs = nil }, "SOURCE_STAMP_NO_SIGNATURE", ""},
	}
}

// cases are those in which anything else changes.
func (m *stampMaker) cases() []stampCase {
	return []stampCase{
		{"good", func(*stampParts) {}, "", "SOURCE_STAMP_SIGNATURE_SCHEME_NOT_AVAILABLE"},
		{"another certificate", func(p *stampParts) { p.cert = m.older.Certificate }, "SOURCE_STAMP_CERTIFICATE_MISMATCH_BETWEEN_SIGNATURE_BLOCK_AND_APK", ""},
		{"no certificate", func(p *stampParts) { p.cert = []byte{1} }, "SOURCE_STAMP_MALFORMED_CERTIFICATE", ""},
		{"a scheme less", func(p *stampParts) { p.schemes = schemeOf(V1, m.sign(nil)) }, "SOURCE_STAMP_NO_SIGNATURE", ""},
		{"a scheme cut short", func(p *stampParts) { p.schemes = append(p.schemes, prefixed(le32(3))...) }, "SOURCE_STAMP_MALFORMED_SIGNATURE", ""},
		{"the list of schemes cut short", func(p *stampParts) { p.schemes = append(p.schemes, 9) }, "SOURCE_STAMP_MALFORMED_SIGNATURE", ""},
		{"a signature cut short", func(p *stampParts) { p.schemes = schemeOf(V1, le32(9, 9)) }, "SOURCE_STAMP_MALFORMED_SIGNATURE", ""},
		{"no signatures", func(p *stampParts) { p.schemes = schemeOf(V1, nil) }, "SOURCE_STAMP_NO_SIGNATURE", ""},
		{"an unknown algorithm", func(p *stampParts) { p.schemes = schemeOf(V1, prefixed(le32(0x9999, 0))) }, "SOURCE_STAMP_NO_SIGNATURE", "SOURCE_STAMP_UNKNOWN_SIG_ALGORITHM"},
		{"an algorithm of other keys", func(p *stampParts) { p.schemes = schemeOf(V1, prefixed(le32(0x0103, 0))) }, "SOURCE_STAMP_VERIFY_EXCEPTION", ""},
		{"an algorithm for later platforms", func(p *stampParts) { p.schemes = schemeOf(V1, prefixed(le32(0x0101, 0))) }, "SOURCE_STAMP_NO_SUPPORTED_SIGNATURE", ""},
		{"another signature", func(p *stampParts) { p.schemes = schemeOf(V1, m.sign([]byte("else"))) }, "SOURCE_STAMP_DID_NOT_VERIFY", ""},
		{"more schemes than there are", func(p *stampParts) {
			for range maxRecords {
				p.schemes = append(p.schemes, schemeOf(V1, nil)...)
			}
		}, "SOURCE_STAMP_MALFORMED_SIGNATURE", ""},
	}
}

// TestStampBlock breaks a stamp in each way that has a name.
func TestStampBlock(t *testing.T) {
	m := &stampMaker{t: t, s: testSigner(t, 1), older: testSigner(t, 2), digests: map[Scheme]map[digestKind][]byte{
		V2: {chunkedSHA256: []byte("two"), chunkedSHA512: []byte("2"), veritySHA256: []byte("tree")},
		V3: {chunkedSHA256: []byte("three")}, V31: {chunkedSHA256: []byte("newest")}, V1: {},
	}}
	for _, tt := range append(m.attributeCases(), m.cases()...) {
		p := stampParts{cert: m.s.Certificate}
		for _, scheme := range []Scheme{V1, V2, V3} {
			p.schemes = append(p.schemes, schemeOf(scheme, m.sign(stampData(scheme, m.digests[scheme])))...)
		}
		m.attrs()(&p)
		tt.edit(&p)
		digest := sha256.Sum256(m.s.Certificate)
		got := (&stampCheck{stamp: new(Stamp), least: 18, most: 34}).v2(p.bytes(), digest[:], m.digests)
		if ok := tt.want == ""; got.Verified() != ok || !ok && (len(got.Issues) != 1 || got.Issues[0].Name != tt.want) || ok && len(got.Issues) > 0 {
			t.Errorf("%s: %s %v, want %q", tt.name, got.Status, got.Issues, tt.want)
		}
		if noted := len(got.Notes) > 0 && got.Notes[len(got.Notes)-1].Name == tt.note; tt.note != "" && !noted {
			t.Errorf("%s: notes %v, want %s", tt.name, got.Notes, tt.note)
		}
	}
}

// TestStampBlockV1 is for the first form, with the digests of one scheme.
func TestStampBlockV1(t *testing.T) {
	s := testSigner(t, 1)
	data := stampData(V3, map[digestKind][]byte{chunkedSHA512: []byte("three")})
	sigs, err := s.signatures([]*algorithm{findAlgorithm(0x0201)}, data)
	if err != nil {
		t.Fatal(err)
	}
	block := prefixed(prefixed(s.Certificate, sigs))
	digest := sha256.Sum256(s.Certificate)
	v := &verifier{digests: map[Scheme]map[digestKind][]byte{V3: {chunkedSHA512: []byte("three")}, V2: {chunkedSHA512: []byte("two")}}}
	for _, tt := range []struct {
		name    string
		block   []byte
		digests map[Scheme]map[digestKind][]byte
		want    StampStatus
	}{
		{"good", block, v.newestDigests(), StampVerified},
		{"of another package", block, map[Scheme]map[digestKind][]byte{V3: {chunkedSHA512: []byte("else")}}, StampFailed},
		{"cut short", block[:len(block)-1], v.newestDigests(), StampFailed},
		{"empty", nil, v.newestDigests(), StampFailed},
		{"of a package without signatures", block, nil, StampFailed},
	} {
		got := (&stampCheck{stamp: new(Stamp), least: 30, most: 34}).v1(tt.block, digest[:], tt.digests)
		if got.Status != tt.want || got.Verified() != (len(got.Issues) == 0) {
			t.Errorf("%s: %s %v, want %s", tt.name, got.Status, got.Issues, tt.want)
		}
	}
}
