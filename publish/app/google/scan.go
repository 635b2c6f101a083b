package google

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"mios/format/apk"
)

// Scan looks at a base package and its splits. The error is of a package whose
// manifest or code cannot be read, or of the context.
func Scan(ctx context.Context, files []*apk.File) (*Report, error) {
	m, err := builtIn()
	if err != nil {
		return nil, err
	}
	return m.Scan(ctx, files)
}

// Scan is [Scan] with these markers.
func (m *Markers) Scan(ctx context.Context, files []*apk.File) (*Report, error) {
	s := newScan(m)
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.manifest(f); err != nil {
			return nil, err
		}
		s.files(f)
		s.resources(f)
		s.layouts(f)
	}
	if err := s.code(ctx, files); err != nil {
		return nil, err
	}
	return s.report(), nil
}

// A hit is one place that shows a service.
type hit struct {
	service           *marker
	kind              string
	what, where, file string
	class             string // of the library that is used, a descriptor
}

// scan gathers hits.
type scan struct {
	*Markers
	library names[bool] // Google's own client code
	asks    names[bool]
	class   names[*marker]
	known   map[string]kind // by descriptor
	text    map[string]*marker

	hits                     map[hit]int
	asked                    map[hit]int
	called, provided, brings map[*marker]bool
	named                    []string // that may be classes: in manifests and layouts

	manifests struct{ component, action, permission, metaData, library names[*marker] }
}

func newScan(m *Markers) *scan {
	s := &scan{
		Markers: m, text: make(map[string]*marker), known: make(map[string]kind), hits: make(map[hit]int), asked: make(map[hit]int),
		called: make(map[*marker]bool), provided: make(map[*marker]bool), brings: make(map[*marker]bool),
	}
	s.library.add(m.Libraries, true)
	s.asks.add(m.Asks, true)
	for _, v := range m.Services {
		s.class.add(v.Classes, v)
		s.manifests.component.add(v.Components, v)
		s.manifests.action.add(v.Actions, v)
		s.manifests.permission.add(v.Permissions, v)
		s.manifests.metaData.add(v.MetaData, v)
		s.manifests.library.add(v.UsesLibraries, v)
		for _, text := range v.Strings {
			s.text[text] = v
		}
	}
	return s
}

func (s *scan) hit(h hit) { s.hits[h]++ }

// manifest looks at the package's manifest.
func (s *scan) manifest(f *apk.File) error {
	info, err := f.Info()
	if err != nil {
		return err
	}
	in := &s.manifests
	note := func(n *names[*marker], name, what, where string) {
		if v, ok := n.find(name); ok {
			s.hit(hit{service: v, kind: KindManifest, what: what + " " + name, where: where, file: apk.ManifestName})
		}
	}
	for _, c := range info.Components {
		note(&in.component, c.Name, string(c.Kind), "")
		for _, filter := range c.Filters {
			for _, action := range filter.Actions {
				note(&in.action, action, "action", c.Name)
			}
		}
		for _, d := range c.MetaData {
			note(&in.metaData, d.Name, "meta-data", c.Name)
		}
	}
	for name := range info.MetaData {
		note(&in.metaData, name, "meta-data", "")
	}
	for _, p := range info.Permissions {
		note(&in.permission, p.Name, "uses-permission", "")
	}
	for _, filter := range info.Queries.Intents {
		for _, action := range filter.Actions {
			note(&in.action, action, "action", "queries")
		}
	}
	for _, l := range info.Libraries {
		v, ok := in.library.find(l.Name)
		if !ok {
			continue
		}
		s.provided[v] = true
		what := string(l.Kind) + " " + l.Name
		if l.Required {
			what += " (required)"
			s.called[v] = true
		}
		s.hit(hit{service: v, kind: KindManifest, what: what, file: apk.ManifestName})
	}
	root, err := f.ReadXML(apk.ManifestName)
	if err != nil {
		return err
	}
	s.names(root, info.Package)
	return nil
}

// names keeps what of an XML document may be a class: in the manifest relative
// to a package.
func (s *scan) names(e *apk.Element, pkg string) {
	if strings.Contains(e.Name, ".") {
		s.named = append(s.named, e.Name)
	}
	for _, a := range e.Attrs {
		text := a.Value.Str
		switch {
		case text == "":
		case text[0] == '.':
			s.named = append(s.named, pkg+text)
		case strings.Contains(text, "."):
			s.named = append(s.named, text)
		case pkg != "":
			s.named = append(s.named, pkg+"."+text)
		}
	}
	for _, c := range e.Children {
		s.names(c, pkg)
	}
}

