package inspect

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mios/format/apex"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/format/dex"
	"mios/internal/progress"
)

// apk tells of an Android package.
func (s *scan) apk(in *input, r *Report, _ *zip.Reader) error {
	f, err := apk.Open(in, in.size)
	if err != nil {
		return err
	}
	if err := s.appFacts(f, r); err != nil {
		r.fail(err, "")
	}
	s.appContents(f, r)
	s.appSignature(in, f, r)
	return nil
}

func (s *scan) appFacts(f *apk.File, r *Report) error {
	info, err := f.Info()
	if err != nil {
		return err
	}
	b, berr := f.Badging()
	label := info.Label
	if berr == nil {
		label = b.Label
	}
	if strings.HasPrefix(label, "@") {
		label = ""
	}
	r.fact("label", "%s", label)
	r.fact("package", "%s", info.Package)
	r.fact("version", "%s", number(info.VersionName, info.VersionCode))
	if info.Split != "" {
		r.fact("split", "%s", info.Split)
	}
	sdk := fmt.Sprintf("%d and newer", info.MinSDK)
	if info.MaxSDK != 0 {
		sdk = fmt.Sprintf("%d to %d", info.MinSDK, info.MaxSDK)
	}
	r.fact("sdk", "%s; made for %d", sdk, info.TargetSDK)
	r.fact("abis", "%s", strings.Join(info.ABIs, ", "))
	if info.SharedUserID != "" {
		r.fact("shared uid", "%s", info.SharedUserID)
	}
	if info.Debuggable {
		r.say(Warning, "build it for release", "debuggable: whoever has the device can read and change what the app does")
	}
	r.Summary = info.Package + " " + versionOf(info.VersionName, info.VersionCode)
	return nil
}

// number is a version as the value of a fact.
func number(name string, code int64) string {
	return strings.TrimPrefix(versionOf(name, code), "version ")
}

func versionOf(name string, code int64) string {
	if name == "" {
		return fmt.Sprintf("version %d", code)
	}
	return fmt.Sprintf("%s (version %d)", name, code)
}

// appContents sums up what a package is made of.
func (s *scan) appContents(f *apk.File, r *Report) {
	groups := []struct {
		name  string
		is    func(e *apk.Entry) bool
		n     int
		bytes int64
	}{
		{name: "code", is: func(e *apk.Entry) bool {
			return strings.HasSuffix(e.Name, ".dex") && !strings.Contains(e.Name, "/")
		}},
		{name: "native code", is: func(e *apk.Entry) bool { return strings.HasPrefix(e.Name, "lib/") }},
		{name: "resources", is: func(e *apk.Entry) bool { return strings.HasPrefix(e.Name, "res/") || e.Name == apk.ResourcesName }},
		{name: "assets", is: func(e *apk.Entry) bool { return strings.HasPrefix(e.Name, "assets/") }},
		{name: "signature files", is: func(e *apk.Entry) bool { return strings.HasPrefix(e.Name, "META-INF/") }},
		{name: "other files", is: func(*apk.Entry) bool { return true }},
	}
	for i := range f.Entries {
		for g := range groups {
			if groups[g].is(&f.Entries[i]) {
				groups[g].n++
				groups[g].bytes += f.Entries[i].CompressedSize
				break
			}
		}
	}
	for _, g := range groups {
		if g.n > 0 {
			r.part(&Report{Name: g.name, Kind: "group", Title: "files", Size: g.bytes, Summary: count(g.n, "file")})
		}
	}
}

// unsignedIssues are apksig's words for a package that nobody signed.
var unsignedIssues = []string{"JAR_SIG_NO_MANIFEST", "JAR_SIG_NO_SIGNATURES"}

// appSignature verifies who signed a package.
func (s *scan) appSignature(in *input, f *apk.File, r *Report) {
	if !s.afford(in.size) {
		r.skipped("the signature", why)
		return
	}
	res, err := apksig.Verify(s.ctx, in, in.size, apksig.Options{File: f})
	if err != nil {
		r.fail(fmt.Errorf("the signature cannot be verified: %w", err), "")
		return
	}
	for _, sig := range res.Signers() {
		if len(sig.Certificates) == 0 {
			continue
		}
		state := verified
		if !res.Verified() {
			state = wrong
		}
		r.certificate("APK "+schemes(res, sig), "", sig.Certificates[0], state)
	}
	switch {
	case res.Verified():
		r.done("signature and all of the package, %s", progress.Size(in.size))
	case len(res.Signatures) == 0 && !slices.ContainsFunc(res.Errors, func(i apksig.Issue) bool { return !slices.Contains(unsignedIssues, i.Name) }):
		r.say(Warning, "mios app sign signs it", "nobody signed it: Android installs no such package")
	default:
		s.appIssues(res, r)
	}
	if len(res.Warnings) > 0 {
		r.say(Note, "mios app verify tells them", "%s of the signature", count(len(res.Warnings), "warning"))
	}
}

