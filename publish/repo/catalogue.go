package repo

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"mios"
	"mios/api/repo"
	"mios/storage/tree"
)

// A catalogue is what a change makes of the tree's catalogue: what it touches is
// read, and written once, at the end.
type catalogue struct {
	t          *tx
	categories map[string]*category
	words      *words // the root of the tree of words
	fresh      fresh
	dirty      bool
}

// A category is one of the catalogue's.
type category struct {
	repo.IndexedCategory
	pages []*page // nil until it was read
	dirty bool
}

// A page is one of a category's.
type page struct {
	repo.Page
	entries map[string][]repo.Entry // by locale, "" for each app's own; nil until it was read
	dirty   bool
}

// catalogue returns the catalogue as it will be.
func (t *tx) catalogue() (*catalogue, error) {
	if t.shop != nil {
		return t.shop, nil
	}
	c := &catalogue{t: t, categories: map[string]*category{}, words: new(words)}
	var x repo.Index
	bin, err := t.bin(repo.RoleApps, repo.CataloguePath)
	if err == nil {
		err = t.content(bin, repo.CataloguePath, &x)
	}
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		return nil, err
	}
	for _, ic := range x.Categories {
		c.categories[ic.Name] = &category{IndexedCategory: ic}
	}
	c.words.ref, c.fresh.ref = x.Words, x.Fresh
	t.shop = c
	return c, nil
}

// finish writes what was changed of the catalogue.
func (t *tx) finish() error {
	c := t.shop
	if c == nil || !c.dirty {
		return nil
	}
	x := repo.Index{Categories: []repo.IndexedCategory{}}
	for _, name := range slices.Sorted(maps.Keys(c.categories)) {
		cat := c.categories[name]
		if err := c.flush(cat); err != nil {
			return err
		}
		if cat.Apps > 0 {
			x.Categories = append(x.Categories, cat.IndexedCategory)
		}
	}
	if err := c.flushFresh(); err != nil {
		return err
	}
	if err := c.flushWords(c.words); err != nil {
		return err
	}
	x.Words, x.Fresh = c.words.ref, c.fresh.ref
	m, err := t.editBin(repo.RoleApps, repo.CataloguePath)
	if err != nil {
		return err
	}
	return t.putTarget(m, repo.CataloguePath, x, nil)
}

// set changes what the catalogue has of a package from one listing to another,
// each of which may be nil, and returns the pages that it is in.
func (c *catalogue) set(pkg string, was, now *repo.Listing, pages map[string]int) (map[string]int, error) {
	before, after := entriesOf(was), entriesOf(now)
	same := reflect.DeepEqual(before, after)
	in := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if now != nil && slices.Contains(now.Categories, name) {
			in[name] = pages[name]
			continue
		}
		if _, err := c.put(name, pages[name], pkg, nil); err != nil {
			return nil, err
		}
	}
	if now != nil {
		for _, name := range now.Categories {
			n, there := in[name]
			if there && same {
				continue
			}
			if !there {
				n = -1
			}
			n, err := c.put(name, n, pkg, after)
			if err != nil {
				return nil, err
			}
			in[name] = n
		}
	}
	if len(in) == 0 {
		in = nil // as JSON has it
	}
	return in, c.setWords(pkg, was, now)
}

// entriesOf returns a listing's entries by locale, "" for the default one.
func entriesOf(l *repo.Listing) map[string]repo.Entry {
	if l == nil {
		return nil
	}
	all := map[string]repo.Entry{}
	def := l.DefaultLocale()
	for locale, t := range l.Locales {
		e := repo.Entry{Package: l.Package, Name: t.Name, Summary: t.Summary, Icon: t.Icon}
		if locale == def {
			all[""] = e
		} else if t.Name != "" {
			all[locale] = e
		}
	}
	return all
}

