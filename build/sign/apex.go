package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"mios"
	"mios/build/fstree"
	"mios/build/image/avbtool"
	"mios/format/apex"
	"mios/format/avb"
	"mios/format/fsimage"
	"mios/format/targetfiles"
	"mios/internal/readat"
)

// An apexFile is an APEX that gets other keys.
type apexFile struct {
	path       string
	line       *targetfiles.ApexKey // of META; nil without
	container  *Key
	payload    *Key
	old        []byte // certificate of the container, DER
	oldPayload []byte // key of the payload, in AVB's encoding
	name       string // of the old container certificate
	keep       bool
	apps       []*pkg // in the payload
}

// findApex returns META's line of an APEX by its file name, or nil.
func (s *signing) findApex(name string) *targetfiles.ApexKey {
	if s.apexs == nil {
		return nil
	}
	if line := s.apexs.Find(name); line != nil {
		return line
	}
	for i := range s.apexs.Keys { // of a compressed one, whose line has its own name
		if s.apexs.Keys[i].Name == name {
			return &s.apexs.Keys[i]
		}
	}
	return nil
}

// surveyAPEX finds out who has signed an APEX and what is in it, and whose keys
// it gets.
func (s *signing) surveyAPEX(a *apexFile, r io.ReaderAt, size int64) error {
	var err error
	if a.old, err = oldSigner(s.ctx, r, size); err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	f, err := apex.Open(r, size)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	a.oldPayload = f.PublicKey
	if err := s.apexKeys(a); err != nil || a.keep {
		return err
	}
	if err := s.withPayload(f, a.path, func(p *apex.Payload) error { return s.surveyPayload(a, p) }); err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.payload != nil {
		if err := s.replaceAVB(a.oldPayload, a.payload); err != nil {
			return err
		}
	}
	if a.container != nil {
		return s.replaceCert(a.old, a.container)
	}
	return nil
}

// apexKeys finds the keys of an APEX.
func (s *signing) apexKeys(a *apexFile) (err error) {
	base := path.Base(a.path)
	a.line = s.findApex(base)
	a.name, a.keep, err = s.named(base, func() (string, bool) {
		if a.line == nil {
			return "", false
		}
		return a.line.ContainerKey(), true
	}, a.old)
	to, given := s.o.Payloads[base]
	keepPayload := given && (to == "" || special(to)) || !given && a.line != nil && special(a.line.PrivateKey)
	switch {
	case errors.Is(err, errUnknown):
		s.mu.Lock()
		s.unknown = append(s.unknown, a.path)
		s.mu.Unlock()
		a.keep = true
		return nil
	case err != nil:
		return err
	case a.keep && given && !keepPayload:
		return fmt.Errorf("%s: its payload shall be signed and its container stay as it is: %w: give the container a key, too", a.path, mios.ErrInvalid)
	case !a.keep && keepPayload:
		return fmt.Errorf("%s: its container shall be signed and its payload stay as it is: %w: sign both, or none", a.path, mios.ErrInvalid)
	case a.keep:
		s.mu.Lock()
		s.report.Kept = append(s.report.Kept, a.path)
		s.mu.Unlock()
		return nil
	case a.line != nil && a.line.SignTool != "":
		return fmt.Errorf("%s: META/apexkeys.txt wants %s to sign what is in it, which is not known here: %w: leave it as it is (%s=), or have it signed before", a.path, a.line.SignTool, errors.ErrUnsupported, base)
	}
	if a.container, err = s.ring.first(s.ring.certificateNames(a.name), "apex", a.name, a.path); err != nil {
		return err
	}
	old := base[:len(base)-len(path.Ext(base))]
	if a.line != nil {
		old = a.line.PrivateKey
	}
	a.payload, err = s.ring.first(s.ring.payloadNames(base, old), "payload", old, a.path)
	return err
}

// withPayload calls fn with the payload of an APEX, which of a compressed one is
// unpacked first.
func (s *signing) withPayload(f *apex.File, what string, fn func(p *apex.Payload) error) error {
	if !f.Compressed {
		p, err := f.Payload()
		if err != nil {
			return err
		}
		return fn(p)
	}
	inner, done, err := s.original(f, what)
	if err != nil {
		return err
	}
	defer done()
	p, err := inner.Payload()
	if err != nil {
		return err
	}
	return fn(p)
}

