package apex

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"mios/format/apk"
	"mios/internal/count"
)

// alignExtra is the id of the extra field that AOSP's tools pad with: two bytes
// of alignment, then zeros. apksigner keeps an alignment that stands there.
const alignExtra = 0xd935

// capexDate is 2008-01-01, the date of what soong_zip writes.
const capexDate = (2008-1980)<<9 | 1<<5 | 1

// Contents are what Repack replaces.
type Contents struct {
	Payload     io.ReaderAt // nil: the old one stays
	PayloadSize int64       // bytes
	PublicKey   []byte      // in AVB's encoding; nil: the old one stays
}

// Repack writes f, which is not compressed, with other contents to w. All other
// entries, the order, the dates and the attributes stay; the payload is stored,
// and aligned to PayloadAlign in a way that signers keep. What signed the
// container before is left out of it: sign it anew.
func Repack(w io.Writer, f *File, c Contents) error {
	if f.Compressed {
		return ErrCompressed
	}
	z, err := zip.NewReader(f.r, f.size)
	if err != nil {
		return fmt.Errorf("apex: %w", err)
	}
	out := newWriter(w)
	seen := false
	for _, e := range z.File {
		switch {
		case e.Name == PayloadName && c.Payload != nil:
			err = out.store(e.FileHeader, io.NewSectionReader(c.Payload, 0, c.PayloadSize))
		case e.Name == PublicKeyName && c.PublicKey != nil:
			seen = true
			err = out.deflate(e.FileHeader, bytes.NewReader(c.PublicKey))
		default:
			err = out.copy(e)
		}
		if err != nil {
			return fmt.Errorf("apex: %s: %w", e.Name, err)
		}
	}
	if c.PublicKey != nil && !seen {
		//lint:ignore SA1019 as they stand there
		h := zip.FileHeader{Name: PublicKeyName, ModifiedDate: z.File[0].ModifiedDate, ModifiedTime: z.File[0].ModifiedTime}
		h.SetMode(0o644)
		if err := out.deflate(h, bytes.NewReader(c.PublicKey)); err != nil {
			return fmt.Errorf("apex: %s: %w", PublicKeyName, err)
		}
	}
	return out.close()
}

// Compress writes the APEX f compressed to w, as apex_compression_tool does:
// f itself as original_apex, and beside it what apexd reads first: its manifest with the root
// digest, its key, its build information and its AndroidManifest.xml. It is not
// signed: sign it.
func Compress(w io.Writer, f *File) error {
	p, err := f.Payload()
	if err != nil {
		return err
	}
	if f.Manifest.SupportsRebootlessUpdate {
		return errors.New("apex: compress: it can be updated without a reboot, which a compressed one cannot")
	}
	out := newWriter(w)
	if err := out.deflate(capexHeader(OriginalName), io.NewSectionReader(f.r, 0, f.size)); err != nil {
		return fmt.Errorf("apex: %s: %w", OriginalName, err)
	}
	for _, name := range []string{"apex_manifest.json", ManifestName, PublicKeyName, BuildInfoName, apk.ManifestName} {
		if f.Entry(name) == nil {
			continue
		}
		b, err := f.ReadFile(name, maxBuildInfo)
		if err == nil && name == ManifestName {
			b, err = withDigest(b, hex.EncodeToString(p.Tree.RootDigest))
		}
		if err == nil {
			err = out.deflate(capexHeader(name), bytes.NewReader(b))
		}
		if err != nil {
			return fmt.Errorf("apex: %s: %w", name, err)
		}
	}
	return out.close()
}

func capexHeader(name string) zip.FileHeader {
	//lint:ignore SA1019 Modified would add an extra field
	h := zip.FileHeader{Name: name, ModifiedDate: capexDate}
	h.SetMode(0o644)
	return h
}

// A writer writes entries whose headers say all, and aligns those that are
// stored.
type writer struct {
	n   count.Writer
	zip *zip.Writer
}

func newWriter(w io.Writer) *writer {
	out := &writer{n: count.Writer{W: w}}
	out.zip = zip.NewWriter(&out.n)
	return out
}

func (w *writer) close() error { return w.zip.Close() }

// copy copies an entry as it is.
func (w *writer) copy(e *zip.File) error {
	r, err := e.OpenRaw()
	if err != nil {
		return err
	}
	return w.raw(e.FileHeader, r)
}

// store writes an entry with new data, uncompressed.
func (w *writer) store(h zip.FileHeader, r io.ReadSeeker) error {
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, r)
	if err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h.Method, h.CRC32 = zip.Store, sum.Sum32()
	h.UncompressedSize64, h.CompressedSize64 = uint64(n), uint64(n)
	return w.raw(h, r)
}

// deflate writes an entry with new data, compressed. It compresses twice, so
// that the header in front can say what follows.
func (w *writer) deflate(h zip.FileHeader, r io.ReadSeeker) error {
	sum := crc32.NewIEEE()
	packed := count.Writer{W: io.Discard}
	n, err := squeeze(&packed, io.TeeReader(r, sum))
	if err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h.Method, h.CRC32 = zip.Deflate, sum.Sum32()
	h.UncompressedSize64, h.CompressedSize64 = uint64(n), uint64(packed.N)
	out, err := w.create(h)
	if err != nil {
		return err
	}
	_, err = squeeze(out, r)
	return err
}

func squeeze(w io.Writer, r io.Reader) (int64, error) {
	fw, err := flate.NewWriter(w, flate.BestCompression)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(fw, bufio.NewReader(r))
	if err != nil {
		return n, err
	}
	return n, fw.Close()
}

func (w *writer) raw(h zip.FileHeader, r io.Reader) error {
	out, err := w.create(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return err
}

// create begins an entry whose sizes and checksum h has.
func (w *writer) create(h zip.FileHeader) (io.Writer, error) {
	if h.CompressedSize64 >= 1<<32-1 || h.UncompressedSize64 >= 1<<32-1 {
		return nil, errors.New("too large for a package: Android takes 4 GiB")
	}
	if err := w.zip.Flush(); err != nil {
		return nil, err
	}
	h.Flags &^= 1 << 3 // no descriptor: the header has it all
	h.Extra = nil
	if h.Method == zip.Store && h.CompressedSize64 > 0 {
		a := int64(apk.Align)
		if h.Name == PayloadName {
			a = PayloadAlign
		}
		h.Extra = alignedExtra(w.n.N+30+int64(len(h.Name)), a)
	}
	return w.zip.CreateRaw(&h)
}

// alignedExtra returns an extra field that begins at start and ends at a
// multiple.
func alignedExtra(start, multiple int64) []byte {
	pad := (multiple - (start+6)%multiple) % multiple
	b := binary.LittleEndian.AppendUint16(nil, alignExtra)
	b = binary.LittleEndian.AppendUint16(b, uint16(2+pad))
	b = binary.LittleEndian.AppendUint16(b, uint16(multiple))
	return append(b, make([]byte, pad)...)
}
