package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"mios/build/inspect"
	"mios/internal/progress"
)

// Limits of what a page shows; the JSON has all.
const (
	shownChecks  = 8
	shownParts   = 40
	shownNested  = 12 // parts of a part
	shownSigners = 8
	widestName   = 32 // characters; a longer path is shown by its last part
)

// A reportPage prints a report for people.
type reportPage struct {
	*page
	width2 int  // of the names of facts
	folder bool // each file has one line
}

func (p *reportPage) print(r *inspect.Report) {
	p.folder = isFolder(r)
	p.head(r)
	facts, signed, checks := p.facts(r), p.signed(r), p.checks(r)
	all := slices.Concat(facts, signed, checks)
	for _, f := range all {
		p.width2 = max(p.width2, utf8.RuneCountInString(f.Name))
	}
	p.rows(all)
	p.parts(r)
	p.problems(r)
}

// head prints the line that says what it is.
func (p *reportPage) head(r *inspect.Report) {
	what := r.Title
	if r.Version != "" {
		what += ", version " + r.Version
	}
	if r.Size > 0 || r.Kind == "unknown" {
		what += ", " + progress.Size(r.Size)
	}
	p.wrap(r.Name+": ", 2, strings.Fields(what))
}

// facts are those of the report, and of a part that is all of it.
func (p *reportPage) facts(r *inspect.Report) []inspect.Fact {
	list := slices.Clone(r.Facts)
	for _, c := range r.Contents {
		if wraps(r, c) {
			list = append(list, inspect.Fact{Name: "in it", Value: strings.TrimSuffix(c.Title+", "+c.Summary, ", ")})
			list = append(list, p.facts(c)...)
		} else if c.Kind == "avb_footer" {
			list = append(list, c.Facts...)
		}
	}
	return list
}

// wraps says whether c is all that r is around: r is a sparse image, a
// compressed file.
func wraps(r, c *inspect.Report) bool {
	return (r.Kind == "sparse" || r.Kind == "packed") && len(r.Contents) <= 2 && c.Kind != "avb_footer"
}

// signed says who signed what, each signer once.
func (p *reportPage) signed(r *inspect.Report) []inspect.Fact {
	type group struct {
		s     inspect.Signature
		names []string
	}
	var groups []*group
	p.each(r, "", func(name string, r *inspect.Report) {
		for _, s := range r.Signatures {
			i := slices.IndexFunc(groups, func(g *group) bool { return g.s == s })
			if i < 0 {
				groups = append(groups, &group{s: s})
				i = len(groups) - 1
			}
			if name != "" && !slices.Contains(groups[i].names, name) {
				groups[i].names = append(groups[i].names, name)
			}
		}
	})
	var out []inspect.Fact
	for i, g := range groups {
		if i == shownSigners {
			out = append(out, inspect.Fact{Name: "", Value: fmt.Sprintf("and %d more: --json lists them", len(groups)-i)})
			break
		}
		out = append(out, inspect.Fact{Name: "signed", Value: signerLine(g.s, g.names)})
	}
	return out
}

func signerLine(s inspect.Signature, names []string) string {
	text := s.Scheme
	if s.State != "verified" {
		text += " (" + s.State + ")"
	}
	switch {
	case s.Signer != "":
		text += " by " + s.Signer
	case s.SHA256 != "":
		text += " by a key"
	}
	if s.Algorithm != "" {
		text += ", " + s.Algorithm
	}
	if s.SHA256 != "" {
		text += ", sha256 " + s.SHA256[:16] + "…"
	}
	if s.TestKey != "" {
		text += ": AOSP's test key " + path.Base(s.TestKey)
	}
	if len(names) > 0 {
		text += " — " + listed(names)
	}
	return text
}

