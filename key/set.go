package key

import (
	"cmp"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mios"
	"mios/internal/atomicfile"
)

// PassphraseEnv names the environment variable that the commands take the
// passphrase of encrypted keys from.
const PassphraseEnv = "MIOS_KEY_PASSPHRASE"

// A Passphrase is asked for the passphrase of the encrypted key named name. It
// may be nil, which refuses encrypted keys.
type Passphrase func(name string) (string, error)

// FromEnv is the [Passphrase] of [PassphraseEnv].
func FromEnv(name string) (string, error) {
	p := os.Getenv(PassphraseEnv)
	if p == "" {
		return "", fmt.Errorf("key %s is encrypted: set %s to its passphrase", name, PassphraseEnv)
	}
	return p, nil
}

// The endings of the files in a folder of keys. A helper's public key stands
// beside it.
const (
	extPEM    = ".pem"     // PKCS#8, mode 0600
	extAge    = ".pem.age" // the same, encrypted with a passphrase
	extHelper = ".helper"  // a JSON [Helper], with NAME.pub.pem beside it
	extPublic = ".pub.pem" // PKIX
)

// markerFile makes a folder one of development keys.
const markerFile = "DEVELOPMENT-KEYS"

// A Set is a folder of keys, each in a file named after its role, with "-2",
// "-3" and so on for a role's further keys.
type Set struct {
	dir  string
	pass Passphrase
}

// Open returns the keys in the folder dir.
func Open(dir string, pass Passphrase) (*Set, error) {
	fi, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("keys %s: %w: make some with mios keys init %s", dir, mios.ErrNotFound, dir)
	case err != nil:
		return nil, err
	case !fi.IsDir():
		return nil, fmt.Errorf("keys %s: not a folder: %w", dir, mios.ErrInvalid)
	}
	return &Set{dir: dir, pass: pass}, nil
}

// Dir returns the set's folder.
func (s *Set) Dir() string { return s.dir }

// Signer returns the key of that name: a role's, for its first key, or one as
// [RoleOf] takes. The error wraps [mios.ErrNotFound] where the set has none.
func (s *Set) Signer(name string) (crypto.Signer, error) {
	r, err := RoleOf(name)
	if err != nil {
		return nil, err
	}
	signer, err := s.load(name)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, s.missing(r, name)
	}
	return signer, err
}

// PublicKey returns the public key of that name, without a passphrase where
// NAME.pub.pem is there.
func (s *Set) PublicKey(name string) (crypto.PublicKey, error) {
	r, err := RoleOf(name)
	if err != nil {
		return nil, err
	}
	pub, err := s.public(name)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, s.missing(r, name)
	}
	return pub, err
}

func (s *Set) missing(r Role, name string) error {
	return fmt.Errorf("keys %s: %s key: %w: it signs %s; copy it there as %s.pem, or name the folder that has it",
		s.dir, name, mios.ErrNotFound, r.Use, name)
}

// Signers returns all keys that the set has for a role, which may be none.
func (s *Set) Signers(role string) ([]crypto.Signer, error) {
	r, err := FindRole(role)
	if err != nil {
		return nil, err
	}
	var signers []crypto.Signer
	for i := range maxKeys {
		signer, err := s.load(r.KeyName(i))
		if errors.Is(err, mios.ErrNotFound) {
			continue // the others of a role may be with somebody else
		}
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer)
	}
	return signers, nil
}

// maxKeys is how many keys a role may have in a set.
const maxKeys = 9

