package sign

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/format/fsimage"
	"mios/format/targetfiles"
)

// A pkg is an APK that gets another signature.
type pkg struct {
	path string // in target-files; of one in an APEX or an image, behind "!/"
	gzip bool   // it is compressed as a whole
	key  *Key
	old  []byte // certificate that it is signed with, DER; nil: none
	name string // of the old certificate, as META has it
	keep bool

	idsig bool     // its v4 signature lies beside it, and is made anew
	v4    *content // that
}

// packageName is the name by which META knows an APK: without the ending of a
// compressed one.
func packageName(p string) (name string, compressed bool) {
	base := path.Base(p)
	if name, ok := strings.CutSuffix(base, ".gz"); ok && strings.HasSuffix(name, ".apk") {
		return name, true
	}
	return base, false
}

// isAPK reports whether a file is an APK by its name.
func isAPK(p string) bool {
	name, _ := packageName(p)
	return strings.HasSuffix(name, ".apk")
}

// packageKey finds the key of an APK. Of one that nobody says a key of, err wraps
// errUnknown.
func (s *signing) packageKey(p *pkg) (err error) {
	for _, prefix := range s.o.Skip {
		if strings.HasPrefix(p.path, prefix) {
			p.keep = true
			return nil
		}
	}
	name, _ := packageName(p.path)
	p.name, p.keep, err = s.named(name, func() (string, bool) {
		if s.apks == nil {
			return "", false
		}
		line := s.apks.Find(name)
		if line == nil {
			return "", false
		}
		return line.Key(), true
	}, p.old)
	if err != nil || p.keep {
		return err
	}
	p.key, err = s.ring.first(s.ring.certificateNames(p.name), "apk", p.name, p.path)
	return err
}

// errUnknown is that nothing says which key a package gets.
var errUnknown = errors.New("no key is named for it")

// named returns what the certificate of a package is called, and whether it
// keeps its signature: by the options, by META, or, without META, by AOSP's
// test key that has signed it.
func (s *signing) named(name string, meta func() (string, bool), old []byte) (cert string, keep bool, err error) {
	s.mu.Lock()
	s.seen[name] = true
	s.mu.Unlock()
	cert, ok := s.o.Packages[name]
	switch {
	case ok && cert == "":
		return Presigned, true, nil
	case !ok:
		cert, ok = meta()
	}
	if !ok && s.misc == nil {
		test := testKey(old)
		return test, test == "", nil
	}
	if !ok {
		return "", false, errUnknown
	}
	if to, ok := s.ring.mapped(cert); ok && special(to) {
		return cert, true, nil
	}
	return cert, special(cert), nil
}

// testKey is the name of the test key of AOSP that a certificate, in DER, is of,
// or "".
func testKey(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	k, ok := targetfiles.TestCertificate(cert)
	if !ok {
		return ""
	}
	return k.Name()
}

// oldSigner returns the certificate, in DER, that a package is signed with, or
// nil.
func oldSigner(ctx context.Context, r io.ReaderAt, size int64) ([]byte, error) {
	res, err := apksig.Verify(ctx, r, size, apksig.Options{})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if list := res.Signers(); len(list) > 0 {
		return list[0].Certificates[0], nil
	}
	return nil, nil
}

// signPackage signs an APK or the container of an APEX, with v4 too if idsig is
// not nil. Uncompressed native libraries keep the alignment that they have.
func (s *signing) signPackage(r io.ReaderAt, size int64, key *Key, container bool, idsig io.Writer, out string) error {
	f, err := apk.Open(r, size)
	if err != nil {
		return err
	}
	info, err := f.Info()
	if err != nil {
		return err
	}
	signer, err := key.signer()
	if err != nil {
		return err
	}
	o := apksig.SignOptions{
		Signers: []apksig.Signer{signer}, V1: info.MinSDK < 24, V2: true, V3: true,
		PageAlign: libraryAlignment(f), PadFile: container, IDSig: idsig,
	}
	w, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(apksig.Sign(s.ctx, r, size, o, w), w.Close())
}

// libraryAlignment is what uncompressed native libraries are aligned to: 4 KiB
// where one is so and no more, else what packages for all devices need.
func libraryAlignment(f *apk.File) int {
	const small = 4096
	for i := range f.Entries {
		e := &f.Entries[i]
		if e.Method == apk.Store && strings.HasSuffix(e.Name, ".so") && e.DataOff%small == 0 && e.DataOff%apk.AlignNative != 0 {
			return small
		}
	}
	return 0
}

