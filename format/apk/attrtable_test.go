package apk

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mios/internal/tool"
)

// samples are texts of each kind of attribute.
var samples = map[attrKind][]string{
	kindString:    {"text", `es\\caped\n\u0041\@`, "", " spaces "},
	kindInt:       {"7", "-8", "0x1f", "2147483647"},
	kindBool:      {"true", "false"},
	kindColor:     {"#123", "#8123", "#112233", "#80112233"},
	kindFloat:     {"1.5", "-2"},
	kindDimension: {"2.5dip", "3px", "-1.25mm", "0.1in", "7sp", "1000pt"},
	kindFraction:  {"30%", "12.5%p"},
	kindRef:       {"@null"},
}

// firstAfter29 is the first attribute that Debian's framework, of Android 10,
// does not have.
const firstAfter29 = 0x01010607

// TestAttributes compiles every attribute of the table with every kind of value
// that it may have, and compares with what aapt makes of the same text by
// Android's own resources.
func TestAttributes(t *testing.T) {
	const framework = "/usr/share/android-framework-res/framework-res.apk"
	aapt, err := tool.Look("aapt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tool.Look(framework); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="a.b">` + "\n")
	for _, name := range slices.Sorted(maps.Keys(androidAttrs())) {
		def := androidAttrs()[name]
		if def.id >= firstAfter29 {
			continue
		}
		var values []string
		for kind := kindRef; kind <= kindFraction; kind <<= 1 {
			if def.kind&kind != 0 {
				values = append(values, samples[kind]...)
			}
		}
		words := slices.Sorted(maps.Keys(def.words))
		if words = slices.DeleteFunc(words, func(w string) bool { return newWords[name+"."+w] }); def.kind&kindFlags != 0 {
			words = append(words, strings.Join(words, "|"))
		}
		for _, v := range append(values, words...) {
			fmt.Fprintf(&b, "<x android:%s=\"%s\"/>\n", name, v)
		}
	}
	b.WriteString("</manifest>\n")
	dir := t.TempDir()
	in, theirs, ours := filepath.Join(dir, "AndroidManifest.xml"), filepath.Join(dir, "a.apk"), filepath.Join(dir, "b.apk")
	if err := os.WriteFile(in, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(aapt, "package", "-f", "-M", in, "-I", framework, "-F", theirs).CombinedOutput(); err != nil {
		t.Fatalf("aapt: %v\n%s", err, msg)
	}
	root, err := ParseText([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f)
	if err := w.Add(ManifestName, Store, strings.NewReader(string(AppendXML(nil, root)))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want, got := xmlLines(t, aapt, theirs), xmlLines(t, aapt, ours)
	if len(want) < 650 {
		t.Errorf("%d attributes compared", len(want))
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("value %d is %q, aapt's %q", i, append(got, "")[min(i, len(got))], append(want, "")[min(i, len(want))])
		}
	}
}

// newWords are words of attributes that Debian's framework has, but not with
// them.
var newWords = map[string]bool{
	"appCategory.accessibility": true, "launchMode.singleInstancePerTask": true,
	"foregroundServiceType.camera": true, "foregroundServiceType.microphone": true, "foregroundServiceType.health": true,
	"foregroundServiceType.remoteMessaging": true, "foregroundServiceType.systemExempted": true, "foregroundServiceType.shortService": true,
	"foregroundServiceType.mediaProcessing": true, "foregroundServiceType.specialUse": true,
	"configChanges.fontWeightAdjustment": true, "configChanges.grammaticalGender": true,
	"protectionLevel.internal": true, "protectionLevel.companion": true, "protectionLevel.retailDemo": true, "protectionLevel.recents": true,
	"protectionLevel.role": true, "protectionLevel.knownSigner": true, "protectionLevel.module": true,
}

// raw is what aapt keeps of the text beside a value.
var raw = regexp.MustCompile(` \(Raw: ".*"\)$`)

func xmlLines(t *testing.T, aapt, path string) (list []string) {
	out, err := exec.Command(aapt, "dump", "xmltree", path, ManifestName).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "      A:") { // of a child of manifest
			list = append(list, raw.ReplaceAllString(strings.TrimSpace(line), ""))
		}
	}
	return list
}
