package inspect

import (
	"archive/zip"
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mios/format/otazip"
	"mios/format/payload"
	"mios/internal/progress"
)

// payload tells of a payload.bin.
func (s *scan) payload(in *input, r *Report) error {
	m, err := payload.ReadMetadata(io.NewSectionReader(in, 0, in.size))
	if err != nil {
		return err
	}
	s.payloadFacts(m, in, r)
	n := 0
	if m.Signatures != nil {
		n = len(m.Signatures.Signatures)
	}
	if n == 0 {
		r.say(Warning, "mios ota full or delta with a key signs it", "nobody signed it: no device takes it")
	} else {
		r.fact("signed by", "%s; a payload does not say whose", count(n, "key"))
		r.skipped("the signature", "it needs the public key: mios ota verify")
	}
	s.payloadData(m, in, nil, r)
	return nil
}

// payloadFacts tells what a payload's manifest says.
func (s *scan) payloadFacts(m *payload.Metadata, in *input, r *Report) {
	f := m.Manifest
	r.Version = fmt.Sprintf("2.%d", f.MinorVersion)
	what := "full"
	if f.MinorVersion != 0 {
		what = "delta: it changes one build into another"
	}
	if f.PartialUpdate {
		what += ", of some partitions only"
	}
	r.fact("update", "%s", what)
	if f.MaxTimestamp > 0 {
		r.fact("build of", "%s", time.Unix(f.MaxTimestamp, 0).UTC().Format(time.DateTime)+" UTC")
	}
	r.fact("security patch", "%s", f.SecurityPatch)
	if d := f.Dynamic; d != nil {
		for _, g := range d.Groups {
			r.fact("group", "%s: at most %s: %s", g.Name, progress.Size(int64(min(g.Size, 1<<62))), strings.Join(g.Partitions, ", "))
		}
	}
	if size := m.PayloadSize(); size > in.size {
		r.say(Error, "fetch it again", "it should have %s, and ends after %s", progress.Size(size), progress.Size(in.size))
	}
	for i := range f.Partitions {
		r.part(partitionOf(&f.Partitions[i]))
	}
	what, _, _ = strings.Cut(what, ":")
	r.Summary = fmt.Sprintf("%s, %s", what, count(len(f.Partitions), "partition"))
}

// partitionOf tells of one partition which operations it is made by.
func partitionOf(p *payload.Partition) *Report {
	c := &Report{Name: p.Name, Kind: "partition", Title: "partition"}
	if p.NewInfo != nil {
		c.Size = int64(min(p.NewInfo.Size, 1<<62))
	}
	n := make(map[string]int)
	for i := range p.Operations {
		n[p.Operations[i].Type.String()]++
	}
	var ops []string
	for name, k := range n {
		ops = append(ops, fmt.Sprintf("%d %s", k, name))
	}
	slices.SortFunc(ops, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a))
	})
	c.Summary = strings.Join(ops, ", ")
	return c
}

// payloadData verifies the hashes of a payload's data.
func (s *scan) payloadData(m *payload.Metadata, in *input, keys []*rsa.PublicKey, r *Report) {
	if m.PayloadSize() > in.size {
		return
	}
	if !s.afford(in.size) {
		r.skipped("the data of the operations, "+progress.Size(in.size), why)
		return
	}
	_, err := m.VerifyFile(s.ctx, in, keys, s.progress(in.base()))
	switch {
	case err == nil:
		r.done("hashes of all operations' data, %s", progress.Size(in.size))
	case !isCancelled(err):
		r.fail(err, "it was damaged or changed: fetch or make it anew")
	}
}

