package repo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mios"
)

var _ Catalogue = (*Client)(nil)

// Listing returns what people are told of a package. The error wraps
// [mios.ErrNotFound] where there is no such package, or nothing is said of it.
func (c *Client) Listing(ctx context.Context, pkg string) (*Listing, error) {
	l := new(Listing)
	err := c.extend(ctx, func(s *state) error {
		if err := CheckPackage(pkg); err != nil {
			return err
		}
		p, err := c.appPackage(ctx, s, pkg)
		if err != nil {
			return err
		}
		if p.Listing == nil {
			return fmt.Errorf("listing of %s: %w in this repository", pkg, mios.ErrNotFound)
		}
		if err := c.readFile(ctx, *p.Listing, l); err != nil {
			return err
		}
		if l.Package != pkg {
			return fmt.Errorf("listing of %s: it is about %q: %w", pkg, l.Package, ErrRole)
		}
		return l.Check()
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Categories returns the catalogue's categories by name.
func (c *Client) Categories(ctx context.Context) ([]Category, error) {
	var list []Category
	err := c.extend(ctx, func(s *state) error {
		x, err := c.index(ctx, s)
		if err != nil {
			return err
		}
		for _, cat := range x.Categories {
			list = append(list, cat.Category)
		}
		return nil
	})
	return list, err
}

// Page returns a page of a category by name, in the language of the locale as far as
// there is one. The error wraps [mios.ErrNotFound] where there is no such page.
func (c *Client) Page(ctx context.Context, category string, page int, locale string) ([]Entry, error) {
	var list Entries
	err := c.extend(ctx, func(s *state) error {
		x, err := c.index(ctx, s)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(x.Categories, func(cat IndexedCategory) bool { return cat.Name == category })
		if i < 0 {
			return fmt.Errorf("category %q: %w in this repository", category, mios.ErrNotFound)
		}
		var pages Pages
		if err := c.readFile(ctx, x.Categories[i].File.Target("category"), &pages); err != nil {
			return err
		}
		if page < 0 || page >= len(pages.Pages) {
			return fmt.Errorf("page %d of category %s: %w: it has %d", page, category, mios.ErrNotFound, len(pages.Pages))
		}
		list, err = c.entries(ctx, &pages.Pages[page], locale)
		return err
	})
	return list.Entries, err
}

// entries returns a page's entries, in a language as far as there is one.
func (c *Client) entries(ctx context.Context, p *Page, locale string) (list Entries, err error) {
	if p.File == nil {
		return list, nil
	}
	if err := c.readFile(ctx, p.File.Target("page"), &list); err != nil {
		return list, err
	}
	if ref, ok := p.Locales[Nearest(locale, p.Locales)]; ok {
		var in Entries
		if err := c.readFile(ctx, ref.Target("page"), &in); err != nil {
			return list, err
		}
		for _, e := range in.Entries {
			if i := slices.IndexFunc(list.Entries, func(o Entry) bool { return o.Package == e.Package }); i >= 0 {
				e.Icon = cmp.Or(e.Icon, list.Entries[i].Icon)
				list.Entries[i] = e
			}
		}
	}
	for _, e := range list.Entries {
		if err := e.check(); err != nil {
			return list, err
		}
	}
	sortEntries(list.Entries)
	return list, nil
}

// check refuses an entry that is no app's, or has another one's icon.
func (e *Entry) check() error {
	if err := CheckPackage(e.Package); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	if e.Icon != nil && !strings.HasPrefix(e.Icon.Path, ImagePath(e.Package, "")) {
		return fmt.Errorf("catalogue: app %s has an icon at %q: %w", e.Package, e.Icon.Path, ErrRole)
	}
	return nil
}

func sortEntries(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.Package, b.Package))
	})
}

// MaxFound is how many apps a search returns, at most.
const MaxFound = 60

// maxNodes is how many files of the tree of words a search reads, at most.
const maxNodes = 24

// Search returns the apps that have, for each word of the query, a word that
// begins with it, in any language, whatever the case and the accents: at most
// [MaxFound], by name, without summaries and icons. Names are in the language of
// the locale as far as there are. The error wraps [mios.ErrInvalid] where the query
// has no word.
func (c *Client) Search(ctx context.Context, query, locale string) ([]Entry, error) {
	words := Words(query)
	if len(words) == 0 {
		return nil, fmt.Errorf("search for %q: %w: type a word", query, mios.ErrInvalid)
	}
	w := &search{c: c, ctx: ctx, words: words, locale: locale, seen: map[string]bool{}}
	err := c.extend(ctx, func(s *state) error {
		x, err := c.index(ctx, s)
		if err != nil {
			return err
		}
		if err := w.fresh(x.Fresh); err != nil || x.Words == nil {
			return err
		}
		ref, at, err := w.begin(*x.Words)
		if err != nil || ref == nil {
			return err
		}
		return w.walk(*ref, at)
	})
	sortEntries(w.found)
	return w.found, err
}

// A search goes through what is fresh, and then through the tree of words.
type search struct {
	c      *Client
	ctx    context.Context
	prefix string // that the keys must have
	words  []string
	locale string
	found  []Entry
	seen   map[string]bool // packages of which the tree says nothing more
	nodes  int
}

// fresh takes the apps that changed since the tree was written.
func (w *search) fresh(ref *Ref) error {
	if ref == nil {
		return nil
	}
	var f Fresh
	if err := w.c.readFile(w.ctx, ref.Target("fresh"), &f); err != nil {
		return err
	}
	for _, a := range f.Apps {
		leads := func(key string) bool {
			return slices.ContainsFunc(w.words, func(word string) bool { return strings.HasPrefix(key, word) })
		}
		if slices.ContainsFunc(a.Keys, leads) {
			if err := w.take(&a.Found); err != nil {
				return err
			}
		}
		w.seen[a.Package] = true
	}
	return nil
}