// Public returns the public keys that the set has for a role: those of its
// private keys, and those of NAME.pub.pem without a private key.
func (s *Set) Public(role string) ([]crypto.PublicKey, error) {
	r, err := FindRole(role)
	if err != nil {
		return nil, err
	}
	var keys []crypto.PublicKey
	for i := range maxKeys {
		pub, err := s.public(r.KeyName(i))
		switch {
		case errors.Is(err, mios.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		keys = append(keys, pub)
	}
	return keys, nil
}

// public reads NAME.pub.pem, or else takes the public half of the private key.
func (s *Set) public(name string) (crypto.PublicKey, error) {
	pub, err := LoadPublic(filepath.Join(s.dir, name+extPublic))
	if !errors.Is(err, fs.ErrNotExist) {
		return pub, err
	}
	signer, err := s.load(name)
	if err != nil {
		return nil, err
	}
	return signer.Public(), nil
}

func (s *Set) load(name string) (crypto.Signer, error) {
	var found []string
	for _, ext := range []string{extPEM, extAge, extHelper} {
		if _, err := os.Stat(filepath.Join(s.dir, name+ext)); err == nil {
			found = append(found, name+ext)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("keys %s: %s: %w", s.dir, name, mios.ErrNotFound)
	case 1:
		return s.loadFile(name, found[0])
	}
	return nil, fmt.Errorf("keys %s: both %s and %s: %w: remove one", s.dir, found[0], found[1], mios.ErrConflict)
}

// loadFile loads a private key and compares it with the public key beside it:
// what is listed and trusted must be what signs.
func (s *Set) loadFile(name, file string) (crypto.Signer, error) {
	signer, err := Load(filepath.Join(s.dir, file), s.pass)
	if err != nil {
		return nil, err
	}
	pub, err := LoadPublic(filepath.Join(s.dir, name+extPublic))
	if errors.Is(err, fs.ErrNotExist) {
		return signer, nil
	}
	if err != nil {
		return nil, err
	}
	if same, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(pub) {
		return nil, fmt.Errorf("keys %s: %s and %s are not of one key: %w: remove the one that is wrong",
			s.dir, file, name+extPublic, mios.ErrConflict)
	}
	return signer, nil
}

// Info is what [Set.List] says of one key.
type Info struct {
	Name        string    `json:"name"` // root-2
	Role        string    `json:"role"`
	Algorithm   Algorithm `json:"algorithm"`
	Kind        string    `json:"kind"` // file, encrypted, helper or public
	Fingerprint string    `json:"sha256"`
	Offline     bool      `json:"offline"`
	Development bool      `json:"development"`
	Use         string    `json:"use"`
}

// Names returns the names of all keys that the set has for a role, private or
// public, those of a product's own included: "ota", "ota-2", "ota-watch".
func (s *Set) Names(role string) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, e := range entries {
		for _, ext := range []string{extPublic, extAge, extHelper, extPEM} { // .pem ends the others too
			if name, ok := strings.CutSuffix(e.Name(), ext); ok {
				if r, err := RoleOf(name); err == nil && r.Name == role {
					names[name] = true
				}
				break
			}
		}
	}
	return slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	}), nil
}

// List describes the set's keys in the order of [Roles], without a passphrase:
// it reads public keys alone.
func (s *Set) List() ([]Info, error) {
	var list []Info
	for _, r := range Roles {
		names, err := s.Names(r.Name)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			info, err := s.info(r, name)
			if err != nil {
				return nil, err
			}
			list = append(list, info)
		}
	}
	return list, nil
}

func (s *Set) info(r Role, name string) (Info, error) {
	info := Info{Name: name, Role: r.Name, Offline: r.Offline, Use: r.Use, Kind: "public", Development: IsDevelopment(s.dir)}
	for ext, kind := range map[string]string{extPEM: "file", extAge: "encrypted", extHelper: "helper"} {
		if _, err := os.Stat(filepath.Join(s.dir, name+ext)); err == nil {
			info.Kind = kind
		}
	}
	pub, err := LoadPublic(filepath.Join(s.dir, name+extPublic))
	if errors.Is(err, fs.ErrNotExist) && info.Kind == "file" {
		var signer crypto.Signer
		if signer, err = s.load(name); err == nil {
			pub = signer.Public()
		}
	}
	if err != nil {
		return info, err
	}
	info.Algorithm = AlgorithmOf(pub)
	info.Fingerprint, err = Fingerprint(pub)
	return info, err
}

