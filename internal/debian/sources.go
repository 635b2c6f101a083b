package debian

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// sources are the host's apt sources that are Debian's own, in apt's two
// formats, without what restricts them to the host's architecture.
type sources struct{ list, deb822 []byte }

// debianSources reads etc/apt/sources.list and sources.list.d of the host. Of
// other people's sources nothing is taken: they have no kernel, and often no
// lists for another architecture.
func debianSources(etc fs.FS) (sources, error) {
	release, err := readOptional(etc, "os-release")
	if err != nil {
		return sources{}, err
	}
	codename := ""
	for line := range strings.Lines(string(release)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			codename = strings.Trim(v, `"`)
		}
	}
	if codename == "" {
		return sources{}, errors.New("/etc/os-release names no VERSION_CODENAME: build on Debian 12")
	}
	names, err := fs.Glob(etc, "apt/sources.list.d/*")
	if err != nil {
		return sources{}, err
	}
	var s sources
	for _, name := range append([]string{"apt/sources.list"}, names...) {
		b, err := readOptional(etc, name)
		if err != nil {
			return sources{}, err
		}
		switch {
		case strings.HasSuffix(name, ".list"):
			s.list = append(s.list, filterList(string(b), codename)...)
		case strings.HasSuffix(name, ".sources"):
			s.deb822 = append(s.deb822, filterDeb822(string(b), codename)...)
		}
	}
	if len(s.list)+len(s.deb822) == 0 {
		return sources{}, errors.New("/etc/apt has no source of Debian " + codename + " main: add one, sources.list(5)")
	}
	return s, nil
}

// isDebian says whether a suite is one of Debian's own for the codename.
func isDebian(suite, codename string) bool {
	return slices.Contains([]string{codename, codename + "-updates", codename + "-security", codename + "/updates"}, suite)
}

// filterList takes lines "deb [OPTIONS] URI SUITE COMPONENT...".
func filterList(text, codename string) []byte {
	var out []byte
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		var options []string
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			head, tail, _ := strings.Cut(inner, "]")
			for o := range strings.FieldsSeq(head) {
				if !strings.HasPrefix(o, "arch") {
					options = append(options, o)
				}
			}
			rest = tail
		}
		f := strings.Fields(rest)
		if len(f) < 3 || !isDebian(f[1], codename) || !slices.Contains(f[2:], "main") {
			continue
		}
		l := "deb "
		if len(options) > 0 {
			l += "[" + strings.Join(options, " ") + "] "
		}
		out = append(out, l+f[0]+" "+f[1]+" main\n"...)
	}
	return out
}

// filterDeb822 takes stanzas of sources.list(5)'s deb822 format.
func filterDeb822(text, codename string) []byte {
	var out []byte
	for stanza := range strings.SplitSeq(dropComments(text), "\n\n") {
		f := parseFields(stanza)
		var suites []string
		for s := range strings.FieldsSeq(f["Suites"]) {
			if isDebian(s, codename) {
				suites = append(suites, s)
			}
		}
		if len(suites) == 0 || strings.EqualFold(f["Enabled"], "no") ||
			!slices.Contains(strings.Fields(f["Types"]), "deb") ||
			!slices.Contains(strings.Fields(f["Components"]), "main") {
			continue
		}
		out = append(out, "Types: deb\nURIs: "+strings.Join(strings.Fields(f["URIs"]), " ")+
			"\nSuites: "+strings.Join(suites, " ")+"\nComponents: main\n"...)
		if by := f["Signed-By"]; by != "" { // a path, or a key over several lines
			out = append(out, "Signed-By: "+strings.ReplaceAll(by, "\n", "\n ")+"\n"...)
		}
		out = append(out, '\n')
	}
	return out
}

func dropComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