// original unpacks the APEX in a compressed one.
func (s *signing) original(f *apex.File, what string) (inner *apex.File, done func(), err error) {
	r, err := f.OpenEntry(f.Entry(apex.OriginalName))
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	name := s.work.name(path.Base(what) + ".apex")
	if err := writeFile(name, &contextReader{s.ctx, r}); err != nil {
		return nil, nil, err
	}
	file, size, err := readat.Open(name)
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		file.Close()
		os.Remove(name)
	}
	inner, err = apex.Open(file, size)
	if err == nil && inner.Compressed {
		err = &apex.FormatError{Entry: apex.OriginalName, Msg: "compressed again"}
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return inner, done, nil
}

// surveyPayload looks at the apps in a payload.
func (s *signing) surveyPayload(a *apexFile, p *apex.Payload) error {
	files, err := p.FS()
	if err != nil {
		return err
	}
	apps, err := files.Apps()
	if err != nil {
		return err
	}
	for _, app := range apps {
		q := &pkg{path: nested(a.path, app.Path)}
		r, size := nodeReader(files.FS, app.Node)
		if err := s.surveyAPK(q, r, size); err != nil {
			return err
		}
		if !q.keep {
			a.apps = append(a.apps, q)
		}
	}
	return nil
}

// signAPEX signs the APEX in the first size bytes of r: the apps in it, the
// payload, and the container.
func (s *signing) signAPEX(a *apexFile, r io.ReaderAt, size int64) (*content, error) {
	f, err := apex.Open(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path, err)
	}
	out := s.work.name(a.path)
	if f.Compressed {
		err = s.signCAPEX(a, f, out)
	} else {
		err = s.signPlainAPEX(a, f, out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path, err)
	}
	c, err := fileContent(out)
	if err != nil {
		return nil, err
	}
	cert, err := a.container.certificate()
	if err != nil {
		return nil, err
	}
	if err := s.verifyPackage(a.path, c, cert); err != nil {
		return nil, err
	}
	pub, err := a.payload.avbKey()
	if err != nil {
		return nil, err
	}
	s.change(Change{What: "apex", Path: a.path, Old: describe(path.Base(a.name), a.old), New: describe(a.container.Name, cert), Key: a.container.Name})
	s.change(Change{What: "payload", Path: nested(a.path, apex.PayloadName), Old: describe("", a.oldPayload), New: describe(a.payload.Name, pub), Key: a.payload.Name})
	return c, nil
}

// signCAPEX signs the APEX in a compressed one, and compresses that again.
func (s *signing) signCAPEX(a *apexFile, f *apex.File, out string) error {
	inner, done, err := s.original(f, a.path)
	if err != nil {
		return err
	}
	defer done()
	plain := s.work.name(path.Base(a.path) + ".signed")
	defer os.Remove(plain)
	if err := s.signPlainAPEX(a, inner, plain); err != nil {
		return err
	}
	packed := s.work.name(path.Base(a.path) + ".packed")
	defer os.Remove(packed)
	err = withFile(plain, func(r io.ReaderAt, size int64) error {
		signed, err := apex.Open(r, size)
		if err != nil {
			return err
		}
		return create(packed, func(w *os.File) error { return apex.Compress(w, signed) })
	})
	if err != nil {
		return err
	}
	return withFile(packed, func(r io.ReaderAt, size int64) error { return s.signPackage(r, size, a.container, false, nil, out) })
}

// signPlainAPEX writes an APEX, signed, to the file out.
func (s *signing) signPlainAPEX(a *apexFile, f *apex.File, out string) error {
	p, err := f.Payload()
	if err != nil {
		return err
	}
	image := s.work.name(path.Base(a.path) + ".img")
	defer os.Remove(image)
	if err := s.signPayload(a, p, image); err != nil {
		return err
	}
	pub, err := a.payload.avbKey()
	if err != nil {
		return err
	}
	packed := s.work.name(path.Base(a.path) + ".repacked")
	defer os.Remove(packed)
	err = withFile(image, func(r io.ReaderAt, size int64) error {
		return create(packed, func(w *os.File) error {
			return apex.Repack(w, f, apex.Contents{Payload: r, PayloadSize: size, PublicKey: pub})
		})
	})
	if err != nil {
		return err
	}
	return withFile(packed, func(r io.ReaderAt, size int64) error {
		if err := s.signPackage(r, size, a.container, true, nil, out); err != nil {
			return err
		}
		return withFile(out, verifyAPEX)
	})
}

// verifyAPEX checks the payload of an APEX that was made.
func verifyAPEX(r io.ReaderAt, size int64) error {
	f, err := apex.Open(r, size)
	if err != nil {
		return err
	}
	p, err := f.Payload()
	if err != nil {
		return err
	}
	return p.Verify()
}

