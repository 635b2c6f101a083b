package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/key"
)

// avbKeyFlags name the key that signs: in a file, of a role in a folder, or
// behind a helper.
type avbKeyFlags struct {
	file, dir, role, helper, helperFiles string
}

// add adds the flags; name is the one of the key's file.
func (k *avbKeyFlags) add(fs *flag.FlagSet, name string) {
	fs.StringVar(&k.file, name, "", "sign with the RSA key in this `file`: PEM or DER, NAME.pem.age or NAME.helper;\n"+
		strings.Repeat(" ", 26)+"with a signing helper a public key")
	fs.StringVar(&k.dir, "keys", "keys", "`folder` of keys, for --role")
	fs.StringVar(&k.role, "role", "", "sign with a `key` of that folder instead, such as avb or avb-watch")
	fs.StringVar(&k.helper, "signing_helper", "", "`program` that signs: it is given algorithm and key file, the block on standard input")
	fs.StringVar(&k.helperFiles, "signing_helper_with_files", "", "the same, given the block in a file, in whose place it writes the signature: a `program`")
}

// given reports whether there is a key.
func (k *avbKeyFlags) given() bool { return k.file != "" || k.role != "" }

// signer loads the key.
func (k *avbKeyFlags) signer(e env) (crypto.Signer, error) {
	switch {
	case k.file != "" && k.role != "":
		return nil, fmt.Errorf("%w: a key in a file and --role: want one of them", errUsage)
	case k.helper != "" && k.helperFiles != "":
		return nil, fmt.Errorf("%w: --signing_helper and --signing_helper_with_files: want one of them", errUsage)
	case k.role != "":
		set, err := openKeys(e, k.dir)
		if err != nil {
			return nil, err
		}
		return set.Signer(k.role)
	case k.file == "":
		return nil, fmt.Errorf("%w: no key to sign with: give --key FILE or --role avb", errUsage)
	}
	if h := k.helper + k.helperFiles; h != "" {
		pub, err := avbPublic(e, k.file)
		if err != nil {
			return nil, err
		}
		return key.Helper{Command: []string{h}, WithFiles: k.helperFiles != ""}.Signer(pub, k.file)
	}
	return avbPrivate(e, k.file)
}

// avbPrivate reads a private key: as all are kept here, or as openssl keeps it.
func avbPrivate(e env, name string) (crypto.Signer, error) {
	if strings.HasSuffix(name, ".age") || strings.HasSuffix(name, ".helper") {
		return key.Load(name, passphrase(e))
	}
	_, k, err := avbtool.LoadKey(name)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, fmt.Errorf("key %s: a public key cannot sign: give the private one, or a --signing_helper", name)
	}
	warnOpenKey(e, name)
	return k, nil
}

// avbPublic reads the public key of a key file, which may be AVB's own encoding
// too.
func avbPublic(e env, name string) (*rsa.PublicKey, error) {
	if strings.HasSuffix(name, ".age") || strings.HasSuffix(name, ".helper") {
		k, err := key.Load(name, passphrase(e))
		if err != nil {
			return nil, err
		}
		return rsaPublic(name, k)
	}
	if b, err := readSmall(name); err == nil {
		if pub, err := avb.ParsePublicKey(b); err == nil {
			return pub, nil
		}
	}
	pub, _, err := avbtool.LoadKey(name)
	return pub, err
}

func rsaPublic(name string, k crypto.Signer) (*rsa.PublicKey, error) {
	pub, ok := k.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key %s: a %s key: AVB signs with RSA keys", name, key.AlgorithmOf(k.Public()))
	}
	return pub, nil
}

var avbPublicKey = command{"avb public-key", "[flags]", "write a key's public half as AVB stores it\n" +
	"What avbtool extract_public_key does: for avb_pkmd.bin, chain partitions and loaders.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		file := fs.String("key", "", "`file` of the key, private or public, or an image that it signed")
		dir := fs.String("keys", "keys", "`folder` of keys, for --role")
		role := fs.String("role", "", "a `key` of that folder instead, such as avb")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		digest := fs.Bool("digest", false, "write its SHA-256 in hexadecimal, as avbtool extract_public_key_digest does")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		var b []byte
		var err error
		switch {
		case (*file == "") == (*role == ""):
			return fmt.Errorf("%w: give --key FILE or --role avb", errUsage)
		case *file != "":
			b, err = avbKeyBytes(e, *file)
		default:
			b, err = avbRoleBytes(e, *dir, *role)
		}
		if err != nil {
			return err
		}
		if *digest {
			b = fmt.Appendf(nil, "%x", sha256.Sum256(b))
		}
		return writeOut(e, *out, b)
	}}

// avbKeyBytes returns the public key of a file in AVB's encoding: of a key, or
// of an image that is signed.
func avbKeyBytes(e env, name string) ([]byte, error) {
	pub, err := avbPublic(e, name)
	if err == nil {
		return avb.EncodePublicKey(pub)
	}
	if m, imageErr := avbtool.Read(name); imageErr == nil && len(m.PublicKey) > 0 {
		return m.PublicKey, nil
	}
	return nil, err
}

func avbRoleBytes(e env, dir, role string) ([]byte, error) {
	set, err := openKeys(e, dir)
	if err != nil {
		return nil, err
	}
	public, err := set.PublicKey(role)
	if err != nil {
		return nil, err
	}
	pub, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key %s: a %s key: AVB signs with RSA keys", role, key.AlgorithmOf(public))
	}
	return avb.EncodePublicKey(pub)
}

// warnOpenKey says that others may read a private key's file.
func warnOpenKey(e env, name string) {
	if fi, err := os.Stat(name); err == nil && fi.Mode().Perm()&0o077 != 0 {
		fmt.Fprintf(e.stderr, "mios: key %s: others than its owner may use it: chmod 600 %s\n", name, name)
	}
}
