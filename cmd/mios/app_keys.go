package main

import (
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"mios"
	"mios/build/app"
	"mios/format/apksig"
	"mios/key"
)

// maxCertificate is the largest file of certificates or of a lineage that is
// read, in bytes.
const maxCertificate = 1 << 20

// signerFlags are the flags that name who signs a package: keys in files, or
// those of roles in a folder, and certificates for them.
type signerFlags struct {
	dir                   *string
	files, certs, roleIDs []string
}

// add adds the flags, which may be given several times.
func (s *signerFlags) add(fs *flag.FlagSet) {
	s.dir = fs.String("keys", "keys", "`folder` of keys")
	s.list(fs, "role", &s.roleIDs, "a `key` of that folder, such as app or app-2; again for more signers (default: app)")
	s.list(fs, "key", &s.files, "sign with the key in this `file` instead: NAME.pem, NAME.pem.age, NAME.helper or NAME.pk8;\n"+
		strings.Repeat(" ", 26)+"again for more signers")
	s.list(fs, "cert", &s.certs, "`file` of the first key's certificate, PEM or DER; again for the next key's\n"+
		strings.Repeat(" ", 26)+"(default: the one that mios app build makes of a key)")
}

func (s *signerFlags) list(fs *flag.FlagSet, name string, to *[]string, help string) {
	fs.Func(name, help, func(v string) error {
		*to = append(*to, v)
		return nil
	})
}

// signers loads them.
func (s *signerFlags) signers(e env) ([]apksig.Signer, error) {
	var keys []crypto.Signer
	switch {
	case len(s.files) > 0 && len(s.roleIDs) > 0:
		return nil, fmt.Errorf("%w: --key and --role: want keys in files or in a folder", errUsage)
	case len(s.files) > 0:
		for _, path := range s.files {
			k, err := loadKey(e, path)
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
	default:
		set, err := openKeys(e, *s.dir)
		if err != nil {
			return nil, err
		}
		if len(s.roleIDs) == 0 {
			s.roleIDs = []string{key.App}
		}
		for _, name := range s.roleIDs {
			k, err := set.Signer(name)
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
	}
	if len(s.certs) > len(keys) {
		return nil, fmt.Errorf("%w: %d certificates for %d keys", errUsage, len(s.certs), len(keys))
	}
	var out []apksig.Signer
	for i, k := range keys {
		cert := ""
		if i < len(s.certs) {
			cert = s.certs[i]
		}
		signer, err := withCertificate(k, cert)
		if err != nil {
			return nil, err
		}
		out = append(out, signer)
	}
	return out, nil
}

// loadKey reads a private key from a file of its own: as all keys are kept, or
// as AOSP's and Android's tools keep them, PKCS #8 in DER (NAME.pk8), or DSA.
func loadKey(e env, path string) (crypto.Signer, error) {
	k, err := key.Load(path, passphrase(e))
	if !errors.Is(err, mios.ErrInvalid) {
		return k, err
	}
	b, readErr := readSmall(path)
	if readErr != nil {
		return nil, readErr
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	if k, derErr := apksig.ParsePrivateKey(b); derErr == nil {
		return k, nil
	}
	return nil, err
}

// withCertificate is a key with its certificate: that in a file, or else the one
// that packages of the key are known by.
func withCertificate(k crypto.Signer, path string) (apksig.Signer, error) {
	if path == "" {
		der, err := app.Certificate(k)
		if err != nil {
			return apksig.Signer{}, fmt.Errorf("%w: give the key's own with --cert", err)
		}
		return apksig.Signer{Key: k, Certificate: der}, nil
	}
	chain, err := loadCertificates(path)
	if err != nil {
		return apksig.Signer{}, err
	}
	return apksig.Signer{Key: k, Certificate: chain[0], Chain: chain[1:]}, nil
}

// loadCertificates reads certificates in PEM, the signer's own first, or one in
// DER, and returns them in DER.
func loadCertificates(path string) ([][]byte, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			list = append(list, block.Bytes)
		}
	}
	if len(list) == 0 {
		if _, err := x509.ParseCertificate(b); err != nil {
			return nil, fmt.Errorf("%s: no certificate in PEM (BEGIN CERTIFICATE), and none in DER: %v", path, err)
		}
		list = [][]byte{b}
	}
	return list, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCertificate+1))
	if err == nil && len(b) > maxCertificate {
		err = fmt.Errorf("%s: over %d bytes", path, maxCertificate)
	}
	return b, err
}

// lineageMagic is what a file of a lineage begins with.
const lineageMagic = 0x3eff39d1

// openLineage reads a lineage's file, or a package that has one; "" is none.
func openLineage(path string) (*apksig.Lineage, error) {
	if path == "" {
		return nil, nil
	}
	f, size, err := openPackage(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [4]byte
	if _, err := f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var l *apksig.Lineage
	if binary.LittleEndian.Uint32(head[:]) == lineageMagic {
		var b []byte
		if b, err = readSmall(path); err == nil {
			l, err = apksig.ParseLineage(b)
		}
	} else {
		l, err = apksig.ReadLineage(f, size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}
