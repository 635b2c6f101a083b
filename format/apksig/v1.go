package apksig

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The platform versions at which what JAR signatures may be changed.
const (
	sdkGingerbread  = 9
	sdkJellyBeanMR2 = 18
	sdkKitKat       = 19
)

const (
	metaInf         = "META-INF/"
	manifestName    = metaInf + "MANIFEST.MF"
	maxV1Signers    = 10
	maxManifestFile = 16 << 20 // of a JAR manifest or signature file: of 65535 entries about 7 MiB
	maxBlockFile    = 1 << 20  // of a signature block
)

// v1 verifies JAR signatures, which platforms before 24 heed, and later ones if
// there is no other (AOSP tools/apksig, V1SchemeVerifier).
func (v *verifier) v1(ctx context.Context) error {
	if v.least >= sdkV2 && len(v.found) > 0 {
		return nil
	}
	v.digests[V1] = make(map[digestKind][]byte) // of a package without a JAR manifest it is empty
	v.scheme = V1
	j, err := v.jar()
	if err != nil {
		return err
	}
	c := &jarCheck{v: v, x: &extractor{j: j}, order: make([]int32, len(j.records))}
	if c.duplicates(); len(v.res.Errors) > 0 {
		return nil
	}
	e := j.find(manifestName)
	if e == nil {
		v.fail("JAR_SIG_NO_MANIFEST", "no JAR signature, and none of another scheme that counts")
		return nil
	}
	c.manifest = &jarManifest{x: &extractor{j: j}, e: e}
	for _, step := range []func(context.Context) error{c.sections, c.signers, c.entries} {
		if err := step(ctx); err != nil || len(v.res.Errors) > 0 {
			return err
		}
	}
	return nil
}

// A jarCheck is the verification of JAR signatures on its way.
type jarCheck struct {
	v        *verifier
	x        *extractor
	order    []int32 // the package's entries in the order of their names
	manifest *jarManifest
	main     section  // the manifest's main section
	listed   []listed // of each entry of the package, what the manifest has of it
	signed   []uint16 // of each entry of the package, a bit for each signer whose signature file names it
	text     string   // of the manifest, if its sections are wanted
	spans    []span   // of the entries' sections in it
	signer   []*jarSigner
}

// listed says what the manifest has of an entry.
type listed uint8

const (
	inManifest listed = 1 << iota // a section
	hasDigest                     // a digest in it that platforms of the range verify
)

// duplicates tells of names that several entries have, and puts them in order.
func (c *jarCheck) duplicates() {
	j := c.x.j
	for i := range c.order {
		c.order[i] = int32(i)
	}
	slices.SortStableFunc(c.order, func(a, b int32) int { return strings.Compare(j.name(a), j.name(b)) })
	same := func(i, k int) bool { return j.name(c.order[i]) == j.name(c.order[k]) }
	for i := 1; i < len(c.order); i++ {
		if same(i, i-1) && (i == 1 || !same(i-1, i-2)) {
			c.v.fail("JAR_SIG_DUPLICATE_ZIP_ENTRY", "%q", j.name(c.order[i]))
		}
	}
}

// index returns which of the package's entries has that name.
func (c *jarCheck) index(name string) (int32, bool) {
	i, ok := slices.BinarySearchFunc(c.order, name, func(at int32, name string) int { return strings.Compare(c.x.j.name(at), name) })
	if !ok {
		return 0, false
	}
	return c.order[i], true
}

// sections reads which entries the manifest has a section of. Those must be in
// the package.
func (c *jarCheck) sections(context.Context) error {
	c.listed = make([]listed, len(c.x.j.records))
	missing := make(map[string]bool)
	var attrs []jarAttribute
	err := c.manifest.each(func(n int, s section) error {
		if n == 0 {
			c.main = s
			return nil
		}
		attrs = s.attributes(attrs[:0])
		name, ok := entryName(attrs)
		if !ok {
			c.v.fail("JAR_SIG_UNNNAMED_MANIFEST_SECTION", "section %d of %s", n, manifestName)
			return nil
		}
		i, ok := c.index(name)
		switch {
		case !ok && missing[name], ok && c.listed[i] != 0:
			c.v.fail("JAR_SIG_DUPLICATE_MANIFEST_SECTION", "%q", name)
		case !ok:
			if len(missing) < maxIssues {
				missing[name] = true
			}
			c.v.fail("JAR_SIG_MISSING_ZIP_ENTRY_REFERENCED_IN_MANIFEST", "%q", name)
		default:
			c.listed[i] = inManifest
			if len(statedDigests(attrs, "-Digest", c.v.least, c.v.most)) > 0 {
				c.listed[i] |= hasDigest
			}
		}
		return nil
	})
	if err == nil {
		c.v.digests[V1] = map[digestKind][]byte{chunkedSHA256: c.manifest.sums[crypto.SHA256]}
	}
	return err
}

