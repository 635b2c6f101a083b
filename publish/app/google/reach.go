package google

import (
	"strings"

	"mios/format/dex"
)

// A graph says which classes of an app can run: those that Android starts, as
// the manifest and layouts name them, and what these refer to. A class that code
// names in a string counts as referred to. It errs on the side of what can run.
type graph struct {
	program *dex.Program
	index   map[string]int // by descriptor
	dotted  map[string]int // as Java writes it
	edges   [][]int32
	last    []int32 // the class that an edge was last made to
	live    []bool  // nil: all are
}

func newGraph(p *dex.Program) *graph {
	classes := p.Classes()
	g := &graph{program: p, index: make(map[string]int, len(classes)), dotted: make(map[string]int, len(classes))}
	for i, class := range classes {
		g.index[class] = i
		g.dotted[dex.JavaName(class)] = i
	}
	g.edges, g.last = make([][]int32, len(classes)), make([]int32, len(classes))
	for i := range g.last {
		g.last[i] = -1
	}
	return g
}

func (g *graph) has(class string) bool {
	_, ok := g.index[class]
	return ok
}

// named returns the class of the app that a string names, with dots or slashes,
// or "".
func (g *graph) named(text string) string {
	if len(text) > 1<<10 {
		return ""
	}
	name := strings.ReplaceAll(text, "/", ".")
	if _, ok := g.dotted[name]; ok {
		return name
	}
	return ""
}

// use adds an edge.
func (g *graph) use(u dex.Use) {
	from, ok := g.index[u.In.Class]
	if !ok {
		return
	}
	to, ok := g.index[u.Class]
	if u.Text != "" {
		to, ok = g.dotted[g.named(u.Text)]
	}
	if !ok || to == from || g.last[from] == int32(to) {
		return
	}
	g.last[from] = int32(to)
	g.edges[from] = append(g.edges[from], int32(to))
}

// run finds what can run, from the classes of those names on, and, in a package
// with native code, those with native methods: such code starts them. If none of
// that is a class, everything can run.
func (g *graph) run(names []string, native bool) {
	var todo []int32
	live := make([]bool, len(g.edges))
	start := func(i int32) {
		if !live[i] {
			live[i] = true
			todo = append(todo, i)
		}
	}
	for _, name := range names {
		if i, ok := g.dotted[name]; ok {
			start(int32(i))
		}
	}
	if native {
		g.natives(start)
	}
	if len(todo) == 0 {
		return
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, to := range g.edges[i] {
			start(to)
		}
	}
	g.live = live
}

// natives calls start with the classes that have native methods.
func (g *graph) natives(start func(int32)) {
	for _, f := range g.program.Files {
		for i := range f.Classes {
			c, err := f.Class(i)
			if err != nil {
				continue
			}
			for _, m := range c.Methods {
				if at, ok := g.index[c.Name]; ok && m.Access&dex.AccNative != 0 {
					start(int32(at))
					break
				}
			}
		}
	}
}

// runs reports whether the class, as Java writes it, can run.
func (g *graph) runs(class string) bool {
	i, ok := g.dotted[class]
	return g.live == nil || !ok || g.live[i]
}