// signAPK signs the APK in the first size bytes of r and returns the new
// content, verified.
func (s *signing) signAPK(p *pkg, r io.ReaderAt, size int64) (*content, error) {
	if p.gzip {
		return s.signCompressed(p, r, size)
	}
	out := s.work.name(p.path)
	if err := s.signFiles(p, r, size, out); err != nil {
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	c, err := fileContent(out)
	if err != nil {
		return nil, err
	}
	cert, err := p.key.certificate()
	if err != nil {
		return nil, err
	}
	if err := s.verifyPackage(p.path, c, cert); err != nil {
		return nil, err
	}
	s.change(Change{What: "apk", Path: p.path, Old: describe(path.Base(p.name), p.old), New: describe(p.key.Name, cert), Key: p.key.Name})
	return c, nil
}

// signFiles signs an APK, and makes its v4 signature anew if it has one.
func (s *signing) signFiles(p *pkg, r io.ReaderAt, size int64, out string) error {
	if !p.idsig {
		return s.signPackage(r, size, p.key, false, nil, out)
	}
	err := create(out+extIDSig, func(w *os.File) error { return s.signPackage(r, size, p.key, false, w, out) })
	if err != nil {
		return err
	}
	p.v4, err = fileContent(out + extIDSig)
	return err
}

// extIDSig is what the name of a v4 signature ends in, behind that of the package.
const extIDSig = ".idsig"

// verifyPackage checks that all platforms take a package that was signed, and
// that the certificate is who signed it.
func (s *signing) verifyPackage(name string, c *content, cert []byte) error {
	f, err := c.open()
	if err != nil {
		return err
	}
	defer f.Close()
	res, err := apksig.Verify(s.ctx, f, c.size, apksig.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !res.Verified() {
		return fmt.Errorf("%s: what was signed does not verify: %v: %w", name, res.Errors[0], mios.ErrDenied)
	}
	for _, sig := range res.Signatures {
		if !bytes.Equal(sig.Certificates[0], cert) {
			return fmt.Errorf("%s: what was signed has the signature of another key (%v): %w", name, sig.Digest(), mios.ErrDenied)
		}
	}
	return nil
}

// signCompressed signs an APK that is packed with gzip as a whole.
func (s *signing) signCompressed(p *pkg, r io.ReaderAt, size int64) (*content, error) {
	plain, err := s.gunzip(p.path, r, size)
	if err != nil {
		return nil, err
	}
	f, err := plain.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	inner := *p
	inner.gzip = false
	signed, err := s.signAPK(&inner, f, plain.size)
	if err != nil {
		return nil, err
	}
	in, err := signed.open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	name := s.work.name(p.path)
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	z := gzip.NewWriter(w)
	_, err = io.Copy(z, io.NewSectionReader(in, 0, signed.size))
	if err = errors.Join(err, z.Close(), w.Close()); err != nil {
		return nil, err
	}
	return fileContent(name)
}

// maxPackage is the most that a compressed package may unpack to, in bytes.
const maxPackage = 4 << 30

// gunzip unpacks a compressed APK.
func (s *signing) gunzip(what string, r io.ReaderAt, size int64) (*content, error) {
	z, err := gzip.NewReader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	name := s.work.name(strings.TrimSuffix(what, ".gz"))
	if err := writeFile(name, &contextReader{s.ctx, io.LimitReader(z, maxPackage+1)}); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	c, err := fileContent(name)
	if err == nil && c.size > maxPackage {
		err = fmt.Errorf("%s: over %d bytes when unpacked: %w", what, int64(maxPackage), mios.ErrInvalid)
	}
	return c, err
}

// surveyAPK finds out who has signed an APK, and whose key it gets.
func (s *signing) surveyAPK(p *pkg, r io.ReaderAt, size int64) error {
	_, p.gzip = packageName(p.path)
	if p.gzip {
		plain, err := s.gunzip(p.path, r, size)
		if err != nil {
			return err
		}
		f, err := plain.open()
		if err != nil {
			return err
		}
		defer f.Close()
		defer os.Remove(plain.file)
		r, size = f, plain.size
	}
	var err error
	if p.old, err = oldSigner(s.ctx, r, size); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	err = s.packageKey(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, errUnknown):
		s.unknown = append(s.unknown, p.path)
		return nil
	case err != nil:
		return err
	case p.keep:
		s.report.Kept = append(s.report.Kept, p.path)
		return nil
	case p.key == nil:
		return nil
	}
	return s.replaceCert(p.old, p.key)
}

// replaceCert notes that a certificate is replaced by a key's. s.mu is held.
func (s *signing) replaceCert(old []byte, key *Key) error {
	cert, err := key.certificate()
	if err != nil {
		return err
	}
	s.certs.add(old, cert)
	if c, err := x509.ParseCertificate(old); err == nil {
		s.lose(c.PublicKey)
	}
	s.trust(key)
	return nil
}

// nested is the path of what is in something else.
func nested(outer, inner string) string { return outer + "!/" + inner }

// nodeReader returns a reader of a file of an image.
func nodeReader(f *fsimage.FS, n fsimage.Node) (io.ReaderAt, int64) {
	return f.Data(n), n.Info().Size
}
