package apksig_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/format/apksig"
	"mios/internal/tool"
)

const everything = apksig.DefaultCapabilities | apksig.Rollback

// ecSigners returns n signers with new keys.
func ecSigners(tb testing.TB, n int) []apksig.Signer {
	tb.Helper()
	out := make([]apksig.Signer, n)
	for i := range out {
		out[i] = ecSigner(tb, elliptic.P256())
	}
	return out
}

// chain returns the lineage of those signers, with default capabilities.
func chain(tb testing.TB, signers ...apksig.Signer) *apksig.Lineage {
	tb.Helper()
	l, err := apksig.NewLineage(signers[0], apksig.DefaultCapabilities, signers[1], apksig.DefaultCapabilities)
	for i := 2; i < len(signers) && err == nil; i++ {
		l, err = l.Extend(signers[i-1], signers[i], apksig.DefaultCapabilities)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestLineage(t *testing.T) {
	s := ecSigners(t, 4)
	l := chain(t, s[:3]...)
	if l.Len() != 3 || !slices.EqualFunc(l.Certificates(), s[:3], func(c []byte, s apksig.Signer) bool { return bytes.Equal(c, s.Certificate) }) {
		t.Errorf("lineage of 3 has %d certificates, or others", l.Len())
	}
	parsed, err := apksig.ParseLineage(l.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(parsed.Bytes(), l.Bytes()) {
		t.Error("ParseLineage does not give back what Bytes wrote")
	}
	changed, err := l.SetCapabilities(s[1].Certificate, apksig.Rollback|1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got := changed.Capabilities(1); got != apksig.Rollback|1<<20 || l.Capabilities(1) != apksig.DefaultCapabilities {
		t.Errorf("capabilities %v, and %v before; want rollback with an unknown bit, and the default", got, l.Capabilities(1))
	}
	if again, err := apksig.ParseLineage(changed.Bytes()); err != nil || again.Capabilities(1) != apksig.Rollback|1<<20 {
		t.Errorf("other capabilities are lost in the file: %v", err)
	}
	if until, err := l.Until(s[1].Certificate); err != nil || until.Len() != 2 {
		t.Errorf("Until = %v, %v", until, err)
	}
	grown, err := l.Extend(s[2], s[3], 0)
	if err != nil || grown.Len() != 4 || l.Len() != 3 {
		t.Fatalf("Extend = %v, %v", grown, err)
	}
	if _, err := apksig.ParseLineage(grown.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestLineageRefuses(t *testing.T) {
	s := ecSigners(t, 3)
	l := chain(t, s[:2]...)
	for _, tt := range []struct {
		name string
		do   func() error
		want string
	}{
		{"extend by one that is not the newest", func() error { _, err := l.Extend(s[0], s[2], 0); return err }, "not its newest"},
		{"extend by one that is in it", func() error { _, err := l.Extend(s[1], s[0], 0); return err }, "in it already"},
		{"extend without a key", func() error {
			_, err := l.Extend(apksig.Signer{Certificate: s[1].Certificate}, s[2], 0)
			return err
		}, "no key"},
		{"extend by no certificate", func() error { _, err := l.Extend(s[1], apksig.Signer{}, 0); return err }, "certificate"},
		{"create of one", func() error { _, err := apksig.NewLineage(s[0], 0, s[0], 0); return err }, "in it already"},
		{"create with another's key", func() error {
			_, err := apksig.NewLineage(apksig.Signer{Key: s[1].Key, Certificate: s[0].Certificate}, 0, s[2], 0)
			return err
		}, "of another key"},
		{"capabilities of another", func() error { _, err := l.SetCapabilities(s[2].Certificate, 0); return err }, "no such certificate"},
		{"until another", func() error { _, err := l.Until(s[2].Certificate); return err }, "no such certificate"},
	} {
		if err := tt.do(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestParseLineageRefuses takes a good file and breaks it.
func TestParseLineageRefuses(t *testing.T) {
	s := ecSigners(t, 2)
	good := chain(t, s...).Bytes()
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "0 bytes, want 8"},
		{"magic", edit(func(b []byte) []byte { b[0]++; return b }), "offset 0x0: magic"},
		{"version", edit(func(b []byte) []byte { b[4] = 2; return b }), "offset 0x4: version 2, want 1"},
		{"version of the nodes", edit(func(b []byte) []byte { b[12] = 2; return b }), "offset 0xc: version 2 of the nodes"},
		{"length", edit(func(b []byte) []byte { b[8]++; return b }), "offset 0x8"},
		{"bytes behind", append(bytes.Clone(good), 0), "1 bytes after the last node"},
		{"no nodes", append(bytes.Clone(good[:8]), 4, 0, 0, 0, 1, 0, 0, 0), "no certificates"},
		{"nothing", append(bytes.Clone(good[:8]), 0, 0, 0, 0), "empty"},
		{"node cut short", edit(func(b []byte) []byte { b[17] += 0x40; return b }), "offset 0x10: certificate 1 is cut short"},
		{"too long", append(bytes.Clone(good), make([]byte, 1<<20)...), "at most"},
		{"hidden bytes", hideBytes(good), "bytes in the nodes that no field holds"},
	} {
		_, err := apksig.ParseLineage(tt.b)
		if _, ok := errors.AsType[*apksig.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a FormatError with %q", tt.name, err, tt.want)
		}
	}
	if _, err := apksig.ParseLineage(edit(func(b []byte) []byte { b[len(b)-1]++; return b })); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("another signature: %v, want one that wraps %v", err, mios.ErrDenied)
	}
}

// hideBytes puts four bytes behind the fields of the first node.
func hideBytes(file []byte) []byte {
	b := bytes.Clone(file)
	n := int(b[16]) | int(b[17])<<8
	b = slices.Insert(b, 20+n, 0, 0, 0, 0)
	for _, at := range []int{8, 16} { // lengths of all nodes, and of the first
		v := int(b[at]) | int(b[at+1])<<8
		b[at], b[at+1] = byte(v+4), byte((v+4)>>8)
	}
	return b
}

// TestLineageFlips: whatever byte of a file is changed, all certificates but
// the oldest, whom nobody signed, stay those that were signed.
func TestLineageFlips(t *testing.T) {
	l := chain(t, ecSigners(t, 3)...)
	good, want := l.Bytes(), l.Certificates()
	taken := 0
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		got, err := apksig.ParseLineage(b)
		if err != nil {
			continue
		}
		taken++
		if !bytes.Equal(got.Bytes(), b) {
			t.Fatalf("byte %d: Bytes does not give back what ParseLineage took", i)
		}
		if certs := got.Certificates(); len(certs) != len(want) || !slices.EqualFunc(certs[1:], want[1:], bytes.Equal) {
			t.Errorf("byte %d: other certificates verify", i)
		}
	}
	if taken == 0 || taken > len(good)/2 {
		t.Errorf("%d of %d changes are taken; those of capabilities are, those of what is signed are not", taken, len(good))
	}
}

func TestLineageMerge(t *testing.T) {
	s := ecSigners(t, 5)
	whole := chain(t, s[:4]...)
	sub := func(l *apksig.Lineage, until int) *apksig.Lineage {
		out, err := l.Until(s[until].Certificate)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	late := chain(t, s[1], s[2], s[3]) // without the oldest
	noCaps, err := late.SetCapabilities(s[1].Certificate, 0)
	if err != nil {
		t.Fatal(err)
	}
	other := chain(t, s[0], s[1], s[4])
	for _, tt := range []struct {
		name string
		a, b *apksig.Lineage
		want int // certificates; 0: it fails
	}{
		{"itself", whole, whole, 4},
		{"its beginning", whole, sub(whole, 1), 4},
		{"its end", whole, late, 4},
		{"beginning and end", sub(whole, 2), noCaps, 4},
		{"one that diverges", whole, other, 0},
		{"nothing in common", chain(t, s[0], s[1]), chain(t, s[2], s[3]), 0},
	} {
		for _, p := range [][2]*apksig.Lineage{{tt.a, tt.b}, {tt.b, tt.a}} {
			m, err := p[0].Merge(p[1])
			if tt.want == 0 {
				if err == nil {
					t.Errorf("%s: merged", tt.name)
				}
				continue
			}
			if err != nil || m.Len() != tt.want {
				t.Errorf("%s: Merge = %v, %v; want %d certificates", tt.name, m, err, tt.want)
				continue
			}
			if caps := m.Capabilities(m.Index(s[1].Certificate)); (tt.b == noCaps) != (caps == 0) {
				t.Errorf("%s: capabilities %v: those of the lineage that begins later count", tt.name, caps)
			}
		}
	}
}

// TestLineageReplaces has the rules for updates (AOSP's
// SigningCertificateLineage.checkLineagesCompatibility).
func TestLineageReplaces(t *testing.T) {
	s := ecSigners(t, 4)
	two, three := chain(t, s[:2]...), chain(t, s[:3]...)
	back, err := three.SetCapabilities(s[1].Certificate, everything)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		new, old *apksig.Lineage
		want     bool
	}{
		{"none over none", nil, nil, true},
		{"a lineage over none", two, nil, true},
		{"none over a lineage", nil, two, false},
		{"the same", two, two, true},
		{"a longer one", three, two, true},
		{"a shorter one", two, three, false},
		{"a shorter one, with rollback", two, back, true},
		{"one that lacks the oldest", chain(t, s[1], s[2]), two, true},
		{"over one that lacks the oldest", three, chain(t, s[1], s[2]), true},
		{"one that diverges", chain(t, s[0], s[3]), two, false},
		{"an unrelated one", chain(t, s[2], s[3]), two, false},
	} {
		if got := tt.new.Replaces(tt.old); got != tt.want {
			t.Errorf("%s: Replaces = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		c    apksig.Capabilities
		want string
	}{
		{0, "none"},
		{1, "installed-data"},
		{23, "installed-data,shared-uid,permission,auth"},
		{8 | 1<<7, "rollback"},
	} {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("Capabilities(%d) = %q, want %q", tt.c, got, tt.want)
		}
		var back apksig.Capabilities
		for _, name := range tt.c.Names() {
			c, ok := apksig.ParseCapability(name)
			if !ok {
				t.Errorf("ParseCapability(%q) knows it not", name)
			}
			back |= c
		}
		if back != tt.c&everything {
			t.Errorf("names of %d are those of %d", tt.c, back)
		}
	}
	if _, ok := apksig.ParseCapability("all"); ok {
		t.Error("ParseCapability took a name that is none")
	}
}

// run runs a program of Debian's, and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := tool.Look(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// keyFiles writes a signer's key and certificate as apksigner takes them.
func keyFiles(t *testing.T, dir, name string, s apksig.Signer) (key, cert string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, cert = filepath.Join(dir, name+".pk8"), filepath.Join(dir, name+".pem")
	if err := os.WriteFile(key, der, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// printed returns what apksigner prints of a lineage, one line of capabilities
// a certificate.
func printed(l *apksig.Lineage) string {
	var b strings.Builder
	for i := range l.Len() {
		c := l.Capabilities(i)
		fmt.Fprintf(&b, "%x %v %v %v %v %v\n", digestOf(l.Certificates()[i]), c.Has(apksig.InstalledData), c.Has(apksig.SharedUID),
			c.Has(apksig.Permission), c.Has(apksig.Rollback), c.Has(apksig.Auth))
	}
	return b.String()
}

// normal turns what apksigner prints into that form.
func normal(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		_, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.Contains(line, "certificate SHA-256 digest"):
			b.WriteString(value)
		case strings.HasPrefix(line, "Has auth"):
			b.WriteString(" " + value + "\n")
		case strings.HasPrefix(line, "Has "):
			b.WriteString(" " + value)
		}
	}
	return b.String()
}

// TestLineageApksigner: Debian's apksigner reads what is made here, with keys
// of several kinds, and what it makes is read here.
func TestLineageApksigner(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	s := []apksig.Signer{rsaSigner(t, 2048), ecSigner(t, elliptic.P256()), rsaSigner(t, 4096), ecSigner(t, elliptic.P384()), ecSigner(t, elliptic.P521())}
	ours := chain(t, s...)
	for i, caps := range []apksig.Capabilities{apksig.InstalledData, apksig.SharedUID | apksig.Rollback, apksig.Permission, everything, 0} {
		var err error
		if ours, err = ours.SetCapabilities(s[i].Certificate, caps); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "ours")
	if err := os.WriteFile(file, ours.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := normal(run(t, "apksigner", "lineage", "--in", file, "--print-certs", "-v")), printed(ours); got != want {
		t.Errorf("apksigner reads\n%swant\n%s", got, want)
	}

	oldKey, oldCert := keyFiles(t, dir, "old", s[4])
	newer := ecSigner(t, elliptic.P256())
	newKey, newCert := keyFiles(t, dir, "new", newer)
	theirs := filepath.Join(dir, "theirs")
	run(t, "apksigner", "rotate", "--in", file, "--out", theirs,
		"--old-signer", "--key", oldKey, "--cert", oldCert, "--set-rollback", "true",
		"--new-signer", "--key", newKey, "--cert", newCert, "--set-permission", "false")
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := apksig.ParseLineage(b)
	if err != nil {
		t.Fatal(err)
	}
	want, err := ours.SetCapabilities(s[4].Certificate, apksig.Rollback)
	if err == nil {
		want, err = want.Extend(s[4], newer, apksig.DefaultCapabilities&^apksig.Permission)
	}
	if err != nil {
		t.Fatal(err)
	}
	if printed(got) != printed(want) || !bytes.Equal(got.Bytes(), b) {
		t.Errorf("apksigner's lineage is\n%swant\n%s", printed(got), printed(want))
	}
}

func FuzzParseLineage(f *testing.F) {
	s := ecSigners(f, 3)
	for _, l := range []*apksig.Lineage{chain(f, s...), chain(f, s[:2]...)} {
		f.Add(l.Bytes())
		f.Add(hideBytes(l.Bytes()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := apksig.ParseLineage(b)
		if err == nil && !bytes.Equal(l.Bytes(), b) {
			t.Error("Bytes does not give back what ParseLineage took")
		}
	})
}
