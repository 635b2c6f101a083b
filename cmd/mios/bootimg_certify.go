package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/bootimg"
	"mios/internal/atomicfile"
)

// Sizes of GKI certificates in a boot image, in bytes: mkbootimg's, and what
// certify_bootimg appends (its BOOT_SIGNATURE_SIZE).
const (
	legacySignatureSize = 4096
	certificateSize     = 16 << 10
)

// certificateSalt is what AOSP's tools take where no salt is given.
var certificateSalt = []byte{0xd0, 0x0d, 0xf0, 0x0d}

// vbmetaOptions are avbtool's options for a vbmeta image, as its callers hand
// them on.
type vbmetaOptions struct {
	avb.VBMeta
	props []avb.Descriptor
	salt  []byte // nil: not given
	hash  string
	key   string // file
}

// parseVBMetaOptions reads avbtool's options in words.
func parseVBMetaOptions(words []string) (*vbmetaOptions, error) {
	o := &vbmetaOptions{hash: "sha256", VBMeta: avb.VBMeta{Release: avbtool.Release}}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	prop := func(read func(string) ([]byte, error)) func(string) error {
		return func(s string) error {
			k, v, ok := strings.Cut(s, ":")
			if !ok {
				return errors.New("want KEY:VALUE")
			}
			b, err := read(v)
			o.props = append(o.props, &avb.PropertyDescriptor{Key: k, Value: b})
			return err
		}
	}
	fs.Func("prop", "", prop(func(s string) ([]byte, error) { return []byte(s), nil }))
	fs.Func("prop_from_file", "", prop(readSmall))
	fs.Func("salt", "", func(s string) (err error) {
		if o.salt, err = hex.DecodeString(s); o.salt == nil {
			o.salt = []byte{}
		}
		return err
	})
	fs.Func("algorithm", "", func(s string) (err error) {
		o.Algorithm, err = avb.ParseAlgorithm(s)
		return err
	})
	fs.StringVar(&o.key, "key", "", "")
	fs.StringVar(&o.hash, "hash_algorithm", o.hash, "")
	fs.StringVar(&o.Release, "internal_release_string", o.Release, "")
	fs.Uint64Var(&o.RollbackIndex, "rollback_index", 0, "")
	location, flags := fs.Uint("rollback_index_location", 0, ""), fs.Uint("flags", 0, "")
	if err := fs.Parse(words); err != nil {
		return nil, fmt.Errorf("%w: arguments for avbtool: %v", errUsage, err)
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%w: arguments for avbtool: unexpected %q", errUsage, fs.Arg(0))
	}
	o.RollbackIndexLocation, o.Flags = uint32(*location), avb.Flags(*flags)
	return o, nil
}

// certificate returns a vbmeta image with the digest of b under a name, as
// generate_gki_certificate makes it.
func certificate(b []byte, name string, signer crypto.Signer, alg avb.Algorithm, words []string) ([]byte, error) {
	o, err := parseVBMetaOptions(words)
	if err != nil {
		return nil, err
	}
	if o.salt == nil {
		o.salt = certificateSalt
	}
	h := sha256.New()
	switch o.hash {
	case "sha256":
	case "sha512":
		h = sha512.New()
	default:
		return nil, fmt.Errorf("hash algorithm %q: want sha256 or sha512", o.hash)
	}
	h.Write(o.salt)
	h.Write(b)
	d := &avb.HashDescriptor{ImageSize: uint64(len(b)), HashAlgorithm: o.hash, PartitionName: name, Salt: o.salt, Digest: h.Sum(nil)}
	o.Descriptors = append([]avb.Descriptor{d}, o.props...)
	if err := o.Sign(signer, alg); err != nil {
		return nil, err
	}
	return o.Bytes()
}

// gkiFlags are mkbootimg's flags for the signature of a generic kernel image.
type gkiFlags struct{ key, algorithm, args string }

func (g *gkiFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&g.key, "gki_signing_key", "", "sign with the RSA key in this `file` (version 4; mios boot certify is what came after)")
	fs.StringVar(&g.algorithm, "gki_signing_algorithm", "", "`algorithm` of that signature, such as SHA256_RSA2048")
	fs.String("gki_signing_avbtool_path", "", "`program` that is not needed here")
	fs.StringVar(&g.args, "gki_signing_signature_args", "", "more `arguments` for avbtool add_hash_footer, such as --prop KEY:VALUE")
}

// sign adds the signature to an image, if key and algorithm are given.
func (g *gkiFlags) sign(e env, m *bootimg.Image) error {
	if g.key == "" || g.algorithm == "" || m.Version < 4 {
		return nil
	}
	signer, alg, err := rsaSigner(e, g.key, g.algorithm)
	if err != nil {
		return err
	}
	m.Signature = make([]byte, legacySignatureSize)
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return err
	}
	signed := b.Bytes()[:b.Len()-legacySignatureSize]
	cert, err := certificate(signed, "boot", signer, alg, strings.Fields(g.args))
	if err != nil {
		return err
	}
	if len(cert) > legacySignatureSize {
		return fmt.Errorf("the signature has %d bytes: at most %d: give fewer arguments", len(cert), legacySignatureSize)
	}
	copy(m.Signature, cert)
	return nil
}

