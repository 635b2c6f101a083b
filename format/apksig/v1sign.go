package apksig

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	//lint:ignore SA1019 old packages are signed with it
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf16"

	"mios/format/apk"
)

// v1Hashes are the digests of JAR signatures that are made, the weakest first.
var v1Hashes = []struct {
	hash crypto.Hash
	name string // in attributes
	oid  string
}{
	{crypto.SHA1, "SHA1", "\x2b\x0e\x03\x02\x1a"},
	{crypto.SHA256, "SHA-256", "\x60\x86\x48\x01\x65\x03\x04\x02\x01"},
}

// A v1Signer is one signer of the JAR signature.
type v1Signer struct {
	Signer
	name string // of its files, without extension
	ext  string // of the signature block's file
	hash int    // index in v1Hashes
}

// newV1Signer picks the digest for the oldest platform (AOSP tools/apksig,
// V1SchemeSigner.getSuggestedSignatureDigestAlgorithm). index numbers signers
// that have no name.
func newV1Signer(s Signer, index, minSDK int) (v1Signer, error) {
	v := v1Signer{Signer: s, name: v1Name(s.Name, index)}
	if s.Key == nil {
		return v, errors.New("no key: give a private key with the certificate")
	}
	switch k := s.Key.Public().(type) {
	case *rsa.PublicKey:
		v.ext = "RSA"
		if minSDK >= 18 {
			v.hash = 1
		}
	case *dsa.PublicKey:
		v.ext = "DSA"
		if minSDK >= 21 {
			v.hash = 1
		}
	case *ecdsa.PublicKey:
		v.ext, v.hash = "EC", 1
		if minSDK < 18 {
			return v, fmt.Errorf("v1 with an ECDSA key is for platforms from 18 on, and the package is for %d on: raise its minSdkVersion to 18, or sign v1 with RSA", minSDK)
		}
	default:
		return v, fmt.Errorf("a key of type %T; v1 knows RSA, ECDSA and DSA: make one of those", k)
	}
	_, err := s.publicKey()
	return v, err
}

// v1Name is a signer's name as file names in META-INF have it
// (V1SchemeSigner.getSafeSignerName).
func v1Name(name string, index int) string {
	if name == "" {
		name = "CERT"
		if index > 0 {
			name = fmt.Sprintf("CERT%d", index+1)
		}
	}
	safe := []byte{}
	for _, u := range utf16.Encode([]rune(strings.ToUpper(name))) {
		if u >= 'A' && u <= 'Z' || u >= '0' && u <= '9' || u == '-' || u == '_' {
			safe = append(safe, byte(u))
		} else {
			safe = append(safe, '_')
		}
	}
	return string(safe[:min(len(safe), 8)])
}

// A newEntry is a file that signing adds to the package.
type newEntry struct {
	name string
	data []byte
}

// v1Entries returns the files of the JAR signature over the entries whose
// digests sums holds by name: AOSP's, in its order. mainSection is that of the
// manifest that the package had, nil if it had none.
func (p *signPlan) v1Entries(sums map[string][]byte, mainSection []jarAttribute, createdBy string) ([]newEntry, error) {
	if mainSection == nil {
		mainSection = []jarAttribute{{manifestVersion, "1.0"}}
	}
	h := v1Hashes[p.v1Hash()]
	manifest := appendSection(nil, mainSection, manifestVersion)
	names := make([]string, 0, len(sums))
	for name := range sums {
		if i := strings.IndexAny(name, "\r\n\x00"); i >= 0 {
			return nil, fmt.Errorf("entry %q: v1 cannot sign a name with the character %#x: rename it, or leave v1 off", name, name[i])
		}
		names = append(names, name)
	}
	slices.SortFunc(names, compareJava)
	digest := func(b []byte) string {
		d := h.hash.New()
		d.Write(b)
		return base64.StdEncoding.EncodeToString(d.Sum(nil))
	}
	var sections []byte
	for _, name := range names {
		start := len(manifest)
		manifest = appendSection(manifest, []jarAttribute{{"Name", name}, {h.name + "-Digest", base64.StdEncoding.EncodeToString(sums[name])}}, "Name")
		sections = appendSection(sections, []jarAttribute{{"Name", name}, {h.name + "-Digest", digest(manifest[start:])}}, "Name")
	}
	main := []jarAttribute{{signatureVersion, "1.0"}, {"Created-By", cmp.Or(createdBy, "1.0 (Android)")}, {h.name + "-Digest-Manifest", digest(manifest)}}
	if ids := p.v1Schemes(); ids != "" {
		main = append(main, jarAttribute{"X-Android-APK-Signed", ids})
	}
	sf := append(appendSection(nil, main, signatureVersion), sections...)
	if len(sf)%1024 == 0 {
		sf = append(sf, "\r\n"...) // platforms up to 1.6 fail otherwise
	}
	var out []newEntry
	for i, s := range p.v1 {
		block, err := s.sign(sf)
		if err != nil {
			return nil, fmt.Errorf("signer %d: %w", i+1, err)
		}
		out = append(out, newEntry{metaInf + s.name + ".SF", sf}, newEntry{metaInf + s.name + "." + s.ext, block})
	}
	return append(out, newEntry{manifestName, manifest}), nil
}

