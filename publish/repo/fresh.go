package repo

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"mios/api/repo"
)

// fresh are the apps whose words the tree of words does not have as they are.
type fresh struct {
	ref   *repo.Ref                 // the file; nil if there is none
	apps  map[string]*repo.FreshApp // by package; nil until the file was read
	dirty bool
}

// maxFresh bounds the file, which every search reads, in bytes.
const maxFresh = 64 << 10

// foundOf returns what a search has to know of a listing, and the keys of its hits;
// zero values for nil.
func foundOf(l *repo.Listing) (f repo.Found, keys []string) {
	if l == nil {
		return f, nil
	}
	def := l.DefaultLocale()
	f = repo.Found{Package: l.Package, Name: cmp.Or(l.Locales[def].Name, l.Package)}
	for locale, t := range l.Locales {
		if t.Name == "" || t.Name == f.Name {
			continue
		}
		if f.Names == nil {
			f.Names = map[string]string{}
		}
		f.Names[locale] = t.Name
	}
	all, words := l.Words()
	f.Words = strings.Join(all, " ")
	for _, w := range words {
		keys = append(keys, repo.HitKey(w, l))
	}
	return f, keys
}

// setWords changes what a search finds of a package.
func (c *catalogue) setWords(pkg string, was, now *repo.Listing) error {
	before, had := foundOf(was)
	after, has := foundOf(now)
	if reflect.DeepEqual(before, after) && slices.Equal(had, has) {
		return nil
	}
	if err := c.openFresh(); err != nil {
		return err
	}
	c.dirty, c.fresh.dirty = true, true
	a := c.fresh.apps[pkg]
	if a == nil {
		a = &repo.FreshApp{Was: had}
		c.fresh.apps[pkg] = a
	}
	a.Found, a.Keys = after, has
	a.Package = pkg
	if now == nil && len(a.Was) == 0 {
		delete(c.fresh.apps, pkg)
	}
	return nil
}

func (c *catalogue) openFresh() error {
	if c.fresh.apps != nil {
		return nil
	}
	c.fresh.apps = map[string]*repo.FreshApp{}
	if c.fresh.ref == nil {
		return nil
	}
	var file repo.Fresh
	if err := c.read(*c.fresh.ref, "fresh", &file); err != nil {
		return err
	}
	for i := range file.Apps {
		c.fresh.apps[file.Apps[i].Package] = &file.Apps[i]
	}
	return nil
}

// flushFresh writes the fresh apps, or puts all of them into the tree of words if
// they are too many.
func (c *catalogue) flushFresh() error {
	if !c.fresh.dirty {
		return nil
	}
	c.fresh.dirty = false
	var file repo.Fresh
	for _, pkg := range slices.Sorted(maps.Keys(c.fresh.apps)) {
		file.Apps = append(file.Apps, *c.fresh.apps[pkg])
	}
	c.fresh.ref = nil
	if len(file.Apps) == 0 {
		return nil
	}
	if len(file.Apps) <= repo.MaxFresh {
		b, err := json.Marshal(file)
		if err != nil {
			return err
		}
		if len(b) <= maxFresh {
			c.fresh.ref = c.create("fresh", b)
			return nil
		}
	}
	clear(c.fresh.apps)
	for i := range file.Apps {
		if err := c.fold(&file.Apps[i]); err != nil {
			return err
		}
	}
	return nil
}

// fold puts an app into the tree of words, in the place of what the tree has of it.
func (c *catalogue) fold(a *repo.FreshApp) error {
	for _, key := range a.Was {
		if slices.Contains(a.Keys, key) {
			continue
		}
		if err := c.remove(c.words, key, key); err != nil {
			return err
		}
	}
	for _, key := range a.Keys {
		h, err := newHit(repo.Hit{Key: key, Found: a.Found})
		if err != nil {
			return err
		}
		if err := c.insert(c.words, h.key, h); err != nil {
			return err
		}
	}
	return nil
}
