package sign

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"mios"
	"mios/build/image/ramdisk"
	"mios/format/avb"
	"mios/format/bootimg"
	"mios/format/cpio"
	"mios/format/targetfiles"
	"mios/internal/readat"
)

// maxBoot is the largest boot image that is read, in bytes: memory holds it,
// and what is in its ramdisks.
const maxBoot = 256 << 20

// A bootImage is a boot, recovery, init_boot or vendor_boot image in memory.
type bootImage struct {
	boot   *bootimg.Image
	vendor *bootimg.Vendor
	tail   []byte // what follows the image: certificates of a generic kernel
	id     bootimg.IDKind
	hasID  bool
}

// readBoot reads a boot image as it was, without what AVB has put behind it.
func (s *signing) readBoot(m *image) (b *bootImage, err error) {
	err = s.withImage(m, func(r io.ReaderAt) error {
		b, err = readBootFrom(m, r)
		return err
	})
	return b, err
}

func readBootFrom(m *image, r io.ReaderAt) (b *bootImage, err error) {
	size := m.original()
	if size > maxBoot {
		return nil, fmt.Errorf("a boot image of %d bytes; at most %d are read: %w", size, maxBoot, mios.ErrInvalid)
	}
	raw := make([]byte, size)
	if err := readat.Full(r, raw, 0); err != nil {
		return nil, err
	}
	b = &bootImage{}
	if m.kind == "vendor_boot" {
		if b.vendor, err = bootimg.ParseVendor(raw); err != nil {
			return nil, err
		}
		b.tail = raw[min(b.vendor.Size(), size):]
		return b, nil
	}
	if b.boot, err = bootimg.Parse(raw); err != nil {
		return nil, err
	}
	b.id, b.hasID = b.boot.IDKind()
	b.tail = raw[min(b.boot.Size(), size):]
	return b, nil
}

// A ramdiskPart is a ramdisk of a boot image, still packed.
type ramdiskPart struct {
	name string // of a fragment
	data []byte
}

func (b *bootImage) ramdisks() []ramdiskPart {
	switch {
	case b.boot != nil:
		return []ramdiskPart{{"", b.boot.Ramdisk}}
	case len(b.vendor.Fragments) == 0:
		return []ramdiskPart{{"", b.vendor.Ramdisk}}
	}
	var out []ramdiskPart
	for _, f := range b.vendor.Fragments {
		out = append(out, ramdiskPart{f.Name, b.vendor.Data(f)})
	}
	return out
}

// setRamdisks replaces the ramdisks, as many as there are.
func (b *bootImage) setRamdisks(list [][]byte) error {
	if b.boot != nil {
		b.boot.Ramdisk = list[0]
		if b.hasID {
			b.boot.SetID(b.id)
		}
		return nil
	}
	if len(b.vendor.Fragments) == 0 {
		b.vendor.Ramdisk = list[0]
		return nil
	}
	fragments := slices.Clone(b.vendor.Fragments)
	b.vendor.Fragments, b.vendor.Ramdisk = nil, nil
	for i, f := range fragments {
		if err := b.vendor.AddFragment(f, list[i]); err != nil {
			return err
		}
	}
	return nil
}

// surveyRamdisks looks for what must change in the ramdisks of a boot image.
func (s *signing) surveyRamdisks(m *image) error {
	b, err := s.readBoot(m)
	if err != nil {
		return err
	}
	if m.certified = s.recertifies(b); m.certified {
		if _, err := s.ring.avb("gki", "boot signature"); err != nil {
			return err
		}
	}
	for _, part := range b.ramdisks() {
		if len(part.data) == 0 {
			continue
		}
		d, err := ramdisk.Read(part.data)
		if err != nil {
			return err
		}
		for _, e := range d.Entries {
			switch kind := s.kindOf(e.Name); {
			case e.Mode&cpio.TypeMask != cpio.TypeRegular || kind == "" || slices.Contains([]string{kindImage, kindIDSig, kindVerity}, kind):
			case kind == kindDebug && path.Base(e.Name) == "force_debuggable":
				return fmt.Errorf("%s: a boot image for debugging must not be signed: %w: build without it", e.Name, mios.ErrDenied)
			case kind == kindAPK || kind == kindAPEX:
				return fmt.Errorf("%s: a package in a ramdisk: %w", e.Name, errors.ErrUnsupported)
			default:
				m.small = true
				s.ramdiskCerts = s.ramdiskCerts || kind == kindCerts
			}
		}
	}
	return nil
}