// v1Hash is the strongest of the signers' digests, as an index in v1Hashes.
func (p *signPlan) v1Hash() int {
	best := 0
	for _, s := range p.v1 {
		best = max(best, s.hash)
	}
	return best
}

// v1Schemes names the schemes that the package is signed with as well, so that
// their absence is noticed.
func (p *signPlan) v1Schemes() string {
	var ids []string
	if len(p.v2) > 0 {
		ids = append(ids, "2")
	}
	if len(p.v3) > 0 {
		ids = append(ids, "3")
	}
	return strings.Join(ids, ", ")
}

// v1Covers reports whether the JAR signature covers an entry, and so whether
// signing keeps it (V1SchemeSigner.isJarEntryDigestNeededInManifest).
func v1Covers(name string) bool {
	if strings.HasSuffix(name, "/") {
		return false
	}
	file, ok := strings.CutPrefix(name, metaInf)
	if !ok || strings.Contains(file, "/") {
		return true
	}
	file = strings.ToLower(file)
	for _, ext := range []string{".sf", ".rsa", ".dsa", ".ec"} {
		if strings.HasSuffix(file, ext) {
			return false
		}
	}
	return file != "manifest.mf" && !strings.HasPrefix(file, "sig-")
}

// compareJava orders strings as java.lang.String does: by UTF-16.
func compareJava(a, b string) int {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

// v1Digests digests the uncompressed data of entries, on all processors.
func v1Digests(ctx context.Context, f *apk.File, entries []*apk.Entry, h crypto.Hash) (map[string][]byte, error) {
	sums := make([][]byte, len(entries))
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(entries)))
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for errs[i] == nil {
				n := int(next.Add(1) - 1)
				if n >= len(entries) {
					return
				}
				sums[n], errs[i] = v1Digest(ctx, f, entries[n], h, buf)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(entries))
	for i, e := range entries {
		out[e.Name] = sums[i]
	}
	return out, nil
}

func v1Digest(ctx context.Context, f *apk.File, e *apk.Entry, h crypto.Hash, buf []byte) ([]byte, error) {
	r, err := f.OpenEntry(e)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d := h.New()
	if _, err := io.CopyBuffer(d, readerWithContext{ctx, r}, buf); err != nil {
		return nil, err
	}
	return d.Sum(nil), nil
}

// readerWithContext ends when its context does.
type readerWithContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWithContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// sign returns the signature block of a .SF file: PKCS #7 SignedData (RFC 2315)
// without the content, and with one signer that signs no attributes
// (AOSP tools/apksig, ApkSigningBlockUtils.generatePkcs7DerEncodedMessage).
func (s *v1Signer) sign(sf []byte) ([]byte, error) {
	h := v1Hashes[s.hash]
	sig, err := s.signature(&algorithm{hash: h.hash, key: v1Keys[s.ext].kind}, sf)
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: want X.509 in DER", err)
	}
	serial, err := asn1.Marshal(cert.serial)
	if err != nil {
		return nil, err
	}
	oid := v1Keys[s.ext].oid
	if s.ext == "DSA" && h.hash == crypto.SHA256 {
		oid = oidSHA256WithDSA // platform 21 does not know the other for it
	}
	hashID := derAlgorithm(h.oid)
	info := der(derSequence, derOne, der(derSequence, cert.issuer, serial), hashID, derAlgorithm(oid), der(derOctets, sig))
	certs := s.certificates()
	slices.SortFunc(certs, bytes.Compare) // DER: a set has an order
	signed := der(derSequence, derOne, der(derSet, hashID), der(derSequence, der(derOID, []byte(oidPKCS7Data))), der(derContext0, certs...), der(derSet, info))
	return der(derSequence, der(derOID, []byte(oidPKCS7Signed)), der(derContext0, signed)), nil
}
