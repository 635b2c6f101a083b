package sign

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"mios"
	"mios/build/fstree"
	"mios/build/image/ramdisk"
	"mios/format/apex"
	"mios/format/avb"
	"mios/format/cpio"
	"mios/format/fsimage"
	"mios/format/targetfiles"
)

// keyID names a public key: the SHA-256 of its SubjectPublicKeyInfo.
func keyID(pub any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return string(sum[:]), nil
}

// lose notes that a public key is replaced, and must be in nothing that is made.
// s.mu is held, or nothing else runs.
func (s *signing) lose(pub any) {
	if id, err := keyID(pub); err == nil {
		s.lost[id] = pub
	}
}

// A finder looks for keys in bytes: those that were replaced by their numbers,
// wherever and however these stand, and AOSP's test keys where there is a public
// key in DER.
//
// Numbers of a key have 64 bytes and more, those of RSA 256. Of what is searched
// eight bytes are looked at, in steps that no number is too short for, and
// compared with all that a number may have there.
type finder struct {
	needles []needle
	at      map[uint64][]spot
	filter  []uint64 // a bit for each of at, by hash
	stride  int      // bytes from one look to the next
	report  func(where, key string)
}

type needle struct {
	name string
	data []byte
}

type spot struct{ needle, off int }

const (
	window     = 8
	evidence   = 24  // bytes that must be there
	minStride  = 32  // for numbers of 64 bytes
	maxStride  = 128 // more saves nothing
	filterBits = 20
)

func newFinder(lost map[string]any, trusted map[string]bool, report func(where, key string)) *finder {
	f := &finder{at: map[uint64][]spot{}, filter: make([]uint64, 1<<filterBits/64), stride: maxStride, report: report}
	for id, pub := range lost {
		if trusted[id] {
			continue
		}
		name := hex.EncodeToString([]byte(id))
		if k, ok := targetfiles.TestPublicKey(pub); ok {
			name = k.Name() + " " + name
		}
		f.add(name, keyNumbers(pub))
	}
	return f
}

// keyNumbers is what no other key has: the modulus, or the point.
func keyNumbers(pub any) []byte {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return k.N.Bytes()
	case *ecdsa.PublicKey:
		if b, err := k.Bytes(); err == nil {
			return b[1:]
		}
	}
	return nil
}

// add adds a number as it stands in certificates and vbmeta images, backwards, as
// in libmincrypt's keys, and in hexadecimal.
func (f *finder) add(name string, n []byte) {
	if len(n) < minStride+evidence {
		return
	}
	if len(n) < maxStride+evidence {
		f.stride = minStride
	}
	back := slices.Clone(n)
	slices.Reverse(back)
	text := hex.EncodeToString(n)
	for _, b := range [][]byte{n, back, []byte(text), []byte(strings.ToUpper(text))} {
		f.needles = append(f.needles, needle{name, b})
		for off := 0; off+evidence <= len(b); off++ {
			w := binary.LittleEndian.Uint64(b[off:])
			f.at[w] = append(f.at[w], spot{len(f.needles) - 1, off})
			h := bit(w)
			f.filter[h>>6] |= 1 << (h & 63)
		}
	}
}

// bit is the place of a window in the filter.
func bit(w uint64) uint64 { return w * 0x9e3779b97f4a7c15 >> (64 - filterBits) }

// spkiRSA is what is in the public key of every RSA certificate, from its fifth
// byte on.
var spkiRSA = []byte{0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03}

// spkiEC is the same of a certificate with a key on P-256.
var spkiEC = []byte{0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03}

const (
	scanStep = 1 << 20
	overlap  = 8 << 10 // more than a key has
)

// reader looks through all that r yields.
func (f *finder) reader(where string, r io.Reader) error {
	buf := make([]byte, overlap+scanStep)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		f.bytes(where, buf[:kept+n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buf, buf[len(buf)-overlap:])
	}
}

// bytes looks through b.
func (f *finder) bytes(where string, b []byte) {
	if len(f.needles) > 0 {
		for i := 0; i+window <= len(b); i += f.stride {
			w := binary.LittleEndian.Uint64(b[i:])
			if h := bit(w); f.filter[h>>6]>>(h&63)&1 != 0 {
				f.look(where, b, i, w)
			}
		}
	}
	f.spki(where, b, spkiRSA)
	f.spki(where, b, spkiEC)
	f.pem(where, b)
}

