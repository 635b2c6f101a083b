package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mios"
	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/progress"
	"mios/internal/readat"
)

// vbmeta tells of a vbmeta image.
func (s *scan) vbmeta(in *input, r *Report) error {
	raw, _, err := avb.Read(in, in.size)
	if err != nil {
		return err
	}
	m, err := s.metadata(raw, r)
	if err != nil {
		return err
	}
	s.siblings(in, m, r)
	return nil
}

// metadata tells what a vbmeta image says and who signed it.
func (s *scan) metadata(raw []byte, r *Report) (*avb.VBMeta, error) {
	result, key := avb.VerifyVBMeta(raw)
	m, err := avb.Parse(raw)
	if err != nil && result == avb.VerifyOK { // what is wrong is in bytes that no signature is over
		r.avbKey("AVB", "", key, verified)
		r.done("signature of the vbmeta image")
		r.say(Warning, "loaders take it; who changed those bytes is not known: make it anew", "%v", err)
		return &avb.VBMeta{}, nil
	}
	if err != nil {
		return nil, err
	}
	switch result {
	case avb.VerifyOK:
		r.avbKey("AVB", m.Algorithm.String(), key, verified)
		r.done("signature of the vbmeta image")
	case avb.VerifyOKNotSigned:
		r.fact("signature", "none: another vbmeta image must vouch for it")
	default:
		r.avbKey("AVB", m.Algorithm.String(), m.PublicKey, wrong)
		r.say(Error, "it was changed after it was signed: make it anew", "the vbmeta image does not verify: %v", result)
	}
	r.fact("rollback index", "%s", rollback(m))
	if m.Flags&avb.FlagVerificationDisabled != 0 {
		r.say(Warning, "sign it without --set_verification_disabled_flag", "verification is disabled: the loader starts whatever is there")
	}
	if m.Flags&avb.FlagHashtreeDisabled != 0 {
		r.say(Warning, "sign it without --set_hashtree_disabled_flag", "hash trees are disabled: changed partitions are not noticed")
	}
	for _, d := range m.Descriptors {
		s.descriptor(d, r)
	}
	r.Summary = strings.TrimPrefix(r.Summary+", "+count(len(m.Descriptors), "descriptor"), ", ")
	return m, nil
}

func rollback(m *avb.VBMeta) string {
	if m.RollbackIndexLocation != 0 {
		return fmt.Sprintf("%d at location %d", m.RollbackIndex, m.RollbackIndexLocation)
	}
	if m.RollbackIndex == 0 {
		return ""
	}
	return fmt.Sprint(m.RollbackIndex)
}

func (s *scan) descriptor(d avb.Descriptor, r *Report) {
	switch d := d.(type) {
	case *avb.ChainPartitionDescriptor:
		who := "a key of its own"
		if k, ok := testAVBKey(d.PublicKey); ok {
			who = "a test key"
			r.testKey("partition "+d.PartitionName+": trusts", k)
		}
		r.fact("partition", "%s: %s, rollback index at location %d", d.PartitionName, who, d.RollbackIndexLocation)
	case *avb.HashDescriptor:
		r.fact("partition", "%s: %s hash of %s", d.PartitionName, d.HashAlgorithm, progress.Size(int64(min(d.ImageSize, 1<<62))))
	case *avb.HashtreeDescriptor:
		fec := "no FEC"
		if d.FECSize > 0 {
			fec = "FEC"
		}
		r.fact("partition", "%s: %s hash tree over %s, %s", d.PartitionName, d.HashAlgorithm, progress.Size(int64(min(d.ImageSize, 1<<62))), fec)
	case *avb.PropertyDescriptor:
		if len(d.Value) <= 256 {
			r.fact("property", "%s = %s", d.Key, d.Value)
		}
	case *avb.KernelCmdlineDescriptor:
		r.fact("command line", "%s", d.Cmdline)
	}
}

