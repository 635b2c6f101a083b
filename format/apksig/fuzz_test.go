package apksig_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
)

// FuzzVerifyV1 changes packages that a JAR signature signs. Where one verifies,
// it has the entries that were signed.
func FuzzVerifyV1(f *testing.F) {
	var signed []map[string]string
	for _, o := range []apksig.SignOptions{{V1: true}, {V1: true, V2: true, V3: true}} {
		o.Signers = []apksig.Signer{fixedSigner(f)}
		b := sign(f, unsigned(f), o)
		signed = append(signed, contents(f, b))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := verify(t, b, apksig.Options{MinSDK: 21, MaxSDK: 23})
		if err != nil || !res.Verified() {
			return
		}
		for _, want := range signed {
			if maps.Equal(contents(t, b), want) {
				return
			}
		}
		t.Error("a package that nobody signed verifies")
	})
}

// FuzzSigningBlock changes the pairs of the signing block of a package, with all
// schemes that stand there. None may verify but those that were signed.
func FuzzSigningBlock(f *testing.F) {
	le := binary.LittleEndian
	old, newer := fixedSigner(f), testSigner(f, "dsa2048")
	one := []apksig.Signer{old}
	var before, after []byte
	for _, o := range []apksig.SignOptions{
		{Signers: one, V2: true}, {Signers: one, V2: true, V3: true}, {Signers: one, V3: true, Verity: true, MinSDK: 28},
		{Signers: []apksig.Signer{old, newer}, Lineage: lineageOf(f, old, newer), V2: true, V3: true},
	} {
		b := sign(f, unsigned(f), o)
		l, err := apk.FindLayout(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			f.Fatal(err)
		}
		start := l.DirOff - 8 - int64(le.Uint64(b[l.DirOff-24:]))
		before, after = b[:start], b[l.DirOff:]
		pairs := b[start+8 : l.DirOff-24]
		f.Add(pairs)
	}
	f.Fuzz(func(t *testing.T, pairs []byte) {
		b := bytes.Clone(before)
		b = le.AppendUint64(b, uint64(len(pairs)+24))
		b = append(b, pairs...)
		b = le.AppendUint64(b, uint64(len(pairs)+24))
		b = append(b, "APK Sig Block 42"...)
		dir := len(b)
		b = append(b, after...)
		le.PutUint32(b[len(b)-6:], uint32(dir))
		res, err := verify(t, b, apksig.Options{MinSDK: 24})
		if err != nil {
			return
		}
		for _, s := range res.Signers() {
			known := bytes.Equal(s.Certificates[0], old.Certificate) || bytes.Equal(s.Certificates[0], newer.Certificate)
			if res.Verified() && !known {
				t.Errorf("signed by %x", s.Certificates[0])
			}
		}
	})
}
