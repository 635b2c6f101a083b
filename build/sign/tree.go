package sign

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"mios"
	"mios/format/targetfiles"
)

// The kinds of files that signing is about.
const (
	kindAPK         = "apk"
	kindAPEX        = "apex"
	kindCerts       = "otacerts"
	kindProperties  = "properties"
	kindPermissions = "permissions"
	kindAVBKey      = "avbpubkey"
	kindVerityKey   = "verity_key"
	kindDebug       = "debug"
	kindUpdate      = "update"
	kindPatch       = "recovery patch"
	kindIDSig       = "idsig"
	kindImage       = "image"
	kindVerity      = "fsverity"
)

// A file is one that gets other content: of a tree of target-files, or of an
// image only.
type file struct {
	path  string // for people
	kind  string
	entry *targetfiles.Entry
	image *image // of one that is in no tree
	inner string // its path there

	pkg  *pkg
	apex *apexFile
	key  *Key // of an image

	idsig  bool   // a v4 signature lies beside it
	verity []byte // what lies beside it for fs-verity, or nil
}

// A twin is the same file in an image.
type twin struct {
	image *image
	inner string
}

// maxSmall is the most that a file which is changed in memory may have, in bytes.
const maxSmall = 16 << 20

// kindOf is what a file is by its path, or "".
func (s *signing) kindOf(name string) string {
	base := path.Base(name)
	switch {
	case targetfiles.IsApex(name):
		return kindAPEX
	case isAPK(name):
		return kindAPK
	case strings.HasSuffix(name, ".apk"+extIDSig):
		return kindIDSig
	case strings.HasSuffix(name, extVerity):
		return kindVerity
	case strings.HasSuffix(name, ".img"):
		return kindImage
	case targetfiles.IsOTACerts(name):
		return kindCerts
	case targetfiles.IsBuildProp("/" + name):
		return kindProperties
	case targetfiles.IsMacPermissions(name):
		return kindPermissions
	case strings.HasSuffix(base, ".avbpubkey"):
		return kindAVBKey
	case base == "verity_key":
		return kindVerityKey
	case base == "force_debuggable", base == "userdebug_plat_sepolicy.cil":
		return kindDebug
	case strings.HasSuffix(base, ".zip") && path.Base(path.Dir(name)) == "boot_otas":
		return kindUpdate
	case base == "recovery-from-boot.p":
		return kindPatch
	}
	return ""
}

// inTree reports whether an entry is a file of a partition's tree.
func inTree(name string) bool {
	top, _, ok := strings.Cut(name, "/")
	return ok && top != "META" && !slices.Contains(imageFolders, top)
}

// surveyFile finds out what a file needs.
func (s *signing) surveyFile(f *file, r io.ReaderAt, size int64) error {
	f.kind = s.kindOf(cmpPath(f))
	switch f.kind {
	case kindAPK:
		f.pkg = &pkg{path: f.path, idsig: f.idsig}
		if err := s.surveyAPK(f.pkg, r, size); err != nil || f.pkg.keep {
			return err
		}
	case kindIDSig, kindVerity:
		return nil // they come with what they lie beside
	case kindImage:
		if keep, err := s.surveyNested(f, r, size); err != nil || keep {
			return err
		}
	case kindAPEX:
		f.apex = &apexFile{path: f.path}
		if err := s.surveyAPEX(f.apex, r, size); err != nil || f.apex.keep {
			return err
		}
	case kindDebug:
		if path.Base(f.path) == "force_debuggable" {
			return fmt.Errorf("%s: a boot image for debugging must not be signed: %w: build without it", f.path, mios.ErrDenied)
		}
		if !s.o.AllowDebugPolicy {
			return fmt.Errorf("%s: a policy for debugging must not be signed: %w: build without it, or allow it, as for a GSI", f.path, mios.ErrDenied)
		}
		return nil
	case kindUpdate:
		return fmt.Errorf("%s: it is an update package, signed with the keys of the build: %w: take it out", f.path, errors.ErrUnsupported)
	case kindPatch:
		return fmt.Errorf("%s: a patch that makes a recovery image of a boot image, which both change: %w: build with a recovery image (BOARD_USES_FULL_RECOVERY_IMAGE)", f.path, errors.ErrUnsupported)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, f)
	return nil
}