// IsDevelopment tells whether the folder dir was made by [Init] with
// [InitOptions.Development]: keys for a desk, which nobody has kept secret.
func IsDevelopment(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, markerFile))
	return err == nil
}

// IsDevelopment tells the same of the set's folder.
func (s *Set) IsDevelopment() bool { return IsDevelopment(s.dir) }

// InitOptions say which keys [Init] makes, and how they are kept.
type InitOptions struct {
	// Development marks the keys, loudly, as a desk's: not encrypted.
	Development bool
	// Roles are the roles to make keys for; none means all.
	Roles []string
	// Passphrase encrypts the keys; "" leaves them in plain files.
	Passphrase string
	// Made is called after each key, may be nil.
	Made func(name string, alg Algorithm)
}

const developmentNotice = `These are DEVELOPMENT KEYS of miOS, made on a desk and kept without a passphrase.
Whoever can read this folder can sign for your devices.
NEVER ship a device that trusts them: make real keys with "mios keys init".
`

// Init makes the keys of all roles, or of some, in the folder dir. Keys that
// are there already stay as they are, so that it can be run again. A folder
// holds either development keys or real ones: the other kind is refused with
// an error that wraps [mios.ErrConflict].
func Init(dir string, o InitOptions) error {
	if o.Development && o.Passphrase != "" {
		return fmt.Errorf("development keys have no passphrase: %w", mios.ErrInvalid)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.p*em*"))
	if err != nil {
		return err
	}
	switch {
	case len(names) > 0 && IsDevelopment(dir) != o.Development:
		return fmt.Errorf("keys %s: %w: development keys and real ones do not go into one folder; name another", dir, mios.ErrConflict)
	case o.Development:
		if err := atomicfile.WriteBytes(filepath.Join(dir, markerFile), []byte(developmentNotice), 0o644); err != nil {
			return err
		}
	}
	roles := Roles
	if len(o.Roles) > 0 {
		roles = nil
		for _, name := range o.Roles {
			r, err := FindRole(name)
			if err != nil {
				return err
			}
			roles = append(roles, r)
		}
	}
	set := &Set{dir: dir}
	for _, r := range roles {
		for i := range r.Count {
			if err := set.make(r.KeyName(i), r.Algorithm, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Set) make(name string, alg Algorithm, o InitOptions) error {
	for _, ext := range []string{extPEM, extAge, extHelper} {
		if _, err := os.Stat(filepath.Join(s.dir, name+ext)); err == nil {
			return nil
		}
	}
	k, err := Generate(alg)
	if err != nil {
		return err
	}
	ext, comment := extPEM, ""
	if o.Passphrase != "" {
		ext = extAge
	}
	if o.Development {
		comment = "miOS DEVELOPMENT KEY " + name + ": never ship a device that trusts it"
	}
	// The private key comes last: it makes the key exist.
	if err := SavePublic(filepath.Join(s.dir, name+extPublic), k.Public()); err != nil {
		return err
	}
	if err := Save(filepath.Join(s.dir, name+ext), k, o.Passphrase, comment); err != nil {
		return err
	}
	if o.Made != nil {
		o.Made(name, alg)
	}
	return nil
}

// AddHelper puts a key that a command signs with into the set, as name, such
// as "avb" or "root-2".
func (s *Set) AddHelper(name string, pub crypto.PublicKey, h Helper) error {
	if _, err := RoleOf(name); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	for _, ext := range []string{extPEM, extAge} {
		if _, err := os.Stat(filepath.Join(s.dir, name+ext)); err == nil {
			return fmt.Errorf("keys %s: %s%s is there: %w: remove it first", s.dir, name, ext, mios.ErrConflict)
		}
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	if err := SavePublic(filepath.Join(s.dir, name+extPublic), pub); err != nil {
		return err
	}
	return atomicfile.WriteBytes(filepath.Join(s.dir, name+extHelper), append(b, '\n'), 0o600)
}
