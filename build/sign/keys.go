package sign

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mios"
	"mios/build/app"
	"mios/format/apksig"
	"mios/key"
)

// The endings that META gives certificates and keys.
const (
	extCertificate = ".x509.pem"
	extPK8         = ".pk8"
	extPEM         = ".pem"
)

// maxKeyFile is more than any file of a key or its certificates needs, in bytes.
const maxKeyFile = 1 << 20

// A Folder is a folder of keys: NAME.pem, NAME.pem.age or NAME.helper as mios
// keeps them, or NAME.pk8 as releasetools wants them; and NAME.x509.pem, the
// certificate, without which one is made of the key.
type Folder struct {
	Path string
	Pass key.Passphrase
}

// Dir implements [Keys].
func (f Folder) Dir() string { return f.Path }

// Key implements [Keys]. A name with a slash is a file of its own, without its
// ending or with it.
func (f Folder) Key(name string) (*Key, error) {
	if base := filepath.Base(name); base == "." || base == ".." || base == "/" {
		return nil, fmt.Errorf("key %q: %w: no name of a file", name, mios.ErrInvalid)
	}
	file := filepath.Join(f.Path, name)
	if strings.Contains(name, "/") {
		file = name
	}
	for _, ext := range []string{extPEM, ".pem.age", ".helper", extPK8} {
		file = strings.TrimSuffix(file, ext)
	}
	var found []string
	for _, ext := range []string{extPEM, ".pem.age", ".helper", extPK8} {
		if _, err := os.Stat(file + ext); err == nil {
			found = append(found, file+ext)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("key %s: %w in %s", name, mios.ErrNotFound, f.Path)
	case 1:
	default:
		return nil, fmt.Errorf("key %s: both %s and %s: %w: remove one", name, found[0], found[1], mios.ErrConflict)
	}
	signer, err := loadKey(found[0], f.Pass)
	if err != nil {
		return nil, err
	}
	k := &Key{Name: filepath.Base(file), Signer: signer}
	return k, k.addCertificates(file + extCertificate)
}

func loadKey(file string, pass key.Passphrase) (crypto.Signer, error) {
	if !strings.HasSuffix(file, extPK8) {
		return key.Load(file, pass)
	}
	b, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	k, err := apksig.ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: of one with a password make %s.pem: openssl pkcs8 -inform DER -in %s -out %s.pem",
			file, err, strings.TrimSuffix(file, extPK8), file, strings.TrimSuffix(file, extPK8))
	}
	return k, nil
}

// addCertificates reads the key's certificate, and those that follow it, if
// there is such a file.
func (k *Key) addCertificates(file string) error {
	b, err := readSmall(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	chain := pemCertificates(b)
	if len(chain) == 0 {
		chain = [][]byte{b}
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("%s: no certificate in PEM (BEGIN CERTIFICATE) nor DER: %w", file, err)
	}
	if pub, ok := k.Signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return fmt.Errorf("%s: it is not the certificate of the key beside it: %w", file, mios.ErrConflict)
	}
	k.Certificate, k.Chain = chain[0], chain[1:]
	return nil
}

// pemCertificates returns the certificates in a text, in DER.
func pemCertificates(b []byte) [][]byte {
	var list [][]byte
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return list
		}
		if block.Type == "CERTIFICATE" {
			list = append(list, block.Bytes)
		}
	}
}

func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = fmt.Errorf("%s: over %d bytes", name, maxKeyFile)
	}
	return b, err
}

// A keyring finds the vendor's keys for what META and images name, and keeps
// which of them are missing.
type keyring struct {
	o *Options

	mu      sync.Mutex
	loaded  map[string]*Key // nil: it is not there
	missing map[string]*Missing
	order   []string // of missing
}

func newKeyring(o *Options) *keyring {
	return &keyring{o: o, loaded: map[string]*Key{}, missing: map[string]*Missing{}}
}

// load returns the key of that name, or nil if it is not there.
func (r *keyring) load(name string) (*Key, error) {
	if k, ok := r.loaded[name]; ok {
		return k, nil
	}
	k, err := r.o.Keys.Key(name)
	switch {
	case errors.Is(err, mios.ErrNotFound):
		k = nil
	case err != nil:
		return nil, err
	}
	r.loaded[name] = k
	return k, nil
}

