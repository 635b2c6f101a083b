package fdroid

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mios"
	"mios/build/app"
)

// CertificateFile is the file beside the key that holds its certificate, PEM,
// where it has one of its own: that of a repository that has moved here.
const CertificateFile = "fdroid.x509.pem"

// Certificate returns the self-signed certificate, DER, that clients know a
// key's repository by, unless it had another one before it came here. The same
// key gives the same bytes.
func Certificate(key crypto.Signer) ([]byte, error) { return app.Certificate(key) }

// LoadCertificate returns the certificate of the key in the folder dir: that of
// [CertificateFile], or else [Certificate].
func LoadCertificate(dir string, key crypto.Signer) ([]byte, error) {
	name := filepath.Join(dir, CertificateFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Certificate(key)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: %w: want a certificate in PEM, as keytool -exportcert -rfc prints it", name, mios.ErrInvalid)
	}
	return block.Bytes, nil
}