// ota tells of an update package.
func (s *scan) ota(in *input, r *Report, z *zip.Reader) error {
	p, err := otazip.Open(in, in.size)
	if err != nil {
		return err
	}
	s.otaFacts(p, r)
	var keys []*rsa.PublicKey
	if cert := s.packageSignature(in, p.Certificate, r); cert != nil {
		if k, ok := cert.PublicKey.(*rsa.PublicKey); ok {
			keys = append(keys, k)
		}
	}
	if err := p.CheckPropertyFiles(); err != nil {
		r.fail(err, "an updater that streams would read the wrong bytes: make it anew")
	}
	pin := in.section(otazip.PayloadName, p.PayloadOffset, p.PayloadSize)
	c := &Report{Name: pin.name, Kind: "payload", Title: "update payload", Size: pin.size}
	r.part(c)
	m, err := payload.ReadMetadata(p.Payload())
	if err != nil {
		c.fail(err, "it is damaged or cut off: fetch or make it anew")
		return nil
	}
	s.payloadFacts(m, pin, c)
	if len(keys) > 0 && m.Signatures != nil {
		if err := m.Verify(keys); err != nil {
			r.say(Note, "", "the payload is signed by another key than the package")
			keys = nil
		} else {
			c.done("signature of the payload's metadata, by the key of the package")
		}
	}
	s.payloadData(m, pin, keys, c)
	r.Summary = c.Summary + strings.TrimSuffix(" for "+strings.Join(devices(p), ", "), " for ")
	return nil
}

func devices(p *otazip.Package) []string {
	if p.Metadata == nil {
		return nil
	}
	return p.Metadata.Precondition.Device
}

func (s *scan) otaFacts(p *otazip.Package, r *Report) {
	m := p.Metadata
	if m == nil {
		r.fact("metadata", "text only, as of Android 11 or older")
		r.fact("to", "%s", p.Value("post-build"))
		r.fact("from", "%s", p.Value("pre-build"))
		return
	}
	r.fact("device", "%s", strings.Join(m.Precondition.Device, ", "))
	r.fact("from", "%s", strings.Join(m.Precondition.Build, ", "))
	r.fact("to", "%s", strings.Join(m.Postcondition.Build, ", "))
	if t := m.Postcondition.Timestamp; t > 0 {
		r.fact("build of", "%s UTC", time.Unix(t, 0).UTC().Format(time.DateTime))
	}
	r.fact("security patch", "%s", m.Postcondition.SecurityPatch)
	if m.Wipe {
		r.say(Warning, "", "it erases the user's data")
	}
	if m.Downgrade {
		r.say(Warning, "", "it brings an older build")
	}
	if p.Apexes != nil {
		r.fact("apexes", "%d", len(p.Apexes.Apexes))
	}
}

// packageSignature verifies the signature over the whole file against the
// certificate that it names.
func (s *scan) packageSignature(in *input, text []byte, r *Report) *x509.Certificate {
	if len(text) == 0 {
		r.say(Warning, "sign it: recovery takes it only then", "no certificate is in it, so it is not said who signed it")
		return nil
	}
	certs, err := otazip.ParseCertificates(text)
	if err != nil {
		r.fail(fmt.Errorf("its certificate: %w", err), "")
		return nil
	}
	if !s.afford(in.size) {
		r.skipped("the signature over the whole file, "+progress.Size(in.size), why)
		r.certificate("OTA package", "", certs[0].Raw, notVerified)
		return certs[0]
	}
	cert, err := otazip.VerifyFile(s.ctx, in, in.size, certs)
	switch {
	case err == nil:
		r.certificate("OTA package", "", cert.Raw, verified)
		r.done("signature over the whole file, %s", progress.Size(in.size))
		return cert
	case isCancelled(err):
	case errors.Is(err, otazip.ErrSignature):
		r.certificate("OTA package", "", certs[0].Raw, wrong)
		r.fail(err, "it was changed after it was signed, or somebody else signed it than its certificate says")
	default:
		r.certificate("OTA package", "", certs[0].Raw, notVerified)
		r.fail(err, "sign it: recovery takes it only then")
	}
	return certs[0]
}

// wholeFile tells of an update package without a payload.
func (s *scan) wholeFile(in *input, r *Report, z *zip.Reader) error {
	text := readZip(z, "META-INF/com/android/otacert")
	for line := range strings.Lines(string(readZip(z, "META-INF/com/android/metadata"))) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && len(r.Facts) < 16 {
			r.fact(k, "%s", v)
		}
	}
	if text != nil {
		s.packageSignature(in, text, r)
	} else {
		r.say(Note, "mios ota verify --cert does it", "no certificate is in it, so its signature is not verified")
	}
	return s.plainZip(in, r, z)
}

// readZip returns a small file of a zip, or nil.
func readZip(z *zip.Reader, name string) []byte {
	f, err := z.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil
	}
	return b
}

// sha256Hex is a digest for people.
func sha256Hex(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
