package otazip

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"path"
	"strings"

	"mios"
	"mios/internal/readat"
)

// A Writer writes a package. The same contents and key give the same bytes if
// the key is RSA.
type Writer struct {
	// Metadata is what the package says of itself; Write sets its PropertyFiles.
	Metadata   Metadata
	Payload    io.ReaderAt // payload.bin
	Size       int64       // of it, in bytes
	Properties string      // payload_properties.txt
	CareMap    *CareMap    // may be nil
	Apexes     *ApexInfo   // may be nil

	// Certificate and Key sign the whole file: RSA of 2048 or 4096 bits, or
	// ECDSA over P-256. A nil key leaves the package without signature.
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Write writes the package to w.
func (p *Writer) Write(ctx context.Context, w io.Writer) error {
	if err := p.checkKey(); err != nil {
		return err
	}
	entries, err := p.entries()
	if err != nil {
		return err
	}
	hash := sha256.New()
	out := io.MultiWriter(w, hash)
	var dir []byte
	at := lay(entries)
	for _, e := range entries {
		if err := e.sum(); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if _, err := out.Write(e.local()); err != nil {
			return err
		}
		n, err := copyContext(ctx, out, io.NewSectionReader(e.data, 0, e.size))
		if err == nil && n != e.size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		dir = append(dir, e.directory()...)
	}
	if _, err := out.Write(append(dir, end(len(entries), at, int64(len(dir)))...)); err != nil {
		return err
	}
	tail := []byte{0, 0} // no comment
	if p.Key != nil {
		block, err := sign(hash.Sum(nil), p.Certificate, p.Key)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		if tail, err = comment(block); err != nil {
			return err
		}
	}
	_, err = w.Write(tail)
	return err
}

// checkKey refuses keys that recovery would not take.
func (p *Writer) checkKey() error {
	if p.Key == nil {
		return nil
	}
	if p.Certificate == nil {
		return fmt.Errorf("a key without its certificate: %w", mios.ErrInvalid)
	}
	pub, ok := p.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(p.Certificate.PublicKey) {
		return fmt.Errorf("the certificate is of another key: %w", mios.ErrInvalid)
	}
	kind, ok := hashOf(p.Certificate)
	switch p.Certificate.PublicKey.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		if ok && kind == crypto.SHA256 {
			return nil
		}
	}
	return fmt.Errorf("certificate signed with %v: %w: recovery takes RSA of 2048 or 4096 bits or ECDSA P-256, each with SHA-256",
		p.Certificate.SignatureAlgorithm, mios.ErrInvalid)
}

// entries returns what the package holds, in SignApk's order, with the metadata
// that says where each is.
func (p *Writer) entries() ([]*entry, error) {
	small := func(name string, b []byte) *entry {
		return &entry{name: name, data: bytes.NewReader(b), size: int64(len(b))}
	}
	head := make([]byte, 24)
	if err := readat.Full(p.Payload, head, 0); err != nil || string(head[:4]) != "CrAU" {
		return nil, bad(PayloadName, 0, "no payload")
	}
	meta := 24 + int64(binary.BigEndian.Uint64(head[12:])) + int64(binary.BigEndian.Uint32(head[20:]))
	if meta < 24 || meta > p.Size {
		return nil, bad(PayloadName, 12, "metadata of %d bytes in a payload of %d", meta, p.Size)
	}
	list := []*entry{small(MetadataName, nil), small(MetadataProtoName, nil)}
	if p.Apexes != nil {
		list = append(list, small(ApexInfoName, p.Apexes.Encode()))
	}
	if p.CareMap != nil {
		list = append(list, small(CareMapName, p.CareMap.Encode()))
	}
	list = append(list, &entry{name: PayloadName, data: p.Payload, size: p.Size, align: PayloadAlign}, small(PropertiesName, []byte(p.Properties)))
	if p.Certificate != nil {
		list = append(list, small(CertificateName, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate.Raw})))
	}
	// What the metadata says depends on its own length. Spaces fill it up, so
	// that it only grows, and by digits.
	width := [2]int{}
	for {
		lay(list)
		values := [2]string{propertyFiles(list, meta), propertyFiles(list, 0)}
		grown := false
		for i, v := range values {
			if len(v) > width[i] {
				width[i], grown = len(v), true
			}
			values[i] += strings.Repeat(" ", width[i]-len(v))
		}
		p.Metadata.PropertyFiles = []PropertyFile{{PropertyFiles, values[0]}, {StreamingPropertyFiles, values[1]}}
		if text, pb := p.Metadata.Text(), p.Metadata.Encode(); !grown && int64(len(text)) == list[0].size && int64(len(pb)) == list[1].size {
			list[0].data, list[1].data = strings.NewReader(text), bytes.NewReader(pb)
			return list, nil
		} else {
			list[0].size, list[1].size = int64(len(text)), int64(len(pb))
		}
	}
}

// propertyFiles lists where each piece is, in releasetools' order, and the
// payload's own metadata first if its size is given.
func propertyFiles(list []*entry, metadata int64) string {
	var out []string
	token := func(name string, off, size int64) {
		out = append(out, fmt.Sprintf("%s:%d:%d", name, off, size))
	}
	for _, name := range []string{PayloadName, PropertiesName, ApexInfoName, CareMapName, MetadataName, MetadataProtoName} {
		for _, e := range list {
			if e.name != name {
				continue
			}
			if name == PayloadName && metadata > 0 {
				token("payload_metadata.bin", e.offset, metadata)
			}
			token(path.Base(name), e.offset, e.size)
		}
	}
	return strings.Join(out, ",")
}
