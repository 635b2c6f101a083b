package main

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"

	"mios"
	"mios/build/ota"
	"mios/internal/progress"
	"mios/key"
)

var otaVerify = command{"ota verify", "[flags] UPDATE", "verify the signatures and hashes of an update\n" +
	"UPDATE is a payload.bin, the folder of one, or an OTA zip. Both signatures of the payload, the hash\n" +
	"of every operation's data, and of a package the signature over the whole file, as recovery does, and\n" +
	"where it says that its pieces are. What was not right is told, and the exit status is 1.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o otaVerifyOptions
		fs.StringVar(&o.keys, "keys", "keys", "`folder` of keys; those of the role ota are trusted")
		fs.StringVar(&o.key, "key", "", "trust the keys in this `file` instead: PUBLIC KEY or CERTIFICATE in PEM")
		fs.BoolVar(&o.json, "json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		return o.run(ctx, e, fs.Arg(0))
	}}

type otaVerifyOptions struct {
	keys, key string
	json      bool
}

// A trusted key has the name under which it is told of.
type trusted struct {
	name string
	pub  *rsa.PublicKey
}

// trust reads the keys.
func (o *otaVerifyOptions) trust(e env) (list []trusted, err error) {
	if o.key == "" {
		set, err := openKeys(e, o.keys)
		if errors.Is(err, mios.ErrNotFound) {
			return nil, fmt.Errorf("keys %s: %w: name with --keys, or --key, whose signature is right; mios inspect takes the update's own key", o.keys, mios.ErrNotFound)
		} else if err != nil {
			return nil, err
		}
		names, err := set.Names(key.OTA)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			pub, err := set.PublicKey(name)
			if err != nil {
				return nil, err
			}
			if k, ok := pub.(*rsa.PublicKey); ok {
				list = append(list, trusted{filepath.Join(o.keys, name), k})
			}
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%s: no RSA key of the role ota: %w: name one with --key", o.keys, mios.ErrNotFound)
		}
		return list, nil
	}
	if certs, err := otaCertificates(o.key); err == nil {
		for _, c := range certs {
			if k, ok := c.PublicKey.(*rsa.PublicKey); ok {
				list = append(list, trusted{o.key, k})
			}
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	keys, err := readPayloadKeys(o.key)
	for _, k := range keys {
		list = append(list, trusted{o.key, k})
	}
	return list, err
}

// A finding is what became of one thing that was verified.
type finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (o *otaVerifyOptions) run(ctx context.Context, e env, name string) error {
	keys, err := o.trust(e)
	if err != nil {
		return err
	}
	u, err := ota.Open(name)
	if err != nil {
		return err
	}
	defer u.Close()
	var list []finding
	judge := func(what, good string, err error) {
		if err != nil {
			list = append(list, finding{what, false, err.Error()})
		} else {
			list = append(list, finding{what, true, good})
		}
	}
	err = e.story(true).Step(ctx, "verify "+name, func(ctx context.Context, t *progress.Task) error {
		o.payload(ctx, u, keys, t, judge)
		if u.Package != nil {
			o.pack(ctx, u, keys, judge)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	bad := 0
	for _, v := range list {
		if !v.OK {
			bad++
		}
	}
	if o.json {
		if err := printJSON(e, map[string]any{"file": u.Path, "ok": bad == 0, "findings": list}); err != nil {
			return err
		}
	} else {
		p := newPage(e.stdout)
		for _, v := range list {
			mark := "ok "
			if !v.OK {
				mark = "BAD"
			}
			p.line("%s  %s: %s", mark, v.What, v.Detail)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%s: %d of %d are not right: %w", name, bad, len(list), mios.ErrInvalid)
	}
	return nil
}

// payload verifies the payload. Signature and data are told apart: a payload that
// is whole, but another's, is not a broken one.
func (o *otaVerifyOptions) payload(ctx context.Context, u *ota.Update, keys []trusted, t *progress.Task, judge func(what, good string, err error)) {
	m := u.Metadata
	signer, err := signedBy(keys, func(k []*rsa.PublicKey) error { return m.Signatures.Verify(m.Hash(), k) })
	judge("metadata signature", signer, err)
	if want := m.PayloadSize(); u.Size != want {
		judge("payload", "", fmt.Errorf("%d bytes, want %d: %w", u.Size, want, mios.ErrInvalid))
		return
	}
	f, err := m.ReadFile(ctx, u.Payload, t.Bytes)
	judge("operations", fmt.Sprintf("%d, all data as the manifest says", m.Manifest.Operations()), err)
	if err != nil {
		return
	}
	signer, err = signedBy(keys, func(k []*rsa.PublicKey) error { return f.Signatures.Verify(f.Signed, k) })
	judge("payload signature", signer, err)
	judge("payload", fmt.Sprintf("SHA-256 %x", f.SHA256), nil)
}

// pack verifies what a package adds.
func (o *otaVerifyOptions) pack(ctx context.Context, u *ota.Update, keys []trusted, judge func(what, good string, err error)) {
	var signer string
	var err error
	for _, k := range keys {
		if _, err = u.Package.Verify(ctx, []*x509.Certificate{certificateOf(k.pub)}); err == nil {
			signer = "by " + k.name + " (" + shortKey(k.pub) + ")"
			break
		}
	}
	judge("signature over the whole package", signer, err)
	judge("places of its pieces", "as its property files say", u.Package.CheckPropertyFiles())
	if sum := propertyMap(u.Package.Properties)["METADATA_HASH"]; sum != metadataHash(u) {
		judge("payload_properties.txt", "", fmt.Errorf("it is of another payload: METADATA_HASH=%s: %w", sum, mios.ErrInvalid))
	} else {
		judge("payload_properties.txt", "of this payload", nil)
	}
}

// metadataHash returns METADATA_HASH of payload_properties.txt as it should be.
func metadataHash(u *ota.Update) string {
	sum := u.Metadata.Hash()
	return base64.StdEncoding.EncodeToString(sum[:])
}

// signedBy returns which key verify accepts.
func signedBy(keys []trusted, verify func([]*rsa.PublicKey) error) (string, error) {
	err := errors.New("no key")
	for _, k := range keys {
		if err = verify([]*rsa.PublicKey{k.pub}); err == nil {
			return "by " + k.name + " (" + shortKey(k.pub) + ")", nil
		}
	}
	return "", err
}

// shortKey names a key by the beginning of its fingerprint.
func shortKey(k *rsa.PublicKey) string {
	print, err := key.Fingerprint(k)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("RSA %d, SHA-256 %.16s", k.N.BitLen(), print)
}