// A jarSigner is a signature block and the signature file that it signs.
type jarSigner struct {
	bit              uint16
	block, file      *jarEntry
	certs            [][]byte // its own, and those that issued it
	errors, warnings []Issue
	ignored          bool // it counts for nothing, and neither do its errors
}

func (s *jarSigner) fail(name, format string, args ...any) {
	s.errors = append(s.errors, newIssue(V1, s.block.name, name, format, args...))
}

func (s *jarSigner) warn(name, format string, args ...any) {
	s.warnings = append(s.warnings, newIssue(V1, s.block.name, name, format, args...))
}

func (s *jarSigner) ignore() { s.ignored = true }

// signers finds the signers, and verifies their signature files and what these
// say of the manifest. An error in any signature block ends it.
func (c *jarCheck) signers(ctx context.Context) error {
	c.findSigners()
	switch n := len(c.signer); {
	case n == 0:
		c.v.fail("JAR_SIG_NO_SIGNATURES", "no signature block with its signature file in META-INF")
		return nil
	case n > maxV1Signers:
		c.v.fail("JAR_SIG_MAX_SIGNATURES_EXCEEDED", "%d signers, at most %d", n, maxV1Signers)
		return nil
	}
	c.signed = make([]uint16, len(c.x.j.records))
	broken := false
	for _, s := range c.signer {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, err := c.verifyBlock(s)
		if err != nil {
			return err
		}
		if len(s.errors) > 0 {
			broken = true
			c.v.res.report(s.errors, s.warnings)
		} else if !broken {
			if err := c.verifyFile(s, sum); err != nil {
				return err
			}
		}
	}
	if broken {
		return nil
	}
	c.signer = slices.DeleteFunc(c.signer, func(s *jarSigner) bool {
		switch {
		case s.ignored:
			c.v.res.report(nil, append(s.errors, s.warnings...))
		case len(s.errors) > 0:
			c.v.res.report(s.errors, s.warnings)
		}
		return s.ignored || len(s.errors) > 0
	})
	if len(c.signer) == 0 && len(c.v.res.Errors) == 0 {
		c.v.fail("JAR_SIG_NO_SIGNATURES", "no signature file counts")
	}
	return nil
}

// findSigners finds the signature blocks that have a signature file.
func (c *jarCheck) findSigners() {
	j := c.x.j
	for i := range int32(len(j.records)) {
		name := j.name(i)
		if !strings.HasPrefix(name, metaInf) || !slices.Contains([]string{".RSA", ".DSA", ".EC"}, path.Ext(name)) {
			continue
		}
		file := strings.TrimSuffix(name, path.Ext(name)) + ".SF"
		if at, ok := c.index(file); !ok {
			c.v.warn("JAR_SIG_MISSING_FILE", "%s has no %s", name, file)
		} else {
			c.signer = append(c.signer, &jarSigner{bit: 1 << min(len(c.signer), 15), block: j.entry(i), file: j.entry(at)})
		}
	}
}

// verifyBlock verifies a signer's signature of its signature file, and returns
// the SHA-256 of that.
func (c *jarCheck) verifyBlock(s *jarSigner) ([]byte, error) {
	block, err := c.x.read(s.block, maxBlockFile)
	if err != nil {
		return nil, err
	}
	sd, err := parseSignedData([]byte(block))
	if err != nil {
		s.fail("JAR_SIG_PARSE_EXCEPTION", "%v", err)
		return nil, nil
	}
	if len(sd.infos) == 0 {
		s.fail("JAR_SIG_NO_SIGNERS", "")
		return nil, nil
	}
	if c.v.least < sdkV2 { // older platforms look at the first only
		sd.infos = sd.infos[:1]
	}
	certs := make([]*certificate, len(sd.certs))
	for i, raw := range sd.certs {
		if certs[i], err = parseCertificate(raw.full); err != nil {
			s.fail("JAR_SIG_PARSE_EXCEPTION", "certificate %d: %v", i+1, err)
			return nil, nil
		}
	}
	sf, err := c.digestFile(s.file, sd)
	if err != nil {
		return nil, err
	}
	for i := range sd.infos {
		cert, issue := sd.verify(&sd.infos[i], certs, sf, c.v.least, c.v.most)
		if issue.Name != "" {
			s.fail(issue.Name, "%s", issue.Detail)
			return nil, nil
		}
		if cert != nil && s.certs == nil {
			s.certs = chain(certs, cert)
		}
	}
	if s.certs == nil {
		s.fail("JAR_SIG_DID_NOT_VERIFY", "its signature is not of %s", s.file.name)
	}
	return sf.sum(crypto.SHA256), nil
}

