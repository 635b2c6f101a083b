package inspect

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"mios/build/image"
	"mios/build/product"
	"mios/format/apk"
	"mios/format/initrc"
	"mios/format/targetfiles"
)

// textFormats are told by what a text says, or by its name.
func textFormats() []format {
	named := func(patterns ...string) func(in *input) bool {
		f := format{names: patterns}
		return func(in *input) bool { return isText(in.head, in.size) && f.named(in) }
	}
	return []format{
		{kind: "pem", title: "PEM", is: isPEM, read: (*scan).pem},
		{kind: "tuf", title: "metadata of a repository (TUF)", is: isTUF, read: (*scan).tuf},
		{kind: "build_manifest", title: "manifest of a build", is: named("build.json"), read: (*scan).buildManifest},
		{kind: "misc_info", title: "facts of a build of AOSP", is: named("misc_info.txt"), read: (*scan).miscInfo},
		{kind: "apkcerts", title: "certificates of a build's apps", is: named("apkcerts.txt"), read: (*scan).apkCerts},
		{kind: "apexkeys", title: "keys of a build's APEXes", is: named("apexkeys.txt"), read: (*scan).apexKeys},
		{kind: "mac_permissions", title: "SELinux domains by certificate", is: named("*mac_permissions.xml"), read: (*scan).macPermissions},
		{kind: "payload_properties", title: "properties of an update payload", is: named("payload_properties.txt"), read: (*scan).keyValues},
		{kind: "init_rc", title: "script of init", is: named("*.rc"), read: (*scan).initScript},
		{kind: "product", title: "product definition", is: isProduct, read: (*scan).product},
		{kind: "build_prop", title: "build properties", is: isProps, read: (*scan).props},
		{kind: "zip", title: "zip", is: endsAsZip, read: (*scan).zip, advice: "it is damaged or cut off: fetch or make it anew"},
	}
}

// isPEM says whether a text has PEM behind words for people.
func isPEM(in *input) bool {
	return isText(in.head, in.size) && bytes.Contains(in.head, []byte("\n-----BEGIN "))
}

func isTUF(in *input) bool {
	h := string(in.head)
	return isText(in.head, in.size) && strings.HasPrefix(strings.TrimSpace(h), "{") &&
		strings.Contains(h, `"signatures"`) && (strings.Contains(h, `"_type"`) || in.size > headSize)
}

// endsAsZip says whether an input ends as a zip does: what stands before its
// first entry belongs to something else.
func endsAsZip(in *input) bool {
	_, err := apk.FindLayout(in, in.size)
	return err == nil
}

func isProduct(in *input) bool {
	f := format{names: []string{"*.yaml", "*.yml"}}
	if !isText(in.head, in.size) || !f.named(in) {
		return false
	}
	fields := 0
	for line := range strings.Lines(string(in.head)) {
		name, _, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"product", "base", "class", "arch", "brand", "keys", "endpoints"}, name) {
			fields++
		}
	}
	return fields >= 2 || path.Base(in.name) == "product.yaml"
}

// isProps says whether a text is a build.prop, by its name, or by most of its
// lines.
func isProps(in *input) bool {
	if !isText(in.head, in.size) || in.size > maxText {
		return false
	}
	f := format{names: []string{"*.prop", "prop.default"}}
	if f.named(in) {
		return true
	}
	ro, other := 0, 0
	for line := range strings.Lines(string(in.head)) {
		k, _, ok := strings.Cut(line, "=")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case ok && strings.HasPrefix(k, "ro."):
			ro++
		case !ok:
			other++
		}
	}
	return ro >= 3 && other == 0
}

// text returns all of a text.
func (in *input) text() ([]byte, error) {
	if in.size > maxText {
		return nil, fmt.Errorf("a text of %d bytes; at most %d are read", in.size, maxText)
	}
	return in.bytes()
}