// begin chooses the word to go through the tree by: one that few apps have, if
// there is one, or else the longest. It returns the node with all that begins with
// it, and what that node's keys begin with; nil if nothing does.
func (w *search) begin(root Ref) (best *Ref, at string, err error) {
	words := slices.Clone(w.words)
	if slices.ContainsFunc(words, significant) { // the others lead to some apps alone
		words = slices.DeleteFunc(words, func(word string) bool { return !significant(word) })
	}
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, word := range words {
		ref, prefix, few, err := w.descend(root, word)
		if err != nil || ref == nil {
			return nil, "", err
		}
		if best == nil || few {
			best, at, w.prefix = ref, prefix, word
		}
		if few {
			break
		}
	}
	return best, at, nil
}

// descend returns the node that has all keys that begin with a word, and what
// they begin with there; few tells whether that is one node alone.
func (w *search) descend(ref Ref, word string) (node *Ref, at string, few bool, err error) {
	for {
		var n WordNode
		if err := w.c.readFile(w.ctx, ref.Target("words"), &n); err != nil {
			return nil, "", false, err
		}
		if len(at) >= len(word) {
			return &ref, at, len(n.Children) == 0, nil
		}
		i := slices.IndexFunc(n.Children, func(c WordChild) bool {
			next := at + c.Next
			return c.Next != "" && (strings.HasPrefix(word, next) || strings.HasPrefix(next, word))
		})
		if i < 0 { // what there is of it is here
			if !slices.ContainsFunc(n.Hits, func(h Hit) bool { return strings.HasPrefix(h.Key, word) }) {
				return nil, "", false, nil
			}
			return &ref, at, true, nil
		}
		ref, at = n.Children[i].File, at+n.Children[i].Next
	}
}

// walk looks at a node whose keys begin with at, which agrees with the prefix as
// far as both go.
func (w *search) walk(ref Ref, at string) error {
	if w.nodes == maxNodes || len(w.found) == MaxFound {
		return nil
	}
	w.nodes++
	var n WordNode
	if err := w.c.readFile(w.ctx, ref.Target("words"), &n); err != nil {
		return err
	}
	for _, h := range n.Hits {
		if !strings.HasPrefix(h.Key, w.prefix) {
			continue
		}
		if err := w.take(&h.Found); err != nil {
			return err
		}
	}
	for _, child := range n.Children {
		next := at + child.Next
		if child.Next != "" && (strings.HasPrefix(next, w.prefix) || strings.HasPrefix(w.prefix, next)) {
			if err := w.walk(child.File, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// take adds an app if all words of the query are its.
func (w *search) take(f *Found) error {
	if w.seen[f.Package] || len(w.found) == MaxFound {
		return nil
	}
	all := " " + f.Words
	for _, word := range w.words {
		if !strings.Contains(all, " "+word) {
			return nil
		}
	}
	w.seen[f.Package] = true
	e := Entry{Package: f.Package, Name: f.Name}
	if name, ok := f.Names[Nearest(w.locale, f.Names)]; ok {
		e.Name = name
	}
	w.found = append(w.found, e)
	return e.check()
}

// Changed returns those of the packages of which the repository says another
// thing than when the device last asked, sorted, and what to pass the next time. It fetches
// metadata of those bins alone that have changed.
func (c *Client) Changed(ctx context.Context, since Seen, pkgs ...string) (changed []string, now Seen, err error) {
	now = Seen{}
	err = c.extend(ctx, func(s *state) error {
		for _, pkg := range pkgs {
			if err := CheckPackage(pkg); err != nil {
				return err
			}
			f, err := c.appTarget(ctx, s, PackagePath(pkg))
			if err != nil {
				return err
			}
			if f != nil {
				t, err := TargetOf(PackagePath(pkg), f, nil)
				if err != nil {
					return err
				}
				now[pkg] = t.SHA256
			}
			if now[pkg] != since[pkg] {
				changed = append(changed, pkg)
			}
		}
		return nil
	})
	slices.Sort(changed)
	return slices.Compact(changed), now, err
}

// index returns the catalogue's first file; an empty one if there is none.
func (c *Client) index(ctx context.Context, s *state) (*Index, error) {
	x := new(Index)
	f, err := c.appTarget(ctx, s, CataloguePath)
	if err != nil || f == nil {
		return x, err
	}
	t, err := TargetOf(CataloguePath, f, nil)
	if err != nil {
		return nil, err
	}
	return x, c.readFile(ctx, t, x)
}

// maxSeen is how many bytes of the catalogue's files a client remembers.
const maxSeen = 1 << 20

// readFile reads the JSON of a small target that was signed for. It remembers
// some, in memory alone.
func (c *Client) readFile(ctx context.Context, t Target, v any) error {
	c.mu.Lock()
	b, ok := c.files[t.SHA256]
	c.mu.Unlock()
	if !ok {
		if t.Length < 0 || t.Length > MaxListing {
			return fmt.Errorf("%s: %d bytes, want at most %d: %w", t.Path, t.Length, MaxListing, ErrLength)
		}
		var err error
		if b, err = c.cfg.Fetcher.Get(ctx, t.File(), t.Length); err != nil {
			return fmt.Errorf("%s: %w", t.Path, err)
		}
		if err := t.Check(b); err != nil {
			return err
		}
		c.remember(t.SHA256, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %v: %w", t.Path, err, mios.ErrInvalid)
	}
	return nil
}

func (c *Client) remember(d mios.Digest, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filesSize += len(b); c.filesSize > maxSeen || c.files == nil {
		c.files, c.filesSize = map[mios.Digest][]byte{}, len(b)
	}
	c.files[d] = b
}