// digestFile takes the digests of a signature file that its block may need.
func (c *jarCheck) digestFile(e *jarEntry, sd *signedData) (*content, error) {
	if e.size > maxManifestFile {
		return nil, badJar(int64(e.off), "%s: %d bytes, at most %d are read", e.name, e.size, maxManifestFile)
	}
	hashes := map[crypto.Hash]hash.Hash{crypto.SHA256: sha256.New()}
	for _, info := range sd.infos {
		if h := findDigest(info.digest); h != 0 {
			hashes[h] = h.New()
		}
		if cipher := findCipher(info.cipher); cipher != nil && cipher.hash != 0 {
			hashes[cipher.hash] = cipher.hash.New()
		}
	}
	var all []io.Writer
	for _, h := range hashes {
		all = append(all, h)
	}
	if err := c.x.copy(io.MultiWriter(all...), e); err != nil {
		return nil, err
	}
	sf := &content{gone: true, sums: make(map[crypto.Hash][]byte)}
	for h, w := range hashes {
		sf.sums[h] = w.Sum(nil)
	}
	return sf, nil
}

// verifyFile verifies what a signature file says of the manifest, and notes
// which entries it names. It reads the file once more, which must still have
// the SHA-256 sum that the signature is of.
func (c *jarCheck) verifyFile(s *jarSigner, sum []byte) error {
	data, err := c.x.open(s.file)
	if err != nil {
		return err
	}
	h := sha256.New()
	r := &sectionStream{r: bufio.NewReader(io.TeeReader(data, h))}
	if err := c.verifySections(s, r); err != nil {
		return err
	}
	for r.err == nil { // what is left of it
		r.next()
	}
	if r.err != io.EOF {
		return r.err
	}
	if !bytes.Equal(h.Sum(nil), sum) {
		return fmt.Errorf("%s: it changes while it is read", s.file.name)
	}
	return nil
}

func (c *jarCheck) verifySections(s *jarSigner, r *sectionStream) error {
	first, _ := r.next()
	head := first.attributes(nil)
	if _, ok := find(head, "Signature-Version"); !ok {
		s.fail("JAR_SIG_MISSING_VERSION_ATTR_IN_SIG_FILE", "%s", s.file.name)
		s.ignore()
		return nil
	}
	if c.v.most >= sdkV2 {
		if c.checkStripped(s, head); len(s.errors) > 0 {
			return nil
		}
	}
	by, _ := find(head, "Created-By")
	signtool := strings.Contains(by, "signtool")
	whole, err := c.verifyManifest(s, head, signtool)
	if err != nil {
		return err
	}
	if !signtool {
		c.verifyMain(s, head)
	}
	if len(s.errors) > 0 {
		return nil
	}
	unknown := make(map[string]bool) // names that are not in the package
	var attrs []jarAttribute
	for n := 1; ; n++ {
		sec, ok := r.next()
		if !ok {
			return nil
		}
		attrs = sec.attributes(attrs[:0])
		name, ok := entryName(attrs)
		if !ok {
			s.fail("JAR_SIG_UNNNAMED_SIG_FILE_SECTION", "section %d of %s", n, s.file.name)
			s.ignore()
			return nil
		}
		i, known := c.index(name)
		if known && c.signed[i]&s.bit != 0 || unknown[name] || len(unknown) > 1<<16 {
			s.fail("JAR_SIG_DUPLICATE_SIG_FILE_SECTION", "%q in %s", name, s.file.name)
			s.ignore()
			return nil
		}
		if known {
			c.signed[i] |= s.bit
		} else {
			unknown[name] = true
		}
		if whole {
			continue
		}
		if err := c.verifySection(s, name, attrs, signtool); err != nil {
			return err
		}
	}
}

// checkStripped fails if the signature file says that the package was signed
// with a scheme of which nothing is left.
func (c *jarCheck) checkStripped(s *jarSigner, head []jarAttribute) {
	signed, ok := find(head, "X-Android-APK-Signed")
	if !ok {
		if len(c.v.found) > 0 {
			s.warn("JAR_SIG_NO_APK_SIG_STRIP_PROTECTION", "%s does not name the other schemes", s.file.name)
		}
		return
	}
	told := make(map[int]bool)
	for word := range strings.SplitSeq(signed, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
		switch scheme := Scheme(id); {
		case err != nil || told[int(id)]:
		case !c.v.knows(scheme):
			s.warn("JAR_SIG_UNKNOWN_APK_SIG_SCHEME_ID", "%d in %s", id, s.file.name)
		case !c.v.found[scheme]:
			told[int(id)] = true
			s.fail("JAR_SIG_MISSING_APK_SIG_REFERENCED", "%s says that the package was signed with scheme %v, of which nothing is left", s.file.name, scheme)
		}
	}
}