// first returns the first key that is there, or notes the first name as
// missing, for what is at path.
func (r *keyring) first(names []string, use, old, path string) (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if k, err := r.load(name); k != nil || err != nil {
			return k, err
		}
	}
	m := r.missing[names[0]]
	if m == nil {
		m = &Missing{Name: names[0], Old: old, Use: use}
		r.missing[names[0]] = m
		r.order = append(r.order, names[0])
	}
	if !slices.Contains(m.For, path) {
		m.For = append(m.For, path)
	}
	return nil, nil
}

// list returns all that is missing.
func (r *keyring) list() []Missing {
	var out []Missing
	for _, name := range r.order {
		out = append(out, *r.missing[name])
	}
	return out
}

// special reports whether META says by it that a package keeps its signature.
func special(name string) bool { return name == Presigned || name == "EXTERNAL" }

// mapped is what a mapping names in place of an old key, by its path or the
// last element of that.
func (r *keyring) mapped(old string) (string, bool) {
	if to, ok := r.o.Mapping[old]; ok {
		return to, true
	}
	to, ok := r.o.Mapping[path.Base(old)]
	return to, ok
}

// dashes is a name as mios keys writes it behind a role.
func dashes(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
}

// certificateNames are the names under which the key may be that takes the place
// of a certificate's, which META names old, without ending.
func (r *keyring) certificateNames(old string) []string {
	if to, ok := r.mapped(old); ok {
		return []string{to}
	}
	base := path.Base(old)
	if base == "testkey" || base == "devkey" || base == "releasekey" {
		return []string{"releasekey", "app-releasekey", "app"}
	}
	return []string{base, "app-" + dashes(base)}
}

// payloadNames are those for the AVB key of an APEX's payload.
func (r *keyring) payloadNames(file, old string) []string {
	if to, ok := r.o.Payloads[file]; ok {
		return []string{to}
	}
	if to, ok := r.mapped(strings.TrimSuffix(old, extPEM)); ok {
		return []string{to}
	}
	if to, ok := r.mapped(old); ok {
		return []string{to}
	}
	base := strings.TrimSuffix(path.Base(old), extPEM)
	return []string{base, "avb-" + dashes(base), "avb-apex"}
}

// avbNames are those for the key of a partition's vbmeta image.
func (r *keyring) avbNames(partition string) []string {
	if to, ok := r.o.AVB[partition]; ok {
		return []string{to}
	}
	return []string{"avb-" + dashes(partition), "avb_" + partition, "avb"}
}

// avb returns the key of a partition's vbmeta image, or nil if it is missing.
func (r *keyring) avb(partition, old string) (*Key, error) {
	names := r.avbNames(partition)
	if len(names) > 1 { // what to make is the key for all of them
		if k, err := r.first(names, "avb", old, partition); k != nil || err != nil {
			return k, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.renameMissing(names[0], names[len(names)-1], partition)
		return nil, nil
	}
	return r.first(names, "avb", old, partition)
}

// renameMissing notes what is missing under another name.
func (r *keyring) renameMissing(from, to, path string) {
	m := r.missing[from]
	delete(r.missing, from)
	r.order = slices.DeleteFunc(r.order, func(s string) bool { return s == from })
	if other := r.missing[to]; other != nil {
		if !slices.Contains(other.For, path) {
			other.For = append(other.For, path)
		}
		return
	}
	m.Name = to
	r.missing[to] = m
	r.order = append(r.order, to)
}

// certificate returns the key's certificate, in DER; of a key without one, that
// which packages of it are known by.
func (k *Key) certificate() ([]byte, error) {
	if k.Certificate != nil {
		return k.Certificate, nil
	}
	der, err := app.Certificate(k.Signer)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w: put its own beside it, as %s%s", k.Name, err, k.Name, extCertificate)
	}
	k.Certificate = der
	return der, nil
}

// signer is the key as packages are signed with.
func (k *Key) signer() (apksig.Signer, error) {
	der, err := k.certificate()
	return apksig.Signer{Key: k.Signer, Certificate: der, Chain: k.Chain}, err
}

// rsaBits is the size of an RSA key, or 0.
func (k *Key) rsaBits() int {
	if pub, ok := k.Signer.Public().(*rsa.PublicKey); ok {
		return pub.N.BitLen()
	}
	return 0
}

// describe is who signs, for people: the name and the digest of what they are
// known by.
func describe(name string, der []byte) string {
	if len(der) == 0 {
		return cmp.Or(name, "nobody")
	}
	sum := mios.Sum(der).String()
	if name == "" {
		return sum
	}
	return name + " " + sum
}