// remakeRamdisks changes the ramdisks of a boot image, and says whether anything
// changed.
func (s *signing) remakeRamdisks(m *image, b *bootImage) (bool, error) {
	var list [][]byte
	changed := false
	for _, part := range b.ramdisks() {
		now, err := s.remakeRamdisk(nested(m.name, part.name), part.data)
		if err != nil {
			return false, err
		}
		changed = changed || !bytes.Equal(now, part.data)
		list = append(list, now)
	}
	if !changed {
		return false, nil
	}
	return true, b.setRamdisks(list)
}

// remakeRamdisk returns a ramdisk with what must change changed.
func (s *signing) remakeRamdisk(where string, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return data, nil
	}
	d, err := ramdisk.Read(data)
	if err != nil {
		return nil, err
	}
	changed := false
	kept := d.Entries[:0:0]
	for _, e := range d.Entries {
		kind := s.kindOf(e.Name)
		if e.Mode&cpio.TypeMask != cpio.TypeRegular || kind == "" {
			kept = append(kept, e)
			continue
		}
		name := path.Join(where, e.Name)
		if kind == kindAVBKey && s.removesKey(e.Name) {
			s.change(Change{What: kind, Path: name, Old: describe("", e.Data)})
			changed = true
			continue
		}
		now, err := s.transform(kind, name, e.Data)
		if err != nil {
			return nil, err
		}
		changed = changed || !bytes.Equal(now, e.Data)
		e.Data = now
		kept = append(kept, e)
	}
	if !changed {
		return data, nil
	}
	d.Entries = kept
	return d.Pack()
}

// removesKey reports whether the key of AVB in the file name shall go.
func (s *signing) removesKey(name string) bool {
	return path.Base(path.Dir(name)) == "avb" && slices.Contains(s.o.RemoveAVBKeys, path.Base(name))
}

// remakeBoot writes the new boot image, without what AVB puts behind it, to a
// file; "" if it does not change.
func (s *signing) remakeBoot(m *image) (string, error) {
	if !m.small && !m.certified {
		return "", nil
	}
	b, err := s.readBoot(m)
	if err != nil {
		return "", err
	}
	changed, err := s.remakeRamdisks(m, b)
	if err != nil {
		return "", err
	}
	out, err := s.certify(m, b, changed)
	if err != nil || out == nil {
		return "", err
	}
	name := s.work.name(m.name)
	s.change(Change{What: "boot", Path: m.name})
	return name, os.WriteFile(name, out, 0o600)
}

// tailCertificate is how much behind an image is for the certificates of a generic
// kernel, in bytes. They may also be in the image, in its signature.
const tailCertificate = 16 << 10