// cmpPath is the path by which the kind of a file is known.
func cmpPath(f *file) string {
	if f.image != nil {
		return f.inner
	}
	return f.path
}

// remake makes the new content of a file, for its entry and for the images that
// have it, too.
func (s *signing) remake(f *file) error {
	if f.entry != nil && f.kind == kindAVBKey && s.removesKey(f.entry.Name) {
		s.mu.Lock()
		s.removed[f.entry.Name] = true
		s.mu.Unlock()
		s.change(Change{What: f.kind, Path: f.path})
		return nil
	}
	c, err := s.fileContent(f)
	if err != nil || c == nil {
		return err
	}
	made := map[string]*content{"": c}
	if f.pkg != nil && f.pkg.v4 != nil {
		made[extIDSig] = f.pkg.v4
	}
	if f.verity != nil {
		if made[extVerity], err = verityMetadata(c, f.verity); err != nil {
			return fmt.Errorf("%s%s: %w", f.path, extVerity, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ext, c := range made {
		if f.image != nil {
			f.image.edits[f.inner+ext] = c
		} else {
			s.setFile(f.entry.Name+ext, c)
		}
	}
	return nil
}

// setFile gives a file of a tree new content, and the same one in images. s.mu is
// held.
func (s *signing) setFile(name string, c *content) {
	s.contents[name] = c
	for _, t := range s.twins[name] {
		t.image.edits[t.inner] = c
	}
}

// fileContent is a file's new content, or nil if it does not change.
func (s *signing) fileContent(f *file) (c *content, err error) {
	err = s.withOld(f, func(r io.ReaderAt, size int64) error {
		switch f.kind {
		case kindAPK:
			c, err = s.signAPK(f.pkg, r, size)
			return err
		case kindAPEX:
			c, err = s.signAPEX(f.apex, r, size)
			return err
		case kindImage:
			c, err = s.signNested(f, r, size)
			return err
		}
		if size > maxSmall {
			return fmt.Errorf("%s: %d bytes; at most %d are read: %w", f.path, size, maxSmall, mios.ErrInvalid)
		}
		old := make([]byte, size)
		if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), old); err != nil {
			return err
		}
		now, err := s.transform(f.kind, f.path, old)
		if err == nil && !bytes.Equal(old, now) {
			c = bytesContent(now)
		}
		return err
	})
	return c, err
}

// withOld calls fn with what a file holds.
func (s *signing) withOld(f *file, fn func(r io.ReaderAt, size int64) error) error {
	if f.image == nil {
		r, err := s.open(f.entry)
		if err != nil {
			return err
		}
		defer r.Close()
		return fn(r, f.entry.Size)
	}
	return s.withFS(f.image, func(img *fsImage) error {
		n, err := img.Lookup(f.inner, false)
		if err != nil {
			return err
		}
		r, size := nodeReader(img.FS, n)
		return fn(r, size)
	})
}

// transform returns the new content of a small file, and notes what changes.
func (s *signing) transform(kind, name string, old []byte) (now []byte, err error) {
	switch kind {
	case kindProperties:
		if now = rewriteProperties(old, s.o.Tags); !bytes.Equal(now, old) {
			s.change(Change{What: kind, Path: name, Old: changedLine(old, now), New: changedLine(now, old)})
		}
		return now, nil
	case kindPermissions:
		return s.permissions(name, old)
	case kindCerts:
		return s.otaCerts(name, old)
	case kindAVBKey:
		if now = s.avbKeys[string(old)]; now == nil {
			return old, nil
		}
		s.change(Change{What: kind, Path: name, Old: describe("", old), New: describe("", now)})
		return now, nil
	case kindVerityKey:
		return s.verityKey(name, old)
	}
	return old, nil
}

// changedLine is the first line of a text that b does not have.
func changedLine(a, b []byte) string {
	if !utf8.Valid(a) {
		return ""
	}
	var has [][]byte
	for l := range bytes.Lines(b) {
		has = append(has, bytes.TrimSpace(l))
	}
	for l := range bytes.Lines(a) {
		l = bytes.TrimSpace(l)
		if !slices.ContainsFunc(has, func(h []byte) bool { return bytes.Equal(h, l) }) {
			return string(l)
		}
	}
	return ""
}

// permissions is a mac_permissions.xml with the vendor's certificates.
func (s *signing) permissions(name string, old []byte) ([]byte, error) {
	m, err := targetfiles.ParseMacPermissions(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var certs [][]byte
	for _, signer := range m.Signers {
		certs = append(certs, signer.Certificates...)
	}
	for _, der := range certs {
		now, err := s.roleCertificate(name, der)
		if err != nil {
			return nil, err
		}
		if now != nil && !bytes.Equal(now, der) && m.Replace(der, now) > 0 {
			s.change(Change{What: kindPermissions, Path: name, Old: describe("", der), New: describe("", now)})
		}
	}
	now, err := m.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: give the roles different keys", name, err)
	}
	return now, nil
}

// roleCertificate is what takes the place of a certificate in the file name, or
// nil: what packages that it has signed get, or, of a test key of AOSP, what
// they would get.
func (s *signing) roleCertificate(name string, der []byte) ([]byte, error) {
	if now := s.certs.find(der); now != nil {
		return now, nil
	}
	test := testKey(der)
	if test == "" {
		return nil, nil
	}
	k, err := s.ring.first(s.ring.certificateNames(test), kindPermissions, test, name)
	if err != nil || k == nil {
		return nil, err
	}
	return k.certificate()
}

// otaCerts is an otacerts.zip with the vendor's certificates.
func (s *signing) otaCerts(name string, old []byte) ([]byte, error) {
	was, err := targetfiles.ParseOTACerts(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	keys := s.ota.system
	if isRecovery(name) {
		keys = s.ota.recovery
	}
	var certs []targetfiles.OTACert
	var had, has []string
	for _, c := range was {
		had = append(had, describe("", c.Certificate.Raw))
		s.lose(c.Certificate.PublicKey)
	}
	for _, k := range keys {
		der, err := k.certificate()
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.Name, err)
		}
		has = append(has, describe(k.Name, der))
		certs = append(certs, targetfiles.OTACert{Name: k.Name + extCertificate, Certificate: cert})
	}
	now, err := targetfiles.FormatOTACerts(certs)
	if err == nil && !bytes.Equal(now, old) {
		s.change(Change{What: kindCerts, Path: name, Old: strings.Join(had, ", "), New: strings.Join(has, ", ")})
	}
	return now, err
}

