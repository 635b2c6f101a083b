package payload

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"mios"
	"mios/internal/count"
)

// Properties is what payload_properties.txt says of a payload.
type Properties struct {
	FileHash     [sha256.Size]byte
	FileSize     int64
	MetadataHash [sha256.Size]byte
	MetadataSize int64
}

// String returns the text of payload_properties.txt.
func (p Properties) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("FILE_HASH=%s\nFILE_SIZE=%d\nMETADATA_HASH=%s\nMETADATA_SIZE=%d\n",
		b64(p.FileHash[:]), p.FileSize, b64(p.MetadataHash[:]), p.MetadataSize)
}

// Write writes a payload: header, manifest, what data yields, and the signers'
// signatures (RSA; none leaves it unsigned). It sets the manifest's
// SignaturesOffset and SignaturesSize. The data is that of the operations, one
// after the other; [Manifest.DataSize] bytes of it.
func Write(w io.Writer, m *Manifest, data io.Reader, signers []crypto.Signer) (Properties, error) {
	sigSize, err := signaturesSize(signers)
	if err != nil {
		return Properties{}, err
	}
	m.sizes(sigSize)
	if err := m.check(0); err != nil {
		return Properties{}, err
	}
	from := &countReader{r: data}
	p, err := assemble(w, m, from, signers, sigSize)
	if want := m.DataSize(); err == nil && uint64(from.n) != want {
		return p, fmt.Errorf("data of %d bytes, want the operations' %d: %w", from.n, want, mios.ErrInvalid)
	}
	return p, err
}

// sizes fills in what the manifest says of the payload signature.
func (m *Manifest) sizes(sigSize int) {
	m.SignaturesOffset, m.SignaturesSize = 0, 0
	// As AOSP's generator does, the numbers that say "full" and "any time" are
	// written out; an offset is there if there is a signature.
	m.explicit |= 1<<12 | 1<<14
	if sigSize > 0 {
		m.SignaturesOffset, m.SignaturesSize = m.DataSize(), uint64(sigSize)
		m.explicit |= 1 << 4
	}
}

// assemble writes header, manifest, signatures and data, and judges none.
func assemble(w io.Writer, m *Manifest, data io.Reader, signers []crypto.Signer, sigSize int) (Properties, error) {
	body := m.Encode()
	if len(body) > MaxManifest {
		return Properties{}, fmt.Errorf("manifest of %d bytes, want at most %d: %w", len(body), MaxManifest, mios.ErrInvalid)
	}
	raw := append([]byte(magic), make([]byte, HeaderSize-len(magic))...)
	binary.BigEndian.PutUint64(raw[4:], majorVersion)
	binary.BigEndian.PutUint64(raw[12:], uint64(len(body)))
	binary.BigEndian.PutUint32(raw[20:], uint32(sigSize))
	raw = append(raw, body...)
	p := Properties{MetadataHash: sha256.Sum256(raw), MetadataSize: int64(len(raw))}
	metaSig, err := signed(p.MetadataHash, signers, sigSize)
	if err != nil {
		return p, err
	}
	file, all := sha256.New(), sha256.New()
	out := &count.Writer{W: io.MultiWriter(w, file)}
	if _, err := out.Write(append(raw, metaSig...)); err != nil {
		return p, err
	}
	all.Write(raw)
	if _, err := io.Copy(io.MultiWriter(out, all), data); err != nil {
		return p, err
	}
	sig, err := signed([sha256.Size]byte(all.Sum(nil)), signers, sigSize)
	if err != nil {
		return p, err
	}
	if _, err := out.Write(sig); err != nil {
		return p, err
	}
	p.FileHash, p.FileSize = [sha256.Size]byte(file.Sum(nil)), out.N
	return p, nil
}

// signed returns the encoded signatures over a digest.
func signed(digest [sha256.Size]byte, signers []crypto.Signer, size int) ([]byte, error) {
	s, err := Sign(digest, signers)
	if err != nil {
		return nil, err
	}
	b := s.Encode()
	if len(b) != size {
		return nil, fmt.Errorf("signatures of %d bytes, want %d", len(b), size)
	}
	return b, nil
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
