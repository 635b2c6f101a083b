package apksig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	manifestVersion  = "Manifest-Version"
	signatureVersion = "Signature-Version"

	jarLine = 70 // bytes before a line goes on in the next
)

// appendSection appends a section of a manifest: the attribute named first, the
// others by their names (AOSP tools/apksig, ManifestWriter). Without the first
// one a version of 1.0 stands there.
func appendSection(b []byte, attrs []jarAttribute, first string) []byte {
	slices.SortStableFunc(attrs, func(a, b jarAttribute) int { return cmp.Compare(a.name, b.name) })
	version := "1.0"
	for _, a := range attrs {
		if strings.EqualFold(a.name, first) {
			version = a.value
		}
	}
	b = appendJarLine(b, first+": "+version)
	for _, a := range attrs {
		if !strings.EqualFold(a.name, first) {
			b = appendJarLine(b, a.name+": "+a.value)
		}
	}
	return append(b, "\r\n"...)
}

func appendJarLine(b []byte, line string) []byte {
	for room := jarLine; len(line) > room; room = jarLine - 1 {
		b = append(append(b, line[:room]...), "\r\n "...)
		line = line[room:]
	}
	return append(append(b, line...), "\r\n"...)
}

// jarMainSection returns the attributes of a manifest's first section. Of those
// with the same name the last one counts, as for java.util.jar.
func jarMainSection(manifest string) ([]jarAttribute, error) {
	r := sectionReader{text: manifest}
	main, _ := r.next()
	out := []jarAttribute{}
	for i, a := range main.attributes(nil) {
		if !validJarName(a.name) {
			return nil, fmt.Errorf("attribute %d has the name %q, want letters, digits, - and _", i+1, a.name)
		}
		if j := slices.IndexFunc(out, func(b jarAttribute) bool { return strings.EqualFold(a.name, b.name) }); j >= 0 {
			out[j].value = a.value
			continue
		}
		out = append(out, a)
	}
	return out, nil
}

func validJarName(name string) bool {
	if name == "" || len(name) > jarLine {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
