package sign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mios"
	"mios/key"
)

// MakeKeys makes the keys of a list that [Plan] gave in the folder dir, encrypted
// with the passphrase, or, with development, as a desk's: then a new folder has
// the key avb, too, by which it is known. Keys that are there stay. Made is called after each, and may be nil.
func MakeKeys(dir string, list []Missing, passphrase string, development bool, made func(name string)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	switch dev := key.IsDevelopment(dir); {
	case development && passphrase != "":
		return fmt.Errorf("development keys have no passphrase: %w", mios.ErrInvalid)
	case development && !dev: // which marks the folder, too
		if err := key.Init(dir, key.InitOptions{Development: true, Roles: []string{key.AVB}}); err != nil {
			return err
		}
		if made != nil {
			made(key.AVB)
		}
	case !development && dev:
		return fmt.Errorf("keys %s: %w: development keys and real ones do not go into one folder; name another", dir, mios.ErrConflict)
	}
	folder := Folder{Path: dir}
	for _, m := range list {
		if _, err := folder.Key(m.Name); !errors.Is(err, mios.ErrNotFound) {
			continue
		}
		alg := key.RSA4096
		if m.Use == kindVerityKey {
			alg = key.RSA2048
		}
		if err := makeKey(dir, m.Name, alg, passphrase, development); err != nil {
			return err
		}
		if made != nil {
			made(m.Name)
		}
	}
	return nil
}

func makeKey(dir, name string, alg key.Algorithm, passphrase string, development bool) error {
	k, err := key.Generate(alg)
	if err != nil {
		return err
	}
	file, comment := filepath.Join(dir, name), ""
	if development {
		comment = "miOS DEVELOPMENT KEY " + name + ": never ship a device that trusts it"
	}
	ext := extPEM
	if passphrase != "" {
		ext += ".age"
	}
	// The private key comes last: it makes the key exist.
	if err := key.SavePublic(file+".pub.pem", k.Public()); err != nil {
		return err
	}
	return key.Save(file+ext, k, passphrase, comment)
}