// rsaSigner loads a key for an algorithm of AVB.
func rsaSigner(e env, file, algorithm string) (crypto.Signer, avb.Algorithm, error) {
	alg, err := avb.ParseAlgorithm(algorithm)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %v", errUsage, err)
	}
	k, err := avbPrivate(e, file)
	return k, alg, err
}

var bootCertify = command{"boot certify", "[flags] --boot_img FILE --algorithm ALGORITHM --key FILE --output FILE",
	"certify a generic kernel's boot image, as certify_bootimg does\n" +
		"Two certificates are appended, of the whole image and of its kernel, and a footer\n" +
		"with its digest. What was appended before is taken off first.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o certifier
		var keyFile, algorithm, info, image, out string
		for _, f := range []struct {
			to         *string
			name, help string
		}{{&image, "boot_img", "boot image `file`"}, {&algorithm, "algorithm", "`algorithm` of the certificates, such as SHA256_RSA4096"},
			{&keyFile, "key", "`file` of the RSA key"}, {&info, "gki_info", "gki-info.txt `file` with more arguments"},
			{&out, "output", "`file` to write"}, {&out, "out", "the same `file`"}, {&out, "o", "the same `file`"}} {
			fs.StringVar(f.to, f.name, "", f.help)
		}
		split := func(to *[]string) func(string) error {
			return func(s string) error {
				words, err := splitWords(s)
				*to = append(*to, words...)
				return err
			}
		}
		fs.Func("extra_args", "`arguments` for avbtool, for the certificates; may be given again", split(&o.cert))
		fs.Func("extra_footer_args", "`arguments` for avbtool, for the footer; may be given again", split(&o.footer))
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		if image == "" || algorithm == "" || keyFile == "" || out == "" {
			return errUsage
		}
		if err := o.load(info); err != nil {
			return err
		}
		var err error
		if o.key, o.alg, err = rsaSigner(e, keyFile, algorithm); err != nil {
			return err
		}
		return o.certify(e, image, out)
	}}

// A certifier appends certificates.
type certifier struct {
	key          crypto.Signer
	alg          avb.Algorithm
	cert, footer []string // avbtool's arguments
}

// load reads the arguments that a gki-info.txt adds.
func (o *certifier) load(file string) error {
	if file == "" {
		return nil
	}
	b, err := readSmall(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		to := map[string]*[]string{"certify_bootimg_extra_args": &o.cert, "certify_bootimg_extra_footer_args": &o.footer}[name]
		if to == nil {
			continue
		}
		words, err := splitWords(value)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", file, name, err)
		}
		*to = append(*to, words...)
	}
	return nil
}

// certify writes the certified image to the file out.
func (o *certifier) certify(e env, image, out string) error {
	b, err := readPart(image)
	if err != nil {
		return err
	}
	m, err := bootimg.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", image, err)
	}
	if len(m.Kernel) == 0 {
		return fmt.Errorf("%s: it has no kernel to certify", image)
	}
	partition := int64(0)
	if _, footer, err := avb.Read(bytes.NewReader(b), int64(len(b))); err == nil && footer != nil {
		partition = int64(len(b))
		b = b[:footer.OriginalImageSize]
	}
	b = withoutCertificates(b)
	var certs []byte
	for _, c := range []struct {
		name string
		of   []byte
	}{{"boot", b}, {"generic_kernel", m.Kernel}} {
		cert, err := certificate(c.of, c.name, o.key, o.alg, o.cert)
		if err != nil {
			return err
		}
		certs = append(certs, cert...)
	}
	if len(certs) > certificateSize {
		return fmt.Errorf("the certificates have %d bytes, with room for %d: give fewer arguments", len(certs), certificateSize)
	}
	b = append(bytes.Clone(b), certs...)
	b = append(b, make([]byte, certificateSize-len(certs))...)
	return o.write(e, b, partition, out)
}

// withoutCertificates takes off the certificates that b ends with, if it does.
func withoutCertificates(b []byte) []byte {
	if len(b) <= certificateSize {
		return b
	}
	last := b[len(b)-certificateSize:]
	size, err := avb.Size(last)
	if err != nil || size > certificateSize {
		return b
	}
	if _, err := avb.Parse(last[:size]); err != nil {
		return b
	}
	return b[:len(b)-certificateSize]
}

// write writes the image with its footer.
func (o *certifier) write(e env, b []byte, partition int64, out string) error {
	v, err := parseVBMetaOptions(o.footer)
	if err != nil {
		return err
	}
	var signer crypto.Signer
	if v.key != "" {
		if signer, err = avbPrivate(e, v.key); err != nil {
			return err
		}
	}
	if v.salt == nil {
		v.salt = make([]byte, sha256.Size)
		if v.hash == "sha512" {
			v.salt = make([]byte, sha512.Size)
		}
		rand.Read(v.salt)
	}
	v.Descriptors = v.props
	return atomicfile.Fill(out, 0o644, func(f *os.File) error {
		if _, err := f.Write(b); err != nil {
			return err
		}
		_, err := avb.AddHashFooter(f, int64(len(b)), avb.FooterOptions{PartitionName: "boot", PartitionSize: partition,
			HashAlgorithm: v.hash, Salt: v.salt, VBMeta: &v.VBMeta, Key: signer})
		return err
	})
}