// put makes entries a package's in a page of a category, or in any with room if
// the page is -1, and returns which one. No entries take it out.
func (c *catalogue) put(name string, n int, pkg string, entries map[string]repo.Entry) (int, error) {
	cat := c.categories[name]
	if cat == nil {
		cat = &category{IndexedCategory: repo.IndexedCategory{Category: repo.Category{Name: name}}, pages: []*page{}}
		c.categories[name] = cat
	}
	if err := c.open(cat); err != nil {
		return 0, err
	}
	if n < 0 {
		n = slices.IndexFunc(cat.pages, func(p *page) bool { return p.Apps < repo.PageSize })
	}
	if n < 0 {
		n = len(cat.pages)
		cat.pages = append(cat.pages, &page{entries: map[string][]repo.Entry{}})
	}
	if n >= len(cat.pages) {
		return 0, fmt.Errorf("category %s has no page %d: %w", name, n, mios.ErrInvalid)
	}
	p := cat.pages[n]
	if err := c.openPage(p); err != nil {
		return 0, err
	}
	for locale, list := range p.entries {
		p.entries[locale] = slices.DeleteFunc(list, func(e repo.Entry) bool { return e.Package == pkg })
	}
	for locale, e := range entries {
		list := append(p.entries[locale], e)
		slices.SortFunc(list, func(a, b repo.Entry) int { return strings.Compare(a.Package, b.Package) })
		p.entries[locale] = list
	}
	cat.Apps += len(p.entries[""]) - p.Apps
	p.Apps = len(p.entries[""])
	p.dirty, cat.dirty, c.dirty = true, true, true
	return n, nil
}

// read reads the JSON of one of the catalogue's files.
func (c *catalogue) read(ref repo.Ref, kind string, v any) error {
	target := ref.Target(kind)
	b, err := tree.ReadAll(c.t.ctx, c.t.r.tree, target.File(), repo.MaxMetadata)
	if err != nil {
		return err
	}
	if err := target.Check(b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// write stores one of them.
func (c *catalogue) write(kind string, v any) (*repo.Ref, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return c.create(kind, b), nil
}

func (c *catalogue) create(kind string, b []byte) *repo.Ref {
	ref := &repo.Ref{SHA256: mios.Sum(b), Length: int64(len(b))}
	c.t.create(ref.Target(kind), b)
	return ref
}

func (c *catalogue) open(cat *category) error {
	if cat.pages != nil {
		return nil
	}
	var all repo.Pages
	if err := c.read(cat.File, "category", &all); err != nil {
		return err
	}
	cat.pages = []*page{}
	for _, p := range all.Pages {
		cat.pages = append(cat.pages, &page{Page: p})
	}
	return nil
}

func (c *catalogue) openPage(p *page) error {
	if p.entries != nil {
		return nil
	}
	p.entries = map[string][]repo.Entry{}
	files := maps.Clone(p.Locales)
	if files == nil {
		files = map[string]repo.Ref{}
	}
	if p.File != nil {
		files[""] = *p.File
	}
	for locale, ref := range files {
		var list repo.Entries
		if err := c.read(ref, "page", &list); err != nil {
			return err
		}
		p.entries[locale] = list.Entries
	}
	return nil
}

// flush writes what was changed of a category.
func (c *catalogue) flush(cat *category) error {
	if !cat.dirty {
		return nil
	}
	for _, p := range cat.pages {
		if !p.dirty {
			continue
		}
		p.File, p.Locales = nil, nil
		for _, locale := range slices.Sorted(maps.Keys(p.entries)) {
			if len(p.entries[locale]) == 0 {
				continue
			}
			ref, err := c.write("page", repo.Entries{Entries: p.entries[locale]})
			if err != nil {
				return err
			}
			if locale == "" {
				p.File = ref
				continue
			}
			if p.Locales == nil {
				p.Locales = map[string]repo.Ref{}
			}
			p.Locales[locale] = *ref
		}
	}
	all := repo.Pages{Category: cat.Name}
	for _, p := range cat.pages {
		all.Pages = append(all.Pages, p.Page)
	}
	ref, err := c.write("category", all)
	if err != nil {
		return err
	}
	cat.File, cat.IndexedCategory.Pages = *ref, len(cat.pages)
	return nil
}
