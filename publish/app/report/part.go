package report

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"mios/format/apk"
)

// A Part is a kind of content and the bytes that it takes.
type Part struct {
	Name    string `json:"name"`     // "code", "resources" ...; see [Parts]
	Size    int64  `json:"size"`     // in the file, in bytes: compressed
	RawSize int64  `json:"raw_size"` // unpacked
	Files   int    `json:"files"`
}

// Parts are the names of all parts: DEX files; native libraries; what res/ and
// resources.arsc hold; assets; JAR signatures; other files; and what is no file:
// the directory, the signing block and padding.
var Parts = []string{"code", "native", "resources", "assets", "signature", "other", "packing"}

// parts adds up what the entries take, the largest first; parts without a byte
// are left out.
func parts(f *apk.File, size int64) []Part {
	sums := make(map[string]*Part)
	for _, name := range Parts {
		sums[name] = &Part{Name: name}
	}
	packing := size
	for _, e := range f.Entries {
		p := sums[partOf(e.Name)]
		p.Size += e.CompressedSize
		p.RawSize += e.Size
		p.Files++
		packing -= e.CompressedSize
	}
	sums["packing"].Size, sums["packing"].RawSize = packing, packing
	list := []Part{}
	for _, name := range Parts {
		if p := sums[name]; p.Size > 0 || p.Files > 0 {
			list = append(list, *p)
		}
	}
	slices.SortStableFunc(list, func(a, b Part) int { return cmp.Compare(b.Size, a.Size) })
	return list
}

func partOf(name string) string {
	dir, _, _ := strings.Cut(name, "/")
	switch {
	case path.Ext(name) == ".dex" && dir == name:
		return "code"
	case dir == "lib":
		return "native"
	case dir == "res", name == apk.ResourcesName:
		return "resources"
	case dir == "assets":
		return "assets"
	case isSignature(name):
		return "signature"
	}
	return "other"
}

// isSignature reports whether the entry is part of a JAR signature, or of a
// source stamp.
func isSignature(name string) bool {
	rest, ok := strings.CutPrefix(name, "META-INF/")
	if !ok || strings.Contains(rest, "/") {
		return name == "stamp-cert-sha256"
	}
	switch strings.ToUpper(path.Ext(rest)) {
	case ".SF", ".RSA", ".DSA", ".EC":
		return true
	}
	return rest == "MANIFEST.MF"
}