// shownProps are the properties that say what a build is.
var shownProps = []struct{ name, shown string }{
	{"ro.build.fingerprint", "fingerprint"}, {"ro.system.build.fingerprint", "fingerprint"}, {"ro.vendor.build.fingerprint", "fingerprint"},
	{"ro.product.build.fingerprint", "fingerprint"}, {"ro.bootimage.build.fingerprint", "fingerprint"},
	{"ro.build.version.release", "android"}, {"ro.build.version.sdk", "sdk"}, {"ro.build.version.security_patch", "security patch"},
	{"ro.build.type", "type"}, {"ro.build.tags", "tags"}, {"ro.system.build.tags", "tags"}, {"ro.build.date", "date"},
}

// propFacts tells what build properties say, and returns them, or nil.
func (s *scan) propFacts(b []byte, r *Report) *targetfiles.Dict {
	d, err := targetfiles.ParseProps(b)
	if err != nil {
		r.fail(fmt.Errorf("build.prop: %w", err), "")
		return nil
	}
	seen := make(map[string]bool)
	for _, p := range shownProps {
		if v := d.Get(p.name); v != "" && !seen[p.shown] {
			seen[p.shown] = true
			r.fact(p.shown, "%s", v)
		}
	}
	for k, v := range d.All() {
		if strings.HasPrefix(k, "ro.") && strings.HasSuffix(k, ".tags") && (strings.Contains(v, "test-keys") || strings.Contains(v, "dev-keys")) {
			r.say(Warning, "mios sign target-files changes the tags, and the keys", "%s=%s: the build says that it is signed with test keys", k, v)
			break
		}
	}
	if d.Get("ro.debuggable") == "1" {
		r.say(Warning, "build the user variant", "ro.debuggable=1: adb gives a root shell to whoever may use it")
	}
	if d.Get("ro.adb.secure") == "0" {
		r.say(Warning, "build the user variant", "ro.adb.secure=0: adb takes any computer")
	}
	return d
}

func (s *scan) props(in *input, r *Report) error {
	b, err := in.text()
	if err != nil {
		return err
	}
	d := s.propFacts(b, r)
	if d == nil {
		return nil // propFacts has told why
	}
	n := 0
	for range d.All() {
		n++
	}
	r.Summary = count(n, "property")
	return nil
}

// keyValues tells what a small file of keys and values says.
func (s *scan) keyValues(in *input, r *Report) error {
	d, err := parsed(in.text, targetfiles.ParseDict)
	if err != nil {
		return err
	}
	for k, v := range d.All() {
		if len(r.Facts) < 16 {
			r.fact(k, "%s", v)
		}
	}
	return nil
}

func (s *scan) initScript(in *input, r *Report) error {
	if in.size > initrc.MaxSize {
		return fmt.Errorf("a script of %d bytes; init reads at most %d", in.size, initrc.MaxSize)
	}
	b, err := in.bytes()
	if err != nil {
		return err
	}
	script, err := initrc.Parse(in.base(), b)
	s.initErrors(err, r)
	s.initErrors(script.Check(), r)
	r.fact("services", "%d", len(script.Services))
	r.fact("actions", "%d", len(script.Actions))
	r.Summary = fmt.Sprintf("%s, %s", count(len(script.Services), "service"), count(len(script.Actions), "action"))
	return nil
}

// initErrors tells the first mistakes of a script.
func (s *scan) initErrors(err error, r *Report) {
	if err == nil {
		return
	}
	list := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		list = j.Unwrap()
	}
	const most = 8
	for i, e := range list {
		if i == most {
			r.say(Warning, "", "%s more", count(len(list)-most, "mistake"))
			break
		}
		r.say(Warning, "init leaves the line out and goes on: correct it", "%v", e)
	}
}

func (s *scan) product(in *input, r *Report) error {
	p, err := parsed(in.text, product.Parse)
	if err != nil {
		return err
	}
	r.fact("name", "%s", p.Name)
	r.fact("base", "%s", p.Base)
	r.Summary = p.Name + ", base " + p.Base
	return nil
}

func (s *scan) buildManifest(in *input, r *Report) error {
	b, err := in.text()
	if err != nil {
		return err
	}
	var m image.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if m.Product == "" || len(m.Partitions) == 0 {
		r.Kind, r.Title = unknown, "text"
		return nil
	}
	s.manifestFacts(&m, r)
	return nil
}

