package main

import (
	"context"
	"fmt"
	"time"

	"mios/format/avb"
)

// The commands of avb_cert, the extension of AVB that chains a product's keys to
// one that is burnt into its devices.

var avbCertificate = command{"avb certificate", "[flags]", "make a certificate of the avb_cert extension\n" +
	"What avbtool make_certificate and make_atx_certificate do. Without --authority_key it is not\n" +
	"signed: its 512 bytes of signature are to be appended.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		var authority avbKeyFlags
		authority.add(fs, "authority_key")
		subject := fs.String("subject", "", "`file` of what the key is for: for a signing key, the product's ID")
		key := fs.String("subject_key", "", "`file` of the subject's key, private or public, of 4096 bits")
		version := uint64(time.Now().Unix())
		numberFlag(fs, &version, "subject_key_version", "`number` of the key's version (default: the time, in seconds)")
		usage := fs.String("usage", "", "`text` in place of the usage \""+avb.UsageSigning+"\"")
		authorityUsage := fs.Bool("subject_is_intermediate_authority", false, "the usage is an intermediate authority's")
		unlock := fs.Bool("usage_for_unlock", false, "the usage is unlocking")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		use, err := oneUsage(*usage, *authorityUsage, *unlock)
		if err != nil {
			return err
		}
		if *subject == "" || *key == "" {
			return fmt.Errorf("%w: give --subject and --subject_key", errUsage)
		}
		about, err := readSmall(*subject)
		if err != nil {
			return err
		}
		pub, err := avbPublic(e, *key)
		if err != nil {
			return err
		}
		c, err := avb.NewCertificate(pub, about, use, version)
		if err != nil {
			return err
		}
		if authority.given() {
			signer, err := authority.signer(e)
			if err != nil {
				return err
			}
			if err := c.Sign(signer); err != nil {
				return err
			}
		}
		return writeOut(e, *out, c.Bytes())
	}}

// oneUsage returns the usage that the flags name, of which one may be given.
func oneUsage(text string, authority, unlock bool) (string, error) {
	given, usage := 0, avb.UsageSigning
	for _, u := range []struct {
		on   bool
		text string
	}{{text != "", text}, {authority, avb.UsageIntermediateAuthority}, {unlock, avb.UsageUnlock}} {
		if u.on {
			given++
			usage = u.text
		}
	}
	if given > 1 {
		return "", fmt.Errorf("%w: --usage, --subject_is_intermediate_authority and --usage_for_unlock: want one of them", errUsage)
	}
	return usage, nil
}

var avbPermanentAttributes = command{"avb permanent-attributes", "[flags]", "make what is burnt into devices with the avb_cert extension\n" +
	"What avbtool make_cert_permanent_attributes and make_atx_permanent_attributes do.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		root := fs.String("root_authority_key", "", "`file` of the root authority's key, private or public, of 4096 bits")
		id := fs.String("product_id", "", "`file` of the product's ID, 16 bytes")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		if *root == "" || *id == "" {
			return fmt.Errorf("%w: give --root_authority_key and --product_id", errUsage)
		}
		pub, err := avbPublic(e, *root)
		if err != nil {
			return err
		}
		product, err := readSmall(*id)
		if err != nil {
			return err
		}
		b, err := avb.CertPermanentAttributes(pub, product)
		if err != nil {
			return err
		}
		return writeOut(e, *out, b)
	}}

var avbCertMetadata = command{"avb cert-metadata", "[flags]", "make the public key metadata of images that are signed with avb_cert\n" +
	"What avbtool make_cert_metadata and make_atx_metadata do. The second certificate must be\n" +
	"signed by the first one's key.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		intermediate := fs.String("intermediate_key_certificate", "", "`file` of the product intermediate key's certificate")
		product := fs.String("product_key_certificate", "", "`file` of the product signing key's certificate")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		pik, psk, err := readCertificates(*intermediate, *product)
		if err != nil {
			return err
		}
		b, err := (&avb.CertMetadata{Intermediate: pik, Signing: psk}).Bytes()
		if err != nil {
			return err
		}
		return writeOut(e, *out, b)
	}}

var avbUnlockCredential = command{"avb unlock-credential", "[flags]", "make what unlocks a device with the avb_cert extension\n" +
	"What avbtool make_cert_unlock_credential and make_atx_unlock_credential do. Without\n" +
	"--challenge and --unlock_key the signature is to be appended.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		intermediate := fs.String("intermediate_key_certificate", "", "`file` of the product intermediate key's certificate")
		unlock := fs.String("unlock_key_certificate", "", "`file` of the product unlock key's certificate")
		challenge := fs.String("challenge", "", "`file` of the device's challenge, 16 bytes")
		var key avbKeyFlags
		key.add(fs, "unlock_key")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		if (*challenge != "") != key.given() {
			return fmt.Errorf("%w: --challenge and the unlock key: give both or none", errUsage)
		}
		pik, puk, err := readCertificates(*intermediate, *unlock)
		if err != nil {
			return err
		}
		if *challenge == "" {
			b, err := avb.CertUnlockCredential(pik, puk, nil, nil)
			if err != nil {
				return err
			}
			return writeOut(e, *out, b)
		}
		text, err := readSmall(*challenge)
		if err != nil {
			return err
		}
		signer, err := key.signer(e)
		if err != nil {
			return err
		}
		b, err := avb.CertUnlockCredential(pik, puk, text, signer)
		if err != nil {
			return err
		}
		return writeOut(e, *out, b)
	}}

// readCertificates reads an authority's certificate and one that it signed.
func readCertificates(authority, name string) (pik, c *avb.Certificate, err error) {
	if authority == "" || name == "" {
		return nil, nil, fmt.Errorf("%w: give both certificates", errUsage)
	}
	if pik, err = readCertificate(authority); err != nil {
		return nil, nil, err
	}
	if c, err = readCertificate(name); err != nil {
		return nil, nil, err
	}
	if err := c.Verify(pik.PublicKey); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: it must be signed by the key of %s", name, err, authority)
	}
	return pik, c, nil
}

func readCertificate(name string) (*avb.Certificate, error) {
	b, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	c, err := avb.ParseCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: mios avb certificate makes one", name, err)
	}
	return c, nil
}