// signPayload writes the payload with the apps in it signed, and a new hash
// tree and vbmeta image, to a file.
func (s *signing) signPayload(a *apexFile, p *apex.Payload, image string) error {
	if err := writeFile(image, &contextReader{s.ctx, io.NewSectionReader(p, 0, int64(p.Footer.OriginalImageSize))}); err != nil {
		return err
	}
	if err := s.signApps(a, p, image); err != nil {
		return err
	}
	o := footerOptions(p.VBMeta, p.Tree)
	var err error
	if o.Algorithm, err = algorithmFor(p.VBMeta.Algorithm, a.payload); err != nil {
		return err
	}
	o.Key = a.payload.Signer
	_, err = avbtool.AddHashtree(s.ctx, image, o, nil)
	return err
}

// signApps puts the signed apps into the file system of a payload.
func (s *signing) signApps(a *apexFile, p *apex.Payload, image string) error {
	if len(a.apps) == 0 {
		return nil
	}
	files, err := p.FS()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fstree.EditFile(s.ctx, f, int64(p.Footer.OriginalImageSize), func(e fsimage.Editor) error {
		for _, app := range a.apps {
			inner := app.path[len(a.path)+len("!/"):]
			n, err := files.Lookup(inner, false)
			if err != nil {
				return err
			}
			r, size := nodeReader(files.FS, n)
			c, err := s.signAPK(app, r, size)
			if err != nil {
				return err
			}
			if err := replace(e, inner, c); err != nil {
				return err
			}
			os.Remove(c.file)
		}
		return nil
	}, fsimage.EditOptions{})
	return err
}

// replace gives a file of an image new content.
func replace(e fsimage.Editor, name string, c *content) error {
	r, err := c.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := e.Replace(name, io.NewSectionReader(r, 0, c.size), c.size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// withFile calls fn with a file of the working folder.
func withFile(name string, fn func(r io.ReaderAt, size int64) error) error {
	f, size, err := readat.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(f, size)
}

// create calls fn with a new file of the working folder.
func create(name string, fn func(w *os.File) error) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}

// footerOptions are those with which a hash tree was made.
func footerOptions(m *avb.VBMeta, d *avb.HashtreeDescriptor) avbtool.FooterOptions {
	return avbtool.FooterOptions{
		Content: contentOf(m), PartitionName: d.PartitionName, HashAlgorithm: d.HashAlgorithm, Salt: orEmpty(d.Salt), Flags: d.Flags,
		PersistentDigest: len(d.RootDigest) == 0, FECRoots: int(d.FECRoots), NoHashtree: d.TreeSize == 0 && d.ImageSize > avb.BlockSize,
		InPlace: true,
	}
}

// orEmpty is a salt that is given, if of no byte.
func orEmpty(salt []byte) []byte {
	if salt == nil {
		return []byte{}
	}
	return salt
}

// contentOf is what a vbmeta image says beside the descriptors of partitions.
func contentOf(m *avb.VBMeta) avbtool.Content {
	c := avbtool.Content{
		PublicKeyMetadata: m.PublicKeyMetadata, RollbackIndex: m.RollbackIndex,
		RollbackIndexLocation: m.RollbackIndexLocation, Flags: m.Flags, Release: m.Release,
	}
	for _, d := range m.Descriptors {
		switch d := d.(type) {
		case *avb.PropertyDescriptor:
			c.Properties = append(c.Properties, d)
		case *avb.ChainPartitionDescriptor:
			c.Chains = append(c.Chains, d)
		}
	}
	return c
}

// avbKey is the public key in AVB's encoding.
func (k *Key) avbKey() ([]byte, error) {
	pub, err := rsaPublic(k)
	if err != nil {
		return nil, err
	}
	return avb.EncodePublicKey(pub)
}

// algorithmFor is the algorithm of a key, with the hash of an old one.
func algorithmFor(old avb.Algorithm, k *Key) (avb.Algorithm, error) {
	if _, err := rsaPublic(k); err != nil {
		return 0, err
	}
	a, err := avb.AlgorithmFor(old.Hash(), k.rsaBits())
	if err != nil {
		return 0, fmt.Errorf("key %s: %w: verified boot takes RSA keys of 2048, 4096 or 8192 bits", k.Name, err)
	}
	return a, nil
}

// equalKey reports whether a key in AVB's encoding is k's.
func (k *Key) equalKey(pub []byte) bool {
	own, err := k.avbKey()
	return err == nil && bytes.Equal(own, pub)
}