// look compares what is around a window that a key may have.
func (f *finder) look(where string, b []byte, i int, w uint64) {
	for _, p := range f.at[w] {
		n := f.needles[p.needle]
		if want := n.data[p.off : p.off+evidence]; i+evidence <= len(b) && bytes.Equal(b[i:i+evidence], want) {
			f.report(where, n.name)
			return
		}
	}
}

// spki looks for public keys in DER that are test keys of AOSP's.
func (f *finder) spki(where string, b, algorithm []byte) {
	for from := 0; ; {
		i := bytes.Index(b[from:], algorithm)
		if i < 0 {
			return
		}
		at := from + i
		from = at + 1
		for _, head := range []int{4, 2} { // of the sequence: 30 82 LL LL, 30 LL
			if at < head || b[at-head] != 0x30 {
				continue
			}
			size := head + int(b[at-1])
			if head == 4 {
				size += int(b[at-2]) << 8
			}
			if at-head+size <= len(b) {
				f.publicKey(where, b[at-head:at-head+size])
			}
		}
	}
}

func (f *finder) publicKey(where string, der []byte) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return
	}
	f.key(where, pub)
}

// key reports a public key that is a test key of AOSP's.
func (f *finder) key(where string, pub any) {
	if k, ok := targetfiles.TestPublicKey(pub); ok {
		f.report(where, k.Name()+" (a test key of AOSP)")
	}
}

// pem looks into certificates and keys that are written as text.
func (f *finder) pem(where string, b []byte) {
	for begin := []byte("-----BEGIN "); ; {
		i := bytes.Index(b, begin)
		if i < 0 {
			return
		}
		b = b[i:]
		if block, rest := pem.Decode(b); block != nil && bytes.HasPrefix(b, []byte("-----BEGIN "+block.Type)) {
			f.dense(where, block.Bytes)
			b = rest
			continue
		}
		b = b[len(begin):]
	}
}

// dense looks through few bytes that hold a key, or none.
func (f *finder) dense(where string, b []byte) {
	for i := 0; i+window <= len(b); i++ {
		f.look(where, b, i, binary.LittleEndian.Uint64(b[i:]))
	}
	f.spki(where, b, spkiRSA)
	f.spki(where, b, spkiEC)
}

// maxNested is the most that a zip in a file may unpack to that is looked into, in
// bytes; otacerts.zip has some kilobytes.
const maxNested = 64 << 20

// maxNesting is how deep files in files are looked into.
const maxNesting = 16

// file looks through a file by what it is: packages, images, ramdisks and zips are
// unpacked.
func (f *finder) file(where string, r io.ReaderAt, size int64) error {
	if err := f.reader(where, io.NewSectionReader(r, 0, size)); err != nil {
		return err
	}
	return f.inside(where, r, size)
}

// inside looks into what is packed in a file.
func (f *finder) inside(where string, r io.ReaderAt, size int64) error {
	switch base := path.Base(where); {
	case targetfiles.IsApex(base):
		return f.apex(where, r, size)
	case strings.HasSuffix(base, ".apk"), strings.HasSuffix(base, ".zip"), strings.HasSuffix(base, ".jar"):
		return f.zip(where, r, size)
	case strings.HasSuffix(base, ".avbpubkey"):
		return f.avbKey(where, r, size)
	case targetfiles.IsMacPermissions(base):
		return f.permissions(where, r, size)
	case isNested(base):
		if m := nestedVBMeta(r, size); m != nil {
			f.vbmeta(where, m)
		}
	}
	return nil
}

// zip looks into a zip: in packages where certificates are, in small ones
// everywhere.
func (f *finder) zip(where string, r io.ReaderAt, size int64) error {
	if strings.Count(where, nested("", "")) >= maxNesting {
		return fmt.Errorf("%s: files in files, %d deep: %w", where, maxNesting, mios.ErrInvalid) // there are zips that hold themselves
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil // whatever it is, its bytes were looked through
	}
	for _, e := range z.File {
		signature := strings.HasPrefix(e.Name, "META-INF/") && slices.Contains([]string{".RSA", ".DSA", ".EC"}, path.Ext(e.Name))
		certificate := strings.HasSuffix(e.Name, extPEM) || strings.HasSuffix(e.Name, ".zip")
		if e.Method == zip.Store || !signature && !certificate && size > maxKeyFile || e.UncompressedSize64 > maxNested {
			continue
		}
		in, err := e.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(io.LimitReader(in, maxNested))
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
		name := nested(where, e.Name)
		f.bytes(name, b)
		if err := f.inside(name, bytes.NewReader(b), int64(len(b))); err != nil {
			return err
		}
	}
	return nil
}