func (s *scan) manifestFacts(m *image.Manifest, r *Report) {
	r.fact("product", "%s for %s, variant %s", m.Product, m.Arch, m.Variant)
	r.fact("version", "%s", m.Version)
	r.fact("channel", "%s", m.Channel)
	r.Summary = fmt.Sprintf("%s for %s, version %s", m.Product, m.Arch, m.Version)
}

func (s *scan) miscInfo(in *input, r *Report) error {
	d, err := parsed(in.text, targetfiles.ParseDict)
	if err != nil {
		return err
	}
	return s.miscFacts(d, r)
}

// miscFacts tells what misc_info.txt says of keys.
func (s *scan) miscFacts(d *targetfiles.Dict, r *Report) error {
	parts, err := targetfiles.AVBPartitions(d)
	if err != nil {
		return err
	}
	tests := make(map[string][]string) // partitions by key
	for _, a := range parts {
		r.fact("AVB key", "%s: %s, %s", a.Partition, a.KeyPath, a.Algorithm)
		if strings.Contains(a.KeyPath, "external/avb/test/data/") {
			tests[a.KeyPath] = append(tests[a.KeyPath], a.Partition)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(tests)) {
		r.testKey(strings.Join(tests[k], ", ")+": signed with", strings.TrimSuffix(k, ".pem"))
	}
	dyn, err := targetfiles.ParseDynamic(d)
	if err != nil {
		return err
	}
	if dyn.Enabled {
		r.fact("super", "%s", strings.Join(dyn.Partitions, ", "))
	}
	return nil
}

func (s *scan) apkCerts(in *input, r *Report) error {
	c, err := parsed(in.text, targetfiles.ParseApkCerts)
	if err != nil {
		return err
	}
	keys := make(map[string]int)
	var order []string
	for i := range c.Certs {
		k := c.Certs[i].Key()
		if keys[k] == 0 {
			order = append(order, k)
		}
		keys[k]++
	}
	var tests []string
	apps := 0
	for _, k := range order {
		r.fact("key", "%s: %s", k, count(keys[k], "app"))
		if strings.HasPrefix(k, "build/make/target/product/security/") || strings.HasPrefix(k, "build/target/product/security/") {
			tests = append(tests, path.Base(k))
			apps += keys[k]
		}
	}
	if apps > 0 {
		r.testKey(count(apps, "app")+": signed with", strings.Join(tests, ", "))
	}
	r.Summary = count(len(c.Certs), "app")
	return nil
}

func (s *scan) apexKeys(in *input, r *Report) error {
	k, err := parsed(in.text, targetfiles.ParseApexKeys)
	if err != nil {
		return err
	}
	presigned := 0
	for i := range k.Keys {
		if k.Keys[i].ContainerKey() == targetfiles.Presigned {
			presigned++
		}
	}
	r.Summary = fmt.Sprintf("%s, %d signed already", count(len(k.Keys), "APEX"), presigned)
	return nil
}

func (s *scan) macPermissions(in *input, r *Report) error {
	m, err := parsed(in.text, targetfiles.ParseMacPermissions)
	if err != nil {
		return err
	}
	for _, signer := range m.Signers {
		for _, der := range signer.Certificates {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				r.fail(fmt.Errorf("domain %s: %w", signer.SEInfo, err), "")
				continue
			}
			r.fact("domain", "%s: %s, sha256 %s", cmp.Or(signer.SEInfo, "of some packages"), nameOf(c), sha256Hex(der))
			if k, ok := testCertificate(c); ok {
				r.testKey("domain "+signer.SEInfo+": apps signed with", k)
			}
		}
	}
	r.Summary = count(len(m.Signers), "signer")
	return nil
}

var errNoRole = errors.New("no type of metadata that TUF has")

// roleOf is what the beginning of a JSON text says of its type.
func roleOf(b []byte) (string, error) {
	var head struct {
		Signed struct {
			Type string `json:"_type"`
		} `json:"signed"`
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&head); err != nil {
		return "", err
	}
	return head.Signed.Type, nil
}
