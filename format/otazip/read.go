package otazip

import (
	"archive/zip"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"mios"
)

// A Package is one that is read.
type Package struct {
	Metadata      *Metadata // nil if there is none in protobuf: Android 11 or older
	Text          string    // the metadata as text
	Properties    string    // payload_properties.txt
	CareMap       *CareMap  // nil without one
	Apexes        *ApexInfo // nil without one
	Certificate   []byte    // otacert: the PEM of who says to have signed it
	PayloadOffset int64     // bytes
	PayloadSize   int64

	r     io.ReaderAt
	size  int64
	where map[string][2]int64 // offset and size of each entry that is stored
}

// maxEntries is how many entries a package may have.
const maxEntries = 1024

// Open reads the directory and the small entries of the package in the first
// size bytes of r. Nothing is verified: see [Package.Verify].
func Open(r io.ReaderAt, size int64) (*Package, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, bad("", 0, "%v", err)
	}
	if len(z.File) > maxEntries {
		return nil, bad("", 0, "%d entries, want at most %d", len(z.File), maxEntries)
	}
	p := &Package{r: r, size: size, where: map[string][2]int64{}}
	files := map[string]*zip.File{}
	for _, f := range z.File {
		if files[f.Name] != nil {
			return nil, bad("", 0, "entry %q is there twice", f.Name)
		}
		files[f.Name] = f
		if f.Method != zip.Store {
			continue
		}
		off, err := f.DataOffset()
		if err != nil || f.CompressedSize64 != f.UncompressedSize64 || off < 0 || f.CompressedSize64 > uint64(size-min(off, size)) {
			return nil, bad(f.Name, 0, "stored, and not in the file: %d bytes at %d (%v)", f.UncompressedSize64, off, err)
		}
		p.where[f.Name] = [2]int64{off, int64(f.UncompressedSize64)}
	}
	at, ok := p.where[PayloadName]
	if !ok {
		return nil, bad(PayloadName, 0, "not in the package, or compressed")
	}
	p.PayloadOffset, p.PayloadSize = at[0], at[1]
	return p, p.readSmall(files)
}

// readSmall reads what stands beside the payload.
func (p *Package) readSmall(files map[string]*zip.File) error {
	content := map[string][]byte{}
	for _, name := range []string{MetadataName, MetadataProtoName, PropertiesName, CareMapName, ApexInfoName, CertificateName} {
		f := files[name]
		if f == nil {
			continue
		}
		if f.UncompressedSize64 > maxSmall {
			return bad(name, 0, "%d bytes, want at most %d", f.UncompressedSize64, maxSmall)
		}
		rc, err := f.Open()
		if err != nil {
			return bad(name, 0, "%v", err)
		}
		b, err := io.ReadAll(io.LimitReader(rc, maxSmall))
		rc.Close()
		if err != nil {
			return bad(name, 0, "%v", err)
		}
		content[name] = b
	}
	p.Text, p.Properties, p.Certificate = string(content[MetadataName]), string(content[PropertiesName]), content[CertificateName]
	var err error
	if b := content[MetadataProtoName]; b != nil {
		if p.Metadata, err = ParseMetadata(b); err != nil {
			return err
		}
	}
	if b, ok := content[CareMapName]; ok {
		if p.CareMap, err = ParseCareMap(b); err != nil {
			return err
		}
	}
	if b, ok := content[ApexInfoName]; ok {
		p.Apexes, err = ParseApexInfo(b)
	}
	return err
}

// Payload returns payload.bin.
func (p *Package) Payload() *io.SectionReader {
	return io.NewSectionReader(p.r, p.PayloadOffset, p.PayloadSize)
}

// Verify checks the signature over the whole file: see [VerifyFile].
func (p *Package) Verify(ctx context.Context, certs []*x509.Certificate) (*x509.Certificate, error) {
	return VerifyFile(ctx, p.r, p.size, certs)
}

// Value returns a value of the metadata as text, or "".
func (p *Package) Value(key string) string {
	for line := range strings.Lines(p.Text) {
		if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && k == key {
			return v
		}
	}
	return ""
}

// CheckPropertyFiles refuses a package whose lists of where its pieces are send
// an updater to the wrong place, or that differ between the two metadata.
func (p *Package) CheckPropertyFiles() error {
	lists := 0
	for _, name := range []string{PropertyFiles, StreamingPropertyFiles} {
		v := p.Value(name)
		if p.Metadata != nil {
			for _, f := range p.Metadata.PropertyFiles {
				if f.Name == name && f.Value != v {
					return fmt.Errorf("%s: metadata.pb and metadata differ: %w", name, mios.ErrInvalid)
				}
			}
		}
		if v == "" {
			continue
		}
		lists++
		for token := range strings.SplitSeq(strings.TrimRight(v, " "), ",") {
			if err := p.checkToken(token); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if lists == 0 {
		return fmt.Errorf("no %s: %w: it cannot be applied while it is fetched", PropertyFiles, mios.ErrInvalid)
	}
	return nil
}

// checkToken compares one NAME:OFFSET:SIZE with where that entry is.
func (p *Package) checkToken(token string) error {
	parts := strings.Split(token, ":")
	if len(parts) != 3 {
		return fmt.Errorf("%q: want NAME:OFFSET:SIZE: %w", token, mios.ErrInvalid)
	}
	off, err1 := strconv.ParseInt(parts[1], 10, 64)
	size, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%q: want NAME:OFFSET:SIZE: %w", token, mios.ErrInvalid)
	}
	if parts[0] == "payload_metadata.bin" {
		if off == p.PayloadOffset && size > 0 && size <= p.PayloadSize {
			return nil
		}
		return fmt.Errorf("%q: the payload is at %d with %d bytes: %w", token, p.PayloadOffset, p.PayloadSize, mios.ErrInvalid)
	}
	// The list has names without their folders: several entries may have one.
	var places []string
	for name, at := range p.where {
		switch {
		case path.Base(name) != parts[0]:
		case at == [2]int64{off, size}:
			return nil
		default:
			places = append(places, fmt.Sprintf("%s is at %d with %d bytes", name, at[0], at[1]))
		}
	}
	if len(places) > 0 {
		slices.Sort(places)
		return fmt.Errorf("%q: %s: %w", token, strings.Join(places, ", "), mios.ErrInvalid)
	}
	return fmt.Errorf("%q: not in the package as it is: %w", token, mios.ErrInvalid)
}