// siblings checks what the vbmeta image says of images that lie beside it.
func (s *scan) siblings(in *input, m *avb.VBMeta, r *Report) {
	if in.path == "" {
		return
	}
	for _, d := range m.Descriptors {
		part, _, size := covers(d)
		if part == "" {
			continue
		}
		name, err := avbtool.Sibling(in.path, part+slotSuffix(in.path))
		if err != nil {
			continue
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !s.afford(size) {
			r.skipped(fmt.Sprintf("%s beside it, %s", part, progress.Size(size)), why)
			continue
		}
		s.sibling(name, part, d, r)
	}
}

// slotSuffix is that of an image that is called vbmeta_a.img or so.
func slotSuffix(name string) string {
	name = strings.TrimSuffix(name, filepath.Ext(name))
	for _, suffix := range []string{"_a", "_b"} {
		if strings.HasSuffix(name, suffix) {
			return suffix
		}
	}
	return ""
}

func (s *scan) sibling(name, part string, d avb.Descriptor, r *Report) {
	m, err := avbtool.Open(name)
	if err != nil {
		r.fail(err, "")
		return
	}
	defer m.Close()
	s.compare(name, m, m.Size, d, r)
}

// covers returns the partition, kind and bytes that a descriptor has a digest
// of; "" if it has none.
func covers(d avb.Descriptor) (partition, what string, size int64) {
	switch d := d.(type) {
	case *avb.HashDescriptor:
		return d.PartitionName, "hash", int64(min(d.ImageSize, 1<<62))
	case *avb.HashtreeDescriptor:
		return d.PartitionName, "hash tree", int64(min(d.ImageSize, 1<<62))
	}
	return "", "", 0
}

// compare verifies an image against a descriptor.
func (s *scan) compare(name string, im io.ReaderAt, imSize int64, d avb.Descriptor, r *Report) {
	part, what, size := covers(d)
	err := avbtool.VerifyDescriptor(s.ctx, name, im, imSize, d, avbtool.VerifyOptions{AcceptZeroed: true}, avbtool.Progress(s.progress(name)))
	switch {
	case err == nil && part == "":
		r.done("%s over %s", what, progress.Size(size))
	case err == nil:
		r.done("%s: %s over %s", part, what, progress.Size(size))
	case isCancelled(err):
	case errors.Is(err, mios.ErrDenied):
		r.fail(err, "take the image as it was signed, or sign it anew")
	default:
		r.fail(err, "")
	}
}

// footer looks for an AVB footer behind an input that is another thing as well.
func (s *scan) footer(in *input, r *Report) {
	if r.Kind == "vbmeta" || r.Kind == "sparse" || r.Kind == "gpt" || in.size < avb.FooterSize {
		return
	}
	tail := make([]byte, avb.FooterSize)
	if readat.Full(in, tail, in.size-avb.FooterSize) != nil || !bytes.HasPrefix(tail, []byte("AVBf")) {
		return
	}
	if err := s.readFooter(in, r); err != nil {
		r.fail(fmt.Errorf("AVB footer: %w", err), "mios avb erase removes it, mios avb add-hash or add-hashtree makes a new one")
	}
}

func (s *scan) readFooter(in *input, r *Report) error {
	raw, foot, err := avb.Read(in, in.size)
	if err != nil {
		return err
	}
	if foot == nil {
		return errors.New("broken")
	}
	if r.Kind == unknown {
		r.Kind, r.Title = "avb_image", "image with an AVB footer"
	}
	c := &Report{Name: "(AVB footer)", Kind: "avb_footer", Title: "AVB footer", Size: int64(len(raw))}
	r.part(c)
	m, err := s.metadata(raw, c)
	if err != nil {
		return err
	}
	for _, d := range m.Descriptors {
		_, what, size := covers(d)
		if what == "" || uint64(size) > uint64(in.size) {
			continue
		}
		if !s.afford(size) {
			c.skipped(fmt.Sprintf("the %s over %s", what, progress.Size(size)), why)
			continue
		}
		s.compare(in.base(), in, in.size, d, c)
		break // others are of other images
	}
	return nil
}

// isAVBKey says whether an input is as long as a key of that many bits is.
func isAVBKey(in *input) bool {
	if len(in.head) < 8 {
		return false
	}
	return in.size == 8+2*int64(binary.BigEndian.Uint32(in.head)/8)
}

// avbPublicKey tells of a public key in AVB's encoding.
func (s *scan) avbPublicKey(in *input, r *Report) error {
	b, err := in.bytes()
	if err != nil {
		return err
	}
	pub, err := avb.ParsePublicKey(b)
	if err != nil {
		return err
	}
	s.publicKey(b, pub, r)
	return nil
}

// avbCertificate tells of a certificate of the avb_cert extension.
func (s *scan) avbCertificate(in *input, r *Report) error {
	c, err := parsed(in.bytes, avb.ParseCertificate)
	if err != nil {
		return err
	}
	s.avbCert("", c, r)
	return nil
}

// avbCertMetadata tells of the two certificates in a vbmeta image.
func (s *scan) avbCertMetadata(in *input, r *Report) error {
	m, err := parsed(in.bytes, avb.ParseCertMetadata)
	if err != nil {
		return err
	}
	s.avbCert("intermediate ", m.Intermediate, r)
	s.avbCert("signing ", m.Signing, r)
	if err := m.Signing.Verify(m.Intermediate.PublicKey); err != nil {
		r.fail(fmt.Errorf("the signing certificate, by the intermediate one: %w", err), "make it anew: mios avb cert-metadata")
	} else {
		r.done("the signing certificate, by the intermediate one")
	}
	return nil
}

func (s *scan) avbCert(what string, c *avb.Certificate, r *Report) {
	r.fact(what+"key", "sha256 %s, version %d", sha256Hex(c.PublicKey), c.KeyVersion)
	if k, ok := testAVBKey(c.PublicKey); ok {
		r.testKey("a certificate of", k)
	}
}
