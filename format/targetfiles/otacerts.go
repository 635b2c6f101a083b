package targetfiles

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"path"
	"strings"
)

// Limits of an otacerts.zip.
const (
	maxOTACerts = 64
	maxCertPEM  = 256 << 10
)

// An OTACert is a certificate in an otacerts.zip: updates that its key signed
// are taken.
type OTACert struct {
	Name        string // in the zip: "build/make/target/product/security/testkey.x509.pem"
	Certificate *x509.Certificate
	PEM         []byte // the file
}

// ParseOTACerts reads an otacerts.zip, as RecoverySystem and recovery do: every
// entry is a certificate in PEM.
func ParseOTACerts(b []byte) ([]OTACert, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("targetfiles: otacerts.zip: %w", err)
	}
	if len(z.File) > maxOTACerts {
		return nil, &FormatError{File: "otacerts.zip", Msg: fmt.Sprintf("%d entries; at most %d are read", len(z.File), maxOTACerts)}
	}
	var out []OTACert
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		text, err := readLimited(f)
		if err != nil {
			return nil, fmt.Errorf("targetfiles: otacerts.zip: %s: %w", f.Name, err)
		}
		cert, err := parseCertificate(text)
		if err != nil {
			return nil, &FormatError{File: "otacerts.zip", Msg: f.Name + ": " + err.Error()}
		}
		out = append(out, OTACert{f.Name, cert, text})
	}
	return out, nil
}

func readLimited(f *zip.File) ([]byte, error) {
	if f.UncompressedSize64 > maxCertPEM {
		return nil, fmt.Errorf("%d bytes; at most %d are read", f.UncompressedSize64, maxCertPEM)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxCertPEM+1))
}

// parseCertificate reads a certificate in PEM or DER.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	if block, _ := pem.Decode(text); block != nil {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM of %q, want CERTIFICATE", block.Type)
		}
		text = block.Bytes
	}
	return x509.ParseCertificate(text)
}

// FormatOTACerts makes an otacerts.zip of certs, whose Certificate or PEM must
// be set, as releasetools do (sign_target_files_apks.py, WriteOtacerts): the
// same certificates give the same bytes.
func FormatOTACerts(certs []OTACert) ([]byte, error) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	seen := make(map[string]bool)
	for _, c := range certs {
		name := strings.TrimPrefix(path.Clean("/"+c.Name), "/")
		if name == "" || seen[name] {
			return nil, fmt.Errorf("targetfiles: otacerts.zip: two certificates of the name %q", c.Name)
		}
		seen[name] = true
		text := c.PEM
		if text == nil {
			text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate.Raw})
		}
		//lint:ignore SA1019 Modified would add an extra field
		h := &zip.FileHeader{Name: name, Method: zip.Store, ModifiedDate: zipDate}
		h.SetMode(0o644)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(text)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