// isRecovery reports whether a file is of a recovery's ramdisk.
func isRecovery(name string) bool {
	for _, p := range []string{"BOOT/", "RECOVERY/", "VENDOR_BOOT/", "INIT_BOOT/"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	top, _, ok := strings.Cut(path.Base(strings.SplitN(name, "!/", 2)[0]), ".img")
	return ok && (strings.HasSuffix(top, "boot") || top == "recovery")
}

// verityKey is the key with which devices before AVB verified their file
// systems: RSA of 2048 bits, in the encoding of AOSP's libmincrypt.
func (s *signing) verityKey(name string, old []byte) ([]byte, error) {
	k, err := s.ring.first([]string{"verity", "avb-verity"}, kindVerityKey, "verity_key", name)
	if err != nil || k == nil {
		return old, err
	}
	pub, err := k.avbKey()
	if err != nil {
		return nil, err
	}
	const words = 64
	if len(pub) != 8+2*4*words {
		return nil, fmt.Errorf("%s: key %s has %d bits: %w: it must be RSA of 2048 bits", name, k.Name, k.rsaBits(), mios.ErrInvalid)
	}
	// AVB's encoding has the same numbers, the other way around.
	le := binary.LittleEndian
	now := le.AppendUint32(nil, words)
	now = le.AppendUint32(now, binary.BigEndian.Uint32(pub[4:]))
	n, rr := slices.Clone(pub[8:8+4*words]), slices.Clone(pub[8+4*words:])
	slices.Reverse(n)
	slices.Reverse(rr)
	now = le.AppendUint32(append(append(now, n...), rr...), 65537)
	s.change(Change{What: kindVerityKey, Path: name, Old: describe("", old), New: describe(k.Name, now), Key: k.Name})
	return now, nil
}
