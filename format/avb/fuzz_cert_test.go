package avb_test

import (
	"bytes"
	"testing"

	"mios/format/avb"
)

// FuzzParseABData wants back what it accepts.
func FuzzParseABData(f *testing.F) {
	f.Add((&avb.ABData{{Priority: 15, TriesRemaining: 7}, {Priority: 14, SuccessfulBoot: true}}).Bytes())
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := avb.ParseABData(in)
		if err != nil {
			return
		}
		again, err := avb.ParseABData(d.Bytes())
		if err != nil || *again != *d {
			t.Errorf("ParseABData(Bytes) = %v, %v, want %v", again, err, d)
		}
	})
}

// FuzzParseCertMetadata wants back what it accepts, byte for byte.
func FuzzParseCertMetadata(f *testing.F) {
	b := make([]byte, avb.CertMetadataSize)
	b[0], b[4], b[4+avb.CertificateSize] = 1, 1, 1
	f.Add(b)
	f.Add(b[:avb.CertificateSize])
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := avb.ParseCertMetadata(in)
		if err != nil {
			return
		}
		out, err := m.Bytes()
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("Bytes = %d bytes, %v, want the %d that were parsed", len(out), err, len(in))
		}
		for _, c := range []*avb.Certificate{m.Intermediate, m.Signing} {
			if err := c.Verify(m.Intermediate.PublicKey); err == nil && bytes.Equal(in, b) {
				t.Error("a certificate of zeros verifies")
			}
		}
	})
}