// listed are the first of some names.
func listed(names []string) string {
	const most = 6
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// checks says what was verified, and what was not.
func (p *reportPage) checks(r *inspect.Report) []inspect.Fact {
	var done, left, files []string
	n := 0
	p.each(r, "", func(name string, r *inspect.Report) {
		for _, c := range r.Checks {
			text := c.What
			if name != "" {
				text = name + ": " + text
			}
			switch {
			case !c.Done:
				left = append(left, text+" ("+c.Why+")")
			case p.folder && name != "":
				n++
				if !slices.Contains(files, name) {
					files = append(files, name)
				}
			default:
				done = append(done, text)
			}
		}
	})
	if n > 0 {
		more := ""
		if len(done) > 0 {
			more = " more"
		}
		done = append(done, fmt.Sprintf("%d%s signatures and hashes, of %s", n, more, listed(files)))
	}
	return append(rowsOf("verified", done), rowsOf("not verified", left)...)
}

// rowsOf are the first of what there is to say under a name.
func rowsOf(name string, list []string) []inspect.Fact {
	var out []inspect.Fact
	for i, text := range list {
		if i == shownChecks {
			text = fmt.Sprintf("%d more: --json lists them", len(list)-i)
		}
		out = append(out, inspect.Fact{Name: name, Value: text})
		if i == shownChecks {
			break
		}
	}
	return out
}

// isFolder says whether the parts of a report are files beside each other, of
// which a page has a line each.
func isFolder(r *inspect.Report) bool {
	return slices.Contains([]string{"folder", "build", "images", "keys", "packages", "target_files"}, r.Kind)
}

// each calls fn for a report and its parts. A footer goes by the name of what
// it is behind, and in a folder a part by its file's.
func (p *reportPage) each(r *inspect.Report, name string, fn func(name string, r *inspect.Report)) {
	fn(name, r)
	for _, c := range r.Contents {
		sub := c.Name
		switch {
		case c.Kind == "avb_footer" || wraps(r, c) || p.folder && name != "":
			sub = name
		case name != "":
			sub = path.Base(c.Name)
		}
		p.each(c, sub, fn)
	}
}

// rows prints names and values; a name that stood in the row before is left
// out.
func (p *reportPage) rows(list []inspect.Fact) {
	last := ""
	for _, f := range list {
		name := f.Name
		if name == last {
			name = ""
		} else {
			last = name
		}
		p.wrap(fmt.Sprintf("  %-*s  ", p.width2, name), p.width2+4, strings.Fields(f.Value))
	}
}

// parts prints the tree of parts.
func (p *reportPage) parts(r *inspect.Report) {
	for len(r.Contents) > 0 && wraps(r, r.Contents[0]) && !isGroup(r.Contents[0]) {
		r = r.Contents[0]
	}
	var list []*inspect.Report
	for _, c := range r.Contents {
		if c.Kind != "avb_footer" {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return
	}
	p.line("")
	names := 0
	for _, c := range list[:min(len(list), shownParts)] {
		if n := utf8.RuneCountInString(c.Name); n <= widestName || names == 0 {
			names = max(names, n)
		}
	}
	p.level(list, r.More, "  ", min(names, widestName), shownParts)
}

func isGroup(r *inspect.Report) bool {
	return r.Kind == "folder" || r.Kind == "file" || r.Kind == "group"
}

func (p *reportPage) level(list []*inspect.Report, more int, indent string, names, most int) {
	for i, c := range list {
		if i == most {
			more += len(list) - i
			break
		}
		p.partLine(c, indent, names)
		if p.folder || utf8.RuneCountInString(indent) > 4 {
			continue
		}
		var inner []*inspect.Report
		for _, n := range c.Contents {
			if n.Kind != "avb_footer" && !isGroup(n) {
				inner = append(inner, n)
			}
		}
		if len(inner) > 0 {
			p.level(inner, 0, indent+"  ", max(names-2, 8), shownNested)
		}
	}
	if more > 0 {
		p.line("%s… and %d more", indent, more)
	}
}

// partLine prints one part: name, size, what it is.
func (p *reportPage) partLine(c *inspect.Report, indent string, names int) {
	size := ""
	if c.Size > 0 {
		size = progress.Size(c.Size)
	}
	text := c.Title
	if isGroup(c) {
		text = ""
	}
	if c.Summary != "" {
		text = strings.TrimPrefix(text+", "+c.Summary, ", ")
	}
	if c.Kind == "empty" {
		text = "empty"
	}
	if n := c.Count(inspect.Error); n > 0 {
		text += " ✗"
	} else if c.Count(inspect.Warning) > 0 {
		text += " !"
	}
	name := c.Name
	if utf8.RuneCountInString(name) > names {
		name = path.Base(name)
	}
	lead := fmt.Sprintf("%s%-*s  %10s  ", indent, names, name, size)
	if text == "" {
		p.line("%s", lead)
		return
	}
	p.wrap(lead, utf8.RuneCountInString(indent)+names+14, strings.Fields(text))
}

// problems prints what is wrong, the worst first, each once.
func (p *reportPage) problems(r *inspect.Report) {
	type group struct {
		p     inspect.Problem
		names []string
	}
	var groups []*group
	p.each(r, "", func(name string, r *inspect.Report) {
		for _, pr := range r.Problems {
			i := slices.IndexFunc(groups, func(g *group) bool {
				return g.p.Severity == pr.Severity && g.p.Message == pr.Message
			})
			if i < 0 {
				groups = append(groups, &group{p: pr})
				i = len(groups) - 1
			}
			if name != "" && !slices.Contains(groups[i].names, name) {
				groups[i].names = append(groups[i].names, name)
			}
		}
	})
	if len(groups) == 0 {
		return
	}
	p.line("")
	advised := make(map[string]bool)
	for _, severity := range []struct {
		s    inspect.Severity
		mark string
	}{{inspect.Error, "✗ "}, {inspect.Warning, "! "}, {inspect.Note, "  "}} {
		for _, g := range groups {
			if g.p.Severity != severity.s {
				continue
			}
			text := g.p.Message
			switch {
			case len(g.names) > 3:
				text = fmt.Sprintf("%d parts, %s …: %s", len(g.names), g.names[0], text)
			case len(g.names) > 0:
				text = strings.Join(g.names, ", ") + ": " + text
			}
			p.wrap("  "+severity.mark, 4, strings.Fields(text))
			if g.p.Advice != "" && !advised[g.p.Advice] {
				advised[g.p.Advice] = true
				p.wrap("    → ", 6, strings.Fields(g.p.Advice))
			}
		}
	}
}
