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

// A kind says what the markers know of a class.
type kind struct {
	service *marker // whose library it is part of
	asks    bool
	library bool // of Google's own
}

// kind returns what the markers know of a class by its descriptor.
func (s *scan) kind(class string) kind {
	k, ok := s.known[class]
	if !ok {
		name := dex.JavaName(class)
		k.service, _ = s.class.find(name)
		_, k.asks = s.asks.find(name)
		_, k.library = s.library.find(name)
		s.known[class] = k
	}
	return k
}

// wanted reports whether uses of the class are looked at: because it shows a
// service, or to know what can run.
func (s *scan) wanted(g *graph, class string) bool {
	if g.has(class) {
		return true
	}
	k := s.kind(class)
	return k.service != nil || k.asks
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
	h := hit{service: s.text[u.Text], kind: KindString, what: u.Text, file: file}
	var k kind
	if u.Text == "" {
		k = s.kind(u.Class)
		h = hit{service: k.service, kind: KindCode, file: file, class: u.Class}
	}
	in := s.kind(u.In.Class)
	if h.service == nil && !k.asks || in.library {
		return
	}
	h.where = dex.JavaName(u.In.Class)
	if u.In.Name != "" {
		h.where += "#" + u.In.Name
	}
	if u.Text == "" {
		h.what = dex.JavaName(u.Class)
		if u.Name != "" {
			h.what += "." + u.Name
		}
	}
	if h.service != nil && in.service != h.service {
		found[h]++
	}
	if k.asks {
		h.service = nil
		asked[h]++
	}
}

// bundled counts the classes of services' libraries in the package.
func (s *scan) bundled(p *dex.Program) {
	for _, class := range p.Classes() {
		if v := s.kind(class).service; v != nil {
			s.hit(hit{service: v, kind: KindLibrary, what: dex.Package(class)})
		}
	}
}
