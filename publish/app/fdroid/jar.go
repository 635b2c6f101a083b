package fdroid

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"mios"
	"mios/format/apksig"
)

// A digester is what an entry of a JAR has to know of its bytes.
type digester struct {
	sha  hash.Hash
	crc  uint32
	size int64
}

func newDigester() *digester { return &digester{sha: sha256.New()} }

// Write implements [io.Writer].
func (d *digester) Write(b []byte) (int, error) {
	d.sha.Write(b)
	d.crc = crc32.Update(d.crc, crc32.IEEETable, b)
	d.size += int64(len(b))
	return len(b), nil
}

func (d *digester) sum() mios.Digest { return mios.Digest(d.sha.Sum(nil)) }

// An entry is the one file of a JAR that matters, packed already.
type entry struct {
	name   string
	raw    *digester
	packed io.Reader
	size   int64 // packed
}

// stored returns an entry of some bytes.
func stored(name string, b []byte) (entry, error) {
	e := entry{name: name, raw: newDigester()}
	e.raw.Write(b)
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return e, err
	}
	if _, err := w.Write(b); err != nil {
		return e, err
	}
	if err := w.Close(); err != nil {
		return e, err
	}
	e.packed, e.size = &packed, int64(packed.Len())
	return e, nil
}

// dosEpoch is the date of all entries, the first that ZIP knows: nobody reads
// it, and the bytes are the same each time.
const dosEpoch = 1<<5 | 1

// signedJAR returns a JAR of one entry and its signature.
func signedJAR(key crypto.Signer, certificate []byte, e entry) ([]byte, error) {
	files, err := apksig.SignJAR(apksig.Signer{Key: key, Certificate: certificate, Name: "MIOS"},
		map[string]mios.Digest{e.name: e.raw.sum()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	var out bytes.Buffer
	out.Grow(int(e.size) + 16<<10)
	z := zip.NewWriter(&out)
	for _, f := range files {
		s, err := stored(f.Name, f.Data)
		if err != nil {
			return nil, err
		}
		if err := s.write(z); err != nil {
			return nil, err
		}
	}
	if err := e.write(z); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (e *entry) write(z *zip.Writer) error {
	h := &zip.FileHeader{
		Name: e.name, Method: zip.Deflate, CRC32: e.raw.crc,
		CompressedSize64: uint64(e.size), UncompressedSize64: uint64(e.raw.size),
	}
	//lint:ignore SA1019 Modified would change nothing here
	h.ModifiedDate = dosEpoch
	w, err := z.CreateRaw(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, e.packed)
	return err
}