// avbKey looks at a key in AVB's encoding.
func (f *finder) avbKey(where string, r io.ReaderAt, size int64) error {
	if size > avb.MaxVBMetaSize {
		return nil
	}
	b := make([]byte, size)
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if k, ok := targetfiles.TestAVBKey(b); ok {
		f.report(where, k.Name()+" (a test key of AOSP)")
	}
	return nil
}

// permissions looks at the certificates of a mac_permissions.xml.
func (f *finder) permissions(where string, r io.ReaderAt, size int64) error {
	b := make([]byte, min(size, maxSmall))
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	m, err := targetfiles.ParseMacPermissions(b)
	if err != nil {
		return err
	}
	for _, signer := range m.Signers {
		for _, c := range signer.Certificates {
			f.dense(where, c)
		}
	}
	return nil
}

// apex looks into an APEX.
func (f *finder) apex(where string, r io.ReaderAt, size int64) error {
	a, err := apex.Open(r, size)
	if err != nil {
		return err
	}
	if _, ok := targetfiles.TestAVBKey(a.PublicKey); ok {
		f.report(nested(where, apex.PublicKeyName), "a test key of AOSP")
	}
	if a.Compressed {
		in, err := a.OpenEntry(a.Entry(apex.OriginalName))
		if err != nil {
			return err
		}
		// What is in it was seen when it was made; its bytes are looked through.
		return errors.Join(f.reader(nested(where, apex.OriginalName), in), in.Close())
	}
	p, err := a.Payload()
	if err != nil {
		return err
	}
	files, err := p.FS()
	if err != nil {
		return err
	}
	return f.files(nested(where, apex.PayloadName), files.FS)
}

// files looks into the files of an image: packed ones, and the bytes of those
// that the image holds compressed.
func (f *finder) files(where string, fsys *fsimage.FS) error {
	root, err := fsys.Root()
	if err != nil {
		return err
	}
	return fsys.Walk("", root, func(name string, n fsimage.Node) error {
		if !n.Info().Mode.IsRegular() {
			return nil
		}
		r, size := nodeReader(fsys, n)
		where := nested(where, name)
		packed, err := compressed(n)
		if err != nil {
			return err
		}
		if packed {
			return f.file(where, r, size)
		}
		return f.inside(where, r, size)
	})
}

// compressed reports whether an image holds a file's bytes compressed.
func compressed(n fsimage.Node) (bool, error) {
	for e, err := range n.Extents(0) {
		if err != nil || e.Codec != fsimage.Plain {
			return true, err
		}
	}
	return false, nil
}

// image looks into an image of a partition: its own bytes, its vbmeta image, its
// file system or its ramdisks.
func (f *finder) image(m *image, r io.ReaderAt, size int64) error {
	if err := f.reader(m.name, io.NewSectionReader(r, 0, size)); err != nil {
		return err
	}
	if raw, _, err := avb.Read(r, size); err == nil && m.kind != "super" {
		if meta, err := avb.Parse(raw); err == nil {
			f.vbmeta(m.name, meta)
		}
	}
	switch m.kind {
	case "ext4", "erofs":
		fs, err := fstree.Open(r, size)
		if err != nil {
			return err
		}
		return f.files(m.name, fs.FS)
	}
	return nil
}

// vbmeta looks at the keys of a vbmeta image.
func (f *finder) vbmeta(where string, m *avb.VBMeta) {
	keys := [][]byte{m.PublicKey}
	for _, d := range m.Descriptors {
		if d, ok := d.(*avb.ChainPartitionDescriptor); ok {
			keys = append(keys, d.PublicKey)
		}
	}
	for _, k := range keys {
		if t, ok := targetfiles.TestAVBKey(k); ok {
			f.report(where, t.Name()+" (a test key of AOSP)")
		}
	}
}

// boot looks into the ramdisks of a boot image.
func (f *finder) boot(where string, b *bootImage) error {
	for _, part := range b.ramdisks() {
		if len(part.data) == 0 {
			continue
		}
		d, err := ramdisk.Read(part.data)
		if err != nil {
			return err
		}
		for _, e := range d.Entries {
			if e.Mode&cpio.TypeMask != cpio.TypeRegular {
				continue
			}
			name := nested(where, path.Join(part.name, e.Name))
			if err := f.file(name, bytes.NewReader(e.Data), int64(len(e.Data))); err != nil {
				return err
			}
		}
	}
	return nil
}
