package apk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/internal/conformance"
)

// xmlTree writes a document as `aapt dump xmltree` does.
func xmlTree(e *apk.Element) []string {
	w := &treeWriter{}
	w.element(e, 0)
	return w.lines
}

type treeWriter struct {
	lines
	prefixes []apk.Namespace
}

func (w *treeWriter) element(e *apk.Element, depth int) {
	for _, ns := range e.Namespaces {
		w.add("%sN: %s=%s", strings.Repeat("  ", depth), ns.Prefix, ns.URI)
		depth++
	}
	w.prefixes = append(w.prefixes, e.Namespaces...)
	w.add("%sE: %s (line=%d)", strings.Repeat("  ", depth), w.name(e.Namespace, e.Name), e.Line)
	for _, a := range e.Attrs {
		id, value := "", ""
		if a.ResID != 0 {
			id = fmt.Sprintf("(0x%08x)", a.ResID)
		}
		switch a.Value.Type {
		case apk.TypeString:
			s := esc(a.Value.Str)
			value = fmt.Sprintf(`"%s" (Raw: "%s")`, s, s)
		case apk.TypeReference, apk.TypeAttribute:
			value = fmt.Sprintf("%c0x%08x", "@?"[a.Value.Type-apk.TypeReference], a.Value.Data)
		default:
			value = fmt.Sprintf("(type 0x%x)0x%x", a.Value.Type, a.Value.Data)
		}
		w.add("%sA: %s%s=%s", strings.Repeat("  ", depth+1), w.name(a.Namespace, a.Name), id, value)
	}
	for _, c := range e.Children {
		w.element(c, depth+1)
	}
	w.prefixes = w.prefixes[:len(w.prefixes)-len(e.Namespaces)]
}

func (w *treeWriter) name(uri, name string) string {
	if uri == "" {
		return name
	}
	for _, ns := range w.prefixes {
		if ns.URI == uri {
			return ns.Prefix + ":" + name
		}
	}
	return uri + ":" + name
}

// rawNumber is what some build tools leave beside a value that is no text.
var rawNumber = regexp.MustCompile(`(=\(type [^"]*|=[@?]0x[0-9a-f]+) \(Raw: ".*"\)$`)

// Documents of the conformance set, and their lines.
const (
	xmlTrees     = 18
	xmlTreeLines = 1000
)

// TestXMLTree compares every line of what aapt printed of binary manifests, in
// their order.
func TestXMLTree(t *testing.T) {
	tally := conformance.New(t, "apk binary XML (aapt dump xmltree)")
	fdroid := conformance.Dir(t, "fdroid")
	files := glob(t, fdroid+"/aapt/repo__*.xmltree.txt")
	if len(files) < xmlTrees {
		t.Fatalf("%d files, want %d: the set has shrunk", len(files), xmlTrees)
	}
	n := 0
	for _, text := range files {
		path := filepath.Join(fdroid, "repo", strings.TrimSuffix(strings.TrimPrefix(filepath.Base(text), "repo__"), ".xmltree.txt"))
		want, err := os.ReadFile(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := manifestTree(path)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			tally.Case(false)
			continue
		}
		lines := aaptLines(string(want))
		n += len(lines)
		tally.Case(sameLines(t, filepath.Base(path), got, lines))
	}
	t.Logf("%d lines", n)
	if n < xmlTreeLines {
		t.Errorf("%d lines, want %d: the set has shrunk", n, xmlTreeLines)
	}
}

func sameLines(t *testing.T, name string, got, want []string) bool {
	for i := range max(len(got), len(want)) {
		g, w := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = rawNumber.ReplaceAllString(want[i], "$1")
		}
		if g != w {
			t.Errorf("%s: line %d is %q, aapt's is %q", name, i+1, g, w)
			return false
		}
	}
	return true
}

func manifestTree(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := open(b)
	if err != nil {
		return nil, err
	}
	root, err := f.ReadXML(apk.ManifestName)
	if err != nil {
		return nil, err
	}
	return xmlTree(root), nil
}
