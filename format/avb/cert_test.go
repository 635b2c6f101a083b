package avb_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"mios/format/avb"
)

// TestCertificates makes a chain of avb_cert, and refuses what another signed.
func TestCertificates(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	product := []byte("0123456789abcdef")
	pik, err := avb.NewCertificate(&key.PublicKey, []byte("intermediate"), avb.UsageIntermediateAuthority, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&avb.CertMetadata{Intermediate: pik, Signing: pik}).Bytes(); err == nil {
		t.Error("Bytes of an unsigned certificate: no error")
	}
	if err := pik.Sign(small); err == nil {
		t.Error("Sign with a key of 2048 bits: no error")
	}
	if err := pik.Sign(key); err != nil {
		t.Fatal(err)
	}
	back, err := avb.ParseCertificate(pik.Bytes())
	if err != nil || !bytes.Equal(back.Bytes(), pik.Bytes()) || back.Verify(pik.PublicKey) != nil {
		t.Errorf("ParseCertificate = %v, %v, want what was signed", back, err)
	}
	back.KeyVersion++
	if err := back.Verify(pik.PublicKey); err == nil {
		t.Error("Verify of a changed certificate: no error")
	}
	if _, err := avb.NewCertificate(&small.PublicKey, product, avb.UsageSigning, 1); err == nil {
		t.Error("NewCertificate of a key of 2048 bits: no error")
	}
	attributes, err := avb.CertPermanentAttributes(&key.PublicKey, product)
	if err != nil || len(attributes) != 4+1032+avb.CertProductIDSize {
		t.Errorf("CertPermanentAttributes = %d bytes, %v", len(attributes), err)
	}
	if _, err := avb.CertPermanentAttributes(&key.PublicKey, product[1:]); err == nil {
		t.Error("CertPermanentAttributes with an ID of 15 bytes: no error")
	}
	credential, err := avb.CertUnlockCredential(pik, pik, product, key)
	if err != nil || len(credential) != avb.CertMetadataSize+512 {
		t.Errorf("CertUnlockCredential = %d bytes, %v", len(credential), err)
	}
	if _, err := avb.CertUnlockCredential(pik, pik, product[1:], key); err == nil {
		t.Error("CertUnlockCredential with a challenge of 15 bytes: no error")
	}
}

// TestABData refuses what is damaged.
func TestABData(t *testing.T) {
	want := avb.ABData{{Priority: 15, TriesRemaining: 7}, {Priority: 14, TriesRemaining: 6, SuccessfulBoot: true}}
	b := want.Bytes()
	if got, err := avb.ParseABData(b); err != nil || *got != want || len(b) != 32 {
		t.Errorf("ParseABData = %v, %v of %d bytes, want %v", got, err, len(b), want)
	}
	for i := range b {
		b[i] ^= 1
		if _, err := avb.ParseABData(b); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
		b[i] ^= 1
	}
}