// files looks at the names of the package's entries.
func (s *scan) files(f *apk.File) {
	for i := range f.Entries {
		name := f.Entries[i].Name
		matches := func(pattern string) bool {
			if begin, ok := strings.CutSuffix(pattern, "*"); ok && !strings.ContainsAny(begin, "*?[") {
				return strings.HasPrefix(name, begin)
			}
			ok, _ := path.Match(pattern, name)
			return ok
		}
		for _, v := range s.Services {
			if slices.ContainsFunc(v.Files, matches) {
				s.hit(hit{service: v, kind: KindFile, what: name, file: name})
			}
			if slices.ContainsFunc(v.Brings, matches) {
				s.brings[v] = true
			}
		}
	}
}

// resources looks for resources by their names. A table that cannot be read has
// none; others say so.
func (s *scan) resources(f *apk.File) {
	table, err := f.Resources()
	if err != nil {
		return
	}
	for _, v := range s.Services {
		for _, name := range v.Resources {
			if _, err := table.Find(name); err == nil {
				s.hit(hit{service: v, kind: KindResource, what: name, file: apk.ResourcesName})
			}
		}
	}
}

// maxLayouts is how much XML of resources is read, in bytes.
const maxLayouts = 64 << 20

// layouts looks at XML resources, which name classes that Android creates.
// What cannot be read has none.
func (s *scan) layouts(f *apk.File) {
	left := int64(maxLayouts)
	for i := range f.Entries {
		e := &f.Entries[i]
		if path.Ext(e.Name) != ".xml" || e.Name == apk.ManifestName || strings.HasPrefix(e.Name, "assets/") {
			continue
		}
		if left -= e.Size; left < 0 {
			return
		}
		root, err := f.ReadXML(e.Name)
		if err != nil {
			continue
		}
		before := len(s.named)
		s.names(root, "")
		for _, name := range s.named[before:] {
			if v, ok := s.class.find(name); ok {
				s.hit(hit{service: v, kind: KindLayout, what: name, file: e.Name, class: "L" + strings.ReplaceAll(name, ".", "/") + ";"})
			}
		}
	}
}

// kinds are those of evidence, the strongest first.
var kinds = []string{
	KindCode, KindString, KindLayout, KindManifest, KindResource, KindFile, KindUnreached, KindAbsent, KindLibrary,
}

// report judges what was found.
func (s *scan) report() *Report {
	r := &Report{Markers: s.Version, Verdict: Works, Services: []Service{}, Asks: evidence(s.asked, nil)}
	for _, v := range s.Services {
		list := evidence(s.hits, v)
		if len(list) == 0 {
			continue
		}
		out := Service{ID: v.ID, Name: v.Name, Level: Bundled, Verdict: Works, Says: v.Says, Instead: v.Instead, Evidence: list}
		for h, n := range s.hits {
			if h.service != v {
				continue
			}
			switch h.kind {
			case KindCode, KindString:
				out.Uses += n
				out.Level = Called
			case KindLayout:
				out.Level = Called
			case KindManifest, KindResource, KindFile:
				if out.Level == Bundled {
					out.Level = Declared
				}
			}
		}
		if s.called[v] {
			out.Level = Called
		}
		switch {
		case out.Level == Called && s.brings[v]:
			out.Says, out.Instead = "The package brings what it needs itself.", "Nothing has to be done."
		case out.Level == Called:
			out.Verdict = v.Without
		}
		if out.Verdict.Worse(r.Verdict) {
			r.Verdict = out.Verdict
		}
		r.Services = append(r.Services, out)
	}
	slices.SortStableFunc(r.Services, func(a, b Service) int {
		return cmp.Or(b.Verdict.rank()-a.Verdict.rank(), b.Level.rank()-a.Level.rank())
	})
	return r
}

// evidence sorts the hits of a service, the most frequent first, and keeps
// MaxEvidence of each kind.
func evidence(hits map[hit]int, v *marker) []Evidence {
	var list []Evidence
	for h, n := range hits {
		if h.service == v {
			list = append(list, Evidence{Kind: h.kind, What: h.what, Where: h.where, File: h.file, Count: n})
		}
	}
	slices.SortFunc(list, func(a, b Evidence) int {
		return cmp.Or(slices.Index(kinds, a.Kind)-slices.Index(kinds, b.Kind), b.Count-a.Count,
			strings.Compare(a.What, b.What), strings.Compare(a.Where, b.Where), strings.Compare(a.File, b.File))
	})
	count := make(map[string]int)
	return slices.DeleteFunc(list, func(e Evidence) bool {
		count[e.Kind]++
		return count[e.Kind] > MaxEvidence
	})
}