// certify returns the image with the certificates of a generic kernel made anew
// with the vendor's key, or nil if nothing of the image changes.
func (s *signing) certify(m *image, b *bootImage, changed bool) ([]byte, error) {
	if !m.certified {
		if !changed {
			return nil, nil
		}
		return b.encode()
	}
	k, err := s.ring.avb("gki", "boot signature")
	if err != nil || k == nil {
		return nil, err
	}
	if len(b.boot.Signature) > 0 {
		raw, err := b.encode()
		if err != nil {
			return nil, err
		}
		of := raw[:len(raw)-len(b.tail)-len(b.boot.Signature)]
		sig, err := resignCertificates(b.boot.Signature, k, of, b.boot.Kernel)
		if err != nil {
			return nil, fmt.Errorf("boot signature: %w", err)
		}
		b.boot.Signature = sig
		s.change(Change{What: "boot signature", Path: m.name, New: k.Name, Key: k.Name})
	}
	if len(b.tail) > 0 {
		raw, err := b.encode()
		if err != nil {
			return nil, err
		}
		of := raw[:len(raw)-len(b.tail)]
		if b.tail, err = resignCertificates(b.tail, k, of, b.boot.Kernel); err != nil {
			return nil, fmt.Errorf("boot signature: %w", err)
		}
		s.change(Change{What: "boot signature", Path: m.name, New: k.Name, Key: k.Name})
	}
	return b.encode()
}

func (b *bootImage) encode() ([]byte, error) {
	var out bytes.Buffer
	var err error
	if b.boot != nil {
		_, err = b.boot.WriteTo(&out)
	} else {
		_, err = b.vendor.WriteTo(&out)
	}
	out.Write(b.tail)
	return out.Bytes(), err
}

// certificates are the vbmeta images at the start of b.
func certificates(b []byte) (list []*avb.VBMeta, ok bool) {
	for len(b) >= avb.HeaderSize {
		size, err := avb.Size(b)
		if err != nil || size > int64(len(b)) {
			break
		}
		m, err := avb.Parse(b[:size])
		if err != nil {
			break
		}
		list, b = append(list, m), b[size:]
	}
	return list, len(list) > 0 && allZero(b)
}

// recertifies reports whether a boot image has certificates of a generic kernel
// that are to be the vendor's: those by a test key, or all, if there is a key for
// them. Others are of who has made the kernel.
func (s *signing) recertifies(b *bootImage) bool {
	if b.boot == nil {
		return false
	}
	list, _ := certificates(b.boot.Signature)
	if more, ok := certificates(b.tail); ok && len(b.tail) == tailCertificate {
		list = append(list, more...)
	}
	_, named := s.o.AVB["gki"]
	for _, m := range list {
		if _, test := targetfiles.TestAVBKey(m.PublicKey); test || named || s.avbKeys[string(m.PublicKey)] != nil {
			return true
		}
	}
	return false
}

// resignCertificates returns certificates made anew: of the image, and of its
// kernel (AOSP system/tools/mkbootimg, gki/generate_gki_certificate.py).
func resignCertificates(old []byte, k *Key, image, kernel []byte) ([]byte, error) {
	list, ok := certificates(old)
	if !ok {
		return old, nil
	}
	var out []byte
	for _, m := range list {
		for _, d := range m.Descriptors {
			h, ok := d.(*avb.HashDescriptor)
			if !ok {
				continue
			}
			of := image
			if h.PartitionName == "generic_kernel" {
				of = kernel
			}
			sum, err := avb.NewHash(h.HashAlgorithm)
			if err != nil {
				return nil, err
			}
			sum.Write(h.Salt)
			sum.Write(of)
			h.ImageSize, h.Digest = uint64(len(of)), sum.Sum(nil)
		}
		b, err := signVBMeta(m, k)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	if len(out) > len(old) {
		return nil, fmt.Errorf("%d bytes of certificates, with room for %d: %w: take a smaller key", len(out), len(old), mios.ErrInvalid)
	}
	return append(out, make([]byte, len(old)-len(out))...), nil
}

// signVBMeta signs a vbmeta image with a key, by the hash that it has.
func signVBMeta(m *avb.VBMeta, k *Key) ([]byte, error) {
	alg, signer := avb.None, crypto.Signer(nil)
	if k != nil {
		var err error
		if alg, err = algorithmFor(m.Algorithm, k); err != nil {
			return nil, err
		}
		signer = k.Signer
	}
	if err := m.Sign(signer, alg); err != nil {
		return nil, err
	}
	return m.Bytes()
}
