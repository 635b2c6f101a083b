package google

import (
	"context"
	"strings"

	"mios/format/apk"
	"mios/format/dex"
	"mios/publish/app/report"
)

// code walks over the code of all files once: it finds uses of services, and
// which of the app's classes can run at all.
func (s *scan) code(ctx context.Context, files []*apk.File) error {
	var list []*dex.File
	var entries []string
	native := false
	for _, f := range files {
		codes, err := report.CodeFiles(f)
		if err != nil {
			return err
		}
		for _, c := range codes {
			list, entries = append(list, c.File), append(entries, c.Name)
		}
		for i := range f.Entries {
			native = native || strings.HasPrefix(f.Entries[i].Name, "lib/")
		}
	}
	p, err := dex.NewProgram(list)
	if err != nil {
		return err
	}
	g := newGraph(p)
	found := make(map[hit]int)
	asked := make(map[hit]int)
	for use, err := range p.UsesOf(func(class string) bool { return s.wanted(g, class) }, func(text string) bool { return s.wantedText(g, text) }) {
		if err != nil {
			continue // one class; the others tell
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.use(use)
		s.use(use, entries[use.File], found, asked)
	}
	if len(found)+len(asked) > 0 {
		g.run(s.named, native)
	}
	s.keep(g, found, asked)
	s.bundled(p)
	return nil
}

// keep keeps the uses that were found, as what they are.
func (s *scan) keep(g *graph, found, asked map[hit]int) {
	for h, n := range s.hits {
		if h.kind == KindLayout && !g.has(h.class) {
			delete(s.hits, h)
			h.kind = KindAbsent
			s.hits[h] += n
		}
	}
	for h, n := range found {
		class, _, _ := strings.Cut(h.where, "#")
		switch {
		case h.class != "" && !g.has(h.class) && !s.provided[h.service]:
			h.kind = KindAbsent
		case !g.runs(class):
			h.kind = KindUnreached
		}
		h.where = strings.Replace(h.where, "#", ".", 1)
		s.hits[h] += n
	}
	for h, n := range asked {
		if class, _, _ := strings.Cut(h.where, "#"); g.runs(class) && g.has(h.class) {
			h.where = strings.Replace(h.where, "#", ".", 1)
			s.asked[h] += n
		}
	}
}

// wanted reports whether uses of the class are looked at: because it shows a
// service, or to know what can run.
func (s *scan) wanted(g *graph, class string) bool {
	if g.has(class) {
		return true
	}
	name := dex.JavaName(class)
	if _, ok := s.class.find(name); ok {
		return true
	}
	_, ok := s.asks.find(name)
	return ok
}

func (s *scan) wantedText(g *graph, text string) bool {
	return s.text[text] != nil || g.named(text) != ""
}

// use keeps a use of a service, by any code but that of Google's libraries and
// of the service's own. Classes and methods have "#" between them so far.
func (s *scan) use(u dex.Use, file string, found, asked map[hit]int) {
	if u.How == dex.HowAnnotation || u.How == dex.HowSignature || u.How == dex.HowField {
		return // the class is mentioned; whoever makes or calls one does so in code
	}
	in := dex.JavaName(u.In.Class)
	if _, own := s.library.find(in); own {
		return
	}
	where := in + "#" + u.In.Name
	if u.In.Name == "" {
		where = in
	}
	if u.Text != "" {
		if v := s.text[u.Text]; v != nil && !s.inside(in, v) {
			found[hit{service: v, kind: KindString, what: u.Text, where: where, file: file}]++
		}
		return
	}
	class := dex.JavaName(u.Class)
	what := class
	if u.Name != "" {
		what += "." + u.Name
	}
	if v, ok := s.class.find(class); ok && !s.inside(in, v) {
		found[hit{v, KindCode, what, where, file, u.Class}]++
	}
	if _, ok := s.asks.find(class); ok {
		asked[hit{nil, KindCode, what, where, file, u.Class}]++
	}
}

// inside reports whether the class is one of the service's library.
func (s *scan) inside(class string, v *marker) bool {
	of, ok := s.class.find(class)
	return ok && of == v
}

// bundled counts the classes of services' libraries in the package.
func (s *scan) bundled(p *dex.Program) {
	for _, class := range p.Classes() {
		name := dex.JavaName(class)
		if v, ok := s.class.find(name); ok {
			s.hit(hit{service: v, kind: KindLibrary, what: dex.Package(class)})
		}
	}
}