// appIssues tells the first errors of a signature.
func (s *scan) appIssues(res *apksig.Result, r *Report) {
	const most = 4
	for i, issue := range res.Errors {
		if i == most {
			r.say(Error, "mios app verify tells them all", "%s more", count(len(res.Errors)-most, "error"))
			break
		}
		r.say(Error, "it was changed after it was signed, or signed wrongly: mios app verify tells more", "%s", issue)
	}
}

// schemes names all schemes in which a certificate signed.
func schemes(res *apksig.Result, sig apksig.Signature) string {
	var out []string
	for _, o := range res.Signatures {
		if len(o.Certificates) > 0 && bytes.Equal(o.Certificates[0], sig.Certificates[0]) && !slices.Contains(out, o.Scheme.String()) {
			out = append(out, o.Scheme.String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// apex tells of an APEX: container and payload.
func (s *scan) apex(in *input, r *Report, _ *zip.Reader) error {
	a, err := apex.Open(in, in.size)
	if err != nil {
		return err
	}
	m := a.Manifest
	r.fact("name", "%s", m.Name)
	r.fact("version", "%s", number(m.VersionName, m.Version))
	r.Summary = fmt.Sprintf("%s %s", m.Name, versionOf(m.VersionName, m.Version))
	if b := a.BuildInfo; b != nil {
		r.fact("min sdk", "%s", b.MinSDKVersion)
	}
	s.appSignature(in, a.File, r)
	for i := range r.Signatures {
		r.Signatures[i].Scheme = strings.Replace(r.Signatures[i].Scheme, "APK", "container", 1)
	}
	if a.Compressed {
		return s.capex(in, a, r)
	}
	return s.apexPayload(in, a, r)
}

func (s *scan) apexPayload(in *input, a *apex.File, r *Report) error {
	p, err := a.Payload()
	if err != nil {
		return err
	}
	if p.KeyName != a.Manifest.Name && p.KeyName != "" {
		r.fact("payload key of", "%s", p.KeyName)
	}
	state := verified
	if s.afford(p.Size()) {
		if err := p.Verify(); err != nil {
			state = wrong
			r.fail(err, "the payload was changed after it was signed: take the APEX as it was made")
		} else {
			r.done("payload, %s, against %s", progress.Size(p.Size()), apex.PublicKeyName)
		}
	} else if err := p.VerifySignature(); err != nil {
		state = wrong
		r.fail(err, "the payload was changed after it was signed: take the APEX as it was made")
	} else {
		r.skipped("the payload's hash tree", why)
	}
	r.avbKey("payload", p.VBMeta.Algorithm.String(), p.VBMeta.PublicKey, state)
	files, err := p.FS()
	if err != nil {
		if errors.Is(err, apex.ErrUnsupported) {
			r.say(Note, "", "%v", err)
			return nil
		}
		return err
	}
	c := &Report{Name: apex.PayloadName, Kind: files.Type, Title: files.Type + " file system", Size: p.Size()}
	s.files(files.FS, c)
	r.part(c)
	apps, err := files.Apps()
	if err != nil {
		return err
	}
	for _, app := range apps {
		s.look(part(app.Path, files.Data(app.Node), app.Size, in.depth+1), c)
	}
	return nil
}

// capex looks into a compressed APEX.
func (s *scan) capex(in *input, a *apex.File, r *Report) error {
	r.fact("unpacked", "%s", progress.Size(a.OriginalSize()))
	if a.OriginalSize() > maxUnpack && !s.o.Deep || a.OriginalSize() > maxWhole {
		r.skipped("the APEX inside", why)
		return nil
	}
	rc, err := a.Original()
	if err != nil {
		return err
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, a.OriginalSize()+1))
	if err != nil {
		return fmt.Errorf("%s: %w", apex.OriginalName, err)
	}
	inner := part(apex.OriginalName+".apex", bytesAt(b), int64(len(b)), in.depth)
	if c := s.look(inner, r); c != nil {
		s.compareOriginal(a, inner, c, r)
	}
	return nil
}

// compareOriginal checks what a compressed APEX says of the one inside, as apexd
// does.
func (s *scan) compareOriginal(a *apex.File, inner *input, c, r *Report) {
	o, err := apex.Open(inner, inner.size)
	if err != nil {
		return // its own report says so
	}
	p, err := o.Payload()
	if err != nil {
		return
	}
	if d := hex.EncodeToString(p.Tree.RootDigest); d != a.Manifest.OriginalDigest {
		r.say(Error, "make it anew", "the root digest of the APEX inside is %s, and its manifest says %s", d, a.Manifest.OriginalDigest)
	}
	if !bytes.Equal(o.PublicKey, a.PublicKey) {
		r.say(Error, "make it anew", "the %s beside the APEX is not the one in it", apex.PublicKeyName)
	}
}

// signedZip tells of a zip that is signed as JARs are, or as a whole.
func (s *scan) signedZip(in *input, r *Report, z *zip.Reader) error {
	if r.Kind == "ota" {
		return s.wholeFile(in, r, z)
	}
	defer s.plainZip(in, r, z)
	f, err := apk.Open(in, in.size)
	if err != nil {
		return err
	}
	if !s.afford(in.size) {
		r.skipped("the signature", why)
		return nil
	}
	res, err := apksig.Verify(s.ctx, in, in.size, apksig.Options{File: f, MinSDK: 21, MaxSDK: 23})
	if err != nil {
		return err
	}
	for _, sig := range res.Signatures {
		if len(sig.Certificates) > 0 {
			r.certificate("JAR", "", sig.Certificates[0], map[bool]string{true: verified, false: wrong}[res.Verified()])
		}
	}
	if res.Verified() {
		r.done("signature and all entries")
	} else {
		s.appIssues(res, r)
	}
	return nil
}

// idsig tells of a v4 signature.
func (s *scan) idsig(in *input, r *Report) error {
	b, err := in.bytes()
	if err != nil {
		return err
	}
	sig, err := apksig.ReadIDSig(bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.fact("root digest", "%x", sig.Root)
	for _, signer := range sig.Signers {
		r.certificate("APK v4", "", signer.Certificate, notVerified)
	}
	r.Summary = count(len(sig.Signers), "signer")
	return s.idsigPackage(in, b, r)
}

// idsigPackage verifies a v4 signature with the package that lies beside it.
func (s *scan) idsigPackage(in *input, sig []byte, r *Report) error {
	name := strings.TrimSuffix(in.path, ".idsig")
	f, err := os.Open(name)
	if name == in.path || errors.Is(err, fs.ErrNotExist) {
		r.skipped("the signature", "it is over a package, which is not beside it")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !s.afford(fi.Size()) {
		r.skipped("the signature", why)
		return nil
	}
	res, err := apksig.Verify(s.ctx, f, fi.Size(), apksig.Options{IDSig: bytes.NewReader(sig)})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	state := wrong
	if res.Verified() {
		state = verified
		r.done("signature over %s, %s", filepath.Base(name), progress.Size(fi.Size()))
	}
	for i := range r.Signatures {
		r.Signatures[i].State = state
	}
	s.appIssues(res, r)
	return nil
}

// isIDSig says whether an input that begins with the version of an .idsig is
// one.
func isIDSig(in *input) bool {
	_, err := apksig.ReadIDSig(io.NewSectionReader(in, 0, in.size))
	return err == nil || strings.HasSuffix(in.name, ".idsig")
}

// lineage tells of a history of certificates.
func (s *scan) lineage(in *input, r *Report) error {
	l, err := parsed(in.text, apksig.ParseLineage)
	if err != nil {
		return err
	}
	for i, c := range l.Certificates() {
		r.certificate(fmt.Sprintf("certificate %d", i+1), "", c, verified)
	}
	r.done("each certificate by the key of the one before")
	r.Summary = count(l.Len(), "certificate")
	return nil
}

// dex tells of a DEX file.
func (s *scan) dex(in *input, r *Report) error {
	if in.size > dex.MaxSize {
		return fmt.Errorf("%s: a DEX file has at most %s", progress.Size(in.size), progress.Size(dex.MaxSize))
	}
	files, err := parsed(in.bytes, dex.Parse)
	if err != nil {
		return err
	}
	classes, methods := 0, 0
	for _, f := range files {
		classes, methods = classes+f.Classes, methods+f.Methods
		if f.SHA1Holds() {
			continue
		}
		r.say(Warning, "a tool changed the file and did not say so in its header; Android does not look at it", "its SHA-1 does not hold")
	}
	r.Version = fmt.Sprintf("%03d", files[0].Version)
	if len(files) > 1 {
		r.fact("container of", "%s", count(len(files), "file"))
	}
	r.fact("classes", "%d", classes)
	r.fact("methods", "%d that it names", methods)
	r.done("checksum")
	r.Summary = count(classes, "class")
	return nil
}

// arsc tells of a resource table.
func (s *scan) arsc(in *input, r *Report) error {
	if in.size > apk.MaxResources {
		return fmt.Errorf("%s: at most %s are read", progress.Size(in.size), progress.Size(apk.MaxResources))
	}
	_, err := parsed(in.bytes, apk.ParseResources)
	return err
}

// axml tells of an XML in binary form.
func (s *scan) axml(in *input, r *Report) error {
	if in.size > apk.MaxManifest {
		return fmt.Errorf("%s: at most %s are read", progress.Size(in.size), progress.Size(apk.MaxManifest))
	}
	root, err := parsed(in.bytes, apk.ParseXML)
	if err != nil {
		return err
	}
	r.fact("root", "<%s>", root.Name)
	if root.Name != "manifest" {
		return nil
	}
	m, err := apk.NewManifest(root)
	if err != nil {
		return err
	}
	r.fact("package", "%s", m.Package)
	r.fact("version", "%s", number(m.VersionName, m.VersionCode))
	r.Summary = m.Package
	return nil
}
