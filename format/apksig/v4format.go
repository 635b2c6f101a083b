package apksig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Constants of v4 signatures (AOSP tools/apksig, V4Signature).
const (
	idsigVersion     = 2
	idsigSHA256      = 1  // the only algorithm of the hash tree
	idsigLogBlock    = 12 // its pages are of 4096 bytes
	maxIDSigSalt     = 32
	maxIDSigHashing  = 1 << 10
	maxIDSigSigning  = 64 << 10 // bytes of signing infos that are read
	sizeIDSigSigning = 7168     // that are written, which is what a kernel takes
)

// An IDSig is what an .idsig file says before its hash tree: the v4 signature
// of a package (AOSP tools/apksig, V4Signature).
type IDSig struct {
	Salt    []byte        // of the hash tree; AOSP's tools write none
	Root    []byte        // SHA-256 of the tree's first page
	Signers []IDSigSigner // v4's first; then, of a package with v3.1, that of v4.1
}

// An IDSigSigner is one signer of an .idsig file.
type IDSigSigner struct {
	Block       uint32 // id of the signing block's pair that it belongs to; 0 in the first
	Digest      []byte // of the package, as its v3, v2 or v3.1 signature has it
	Certificate []byte // DER
	Extra       []byte // signed too; AOSP's tools write none
	PublicKey   []byte // DER, SubjectPublicKeyInfo
	Algorithm   uint32 // of the signature, as in the other schemes
	Signature   []byte
}

// ReadIDSig reads the beginning of an .idsig file, up to its hash tree. What it
// accepts, [IDSig.Bytes] gives back byte for byte. It reads no further than it
// must. What is malformed is a [*FormatError]; any other error is r's own.
func ReadIDSig(r io.Reader) (*IDSig, error) {
	d := &idsigReader{r: r}
	if version := d.uint32("version"); d.err == nil && version != idsigVersion {
		return nil, d.bad(0, "version %d, want %d", version, idsigVersion)
	}
	hashing := d.bytes("hashing info", maxIDSigHashing)
	start := d.off - int64(len(hashing))
	signing := d.bytes("signing infos", maxIDSigSigning)
	if d.err != nil {
		return nil, d.err
	}
	s := new(IDSig)
	if msg := s.hashing(hashing); msg != "" {
		return nil, d.bad(start, "hashing info: %s", msg)
	}
	start = d.off - int64(len(signing))
	c := &cursor{b: signing}
	for len(s.Signers) == 0 || c.more() {
		off := start + int64(len(signing)-len(c.b))
		if len(s.Signers) == maxRecords {
			return nil, d.bad(off, "more than %d signing infos", maxRecords)
		}
		var signer IDSigSigner
		from := c
		if len(s.Signers) > 0 {
			signer.Block, from = c.uint32(), c.sub()
		}
		signer.read(from)
		if from.bad || from != c && len(from.b) > 0 {
			return nil, d.bad(off, "signing info %d does not fit its length", len(s.Signers)+1)
		}
		s.Signers = append(s.Signers, signer)
	}
	return s, nil
}

// hashing reads the hashing info, and says what is wrong with it.
func (s *IDSig) hashing(b []byte) string {
	c := &cursor{b: b}
	alg := c.uint32()
	if len(c.b) == 0 {
		return "it is cut short"
	}
	log := c.b[0]
	c.b = c.b[1:]
	s.Salt, s.Root = c.bytes(), c.bytes()
	switch {
	case c.bad || c.more():
		return "it does not fit its length"
	case alg != idsigSHA256:
		return fmt.Sprintf("hash algorithm %d, want %d (SHA-256)", alg, idsigSHA256)
	case log != idsigLogBlock:
		return fmt.Sprintf("pages of 2^%d bytes, want 2^%d", log, idsigLogBlock)
	case len(s.Salt) > maxIDSigSalt:
		return fmt.Sprintf("salt of %d bytes, at most %d", len(s.Salt), maxIDSigSalt)
	}
	return ""
}

func (s *IDSigSigner) read(c *cursor) {
	s.Digest, s.Certificate, s.Extra, s.PublicKey = c.bytes(), c.bytes(), c.bytes(), c.bytes()
	s.Algorithm = c.uint32()
	s.Signature = c.bytes()
}

// Bytes returns the file up to its hash tree.
func (s *IDSig) Bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, idsigVersion)
	return append(b, prefixed(s.hashingInfo(), s.signingInfos())...)
}

func (s *IDSig) signingInfos() []byte {
	var out []byte
	for i := range s.Signers {
		b := s.Signers[i].bytes()
		if i > 0 {
			out = binary.LittleEndian.AppendUint32(out, s.Signers[i].Block)
			b = prefixed(b)
		}
		out = append(out, b...)
	}
	return out
}

func (s *IDSig) hashingInfo() []byte {
	b := binary.LittleEndian.AppendUint32(nil, idsigSHA256)
	return append(append(b, idsigLogBlock), prefixed(s.Salt, s.Root)...)
}

func (s *IDSigSigner) bytes() []byte {
	b := prefixed(s.Digest, s.Certificate, s.Extra, s.PublicKey)
	b = binary.LittleEndian.AppendUint32(b, s.Algorithm)
	return append(b, prefixed(s.Signature)...)
}

// signed returns what a signer signs, of a package of size bytes.
func (s *IDSig) signed(signer *IDSigSigner, size int64) []byte {
	rest := append(s.hashingInfo(), prefixed(signer.Digest, signer.Certificate, signer.Extra)...)
	b := binary.LittleEndian.AppendUint32(nil, uint32(4+8+len(rest)))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	return append(b, rest...)
}

// idsigReader reads length-prefixed values off a stream. After the first error
// it reads nothing.
type idsigReader struct {
	r   io.Reader
	off int64
	err error
}

func (d *idsigReader) bad(off int64, format string, args ...any) error {
	d.err = &FormatError{"idsig", off, fmt.Sprintf(format, args...)}
	return d.err
}

func (d *idsigReader) full(what string, b []byte) {
	if d.err != nil {
		return
	}
	n, err := io.ReadFull(d.r, b)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.bad(d.off+int64(n), "%s: %d bytes left, want %d", what, n, len(b))
	case err != nil:
		d.err = err
	}
	d.off += int64(n)
}

func (d *idsigReader) uint32(what string) uint32 {
	var b [4]byte
	d.full(what, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (d *idsigReader) bytes(what string, most uint32) []byte {
	n := d.uint32(what)
	if d.err == nil && n > most {
		d.bad(d.off-4, "%s of %d bytes, at most %d are read", what, n, most)
	}
	if d.err != nil {
		return nil
	}
	b := make([]byte, n)
	d.full(what, b)
	return b
}
