package repo

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"mios/api/repo"
)

// words is a node of the tree of words: hits, and children by what their prefixes
// have beyond this one's. No hit goes on with the rune that a child begins with.
type words struct {
	ref      *repo.Ref // the file; nil if there is none
	read     bool
	hits     []repo.Hit
	children map[string]*words
	dirty    bool
}

// openWords reads a node.
func (c *catalogue) openWords(n *words) error {
	if n.read {
		return nil
	}
	n.read, n.children = true, map[string]*words{}
	if n.ref == nil {
		return nil
	}
	var file repo.WordNode
	if err := c.read(*n.ref, "words", &file); err != nil {
		return err
	}
	n.hits = file.Hits
	for _, child := range file.Children {
		n.children[child.Next] = &words{ref: &child.File}
	}
	return nil
}

// insert puts a hit, the rest of whose key is rest, below a node, in the place of
// the one with the same key if there is one.
func (c *catalogue) insert(n *words, rest string, hit repo.Hit) error {
	if err := c.openWords(n); err != nil {
		return err
	}
	n.dirty = true
	for next, child := range n.children {
		common := commonPrefix(next, rest)
		switch common {
		case "":
			continue
		case next:
			return c.insert(child, rest[len(next):], hit)
		}
		// A node between, for what the two have in common.
		between := &words{read: true, dirty: true, children: map[string]*words{next[len(common):]: child}}
		delete(n.children, next)
		n.children[common] = between
		return c.insert(between, rest[len(common):], hit)
	}
	i, there := slices.BinarySearchFunc(n.hits, hit.Key, func(h repo.Hit, key string) int { return strings.Compare(h.Key, key) })
	if there {
		n.hits[i] = hit
		return nil
	}
	n.hits = slices.Insert(n.hits, i, hit)
	if len(n.hits) > repo.MaxHits {
		n.split(len(hit.Key) - len(rest))
	}
	return nil
}

// split makes children of most of a node's hits, by the rune at byte at of their
// keys: those that share it with the most others, so that few files hold few.
func (n *words) split(at int) {
	groups := map[rune][]repo.Hit{}
	for _, h := range n.hits {
		r, _ := utf8.DecodeRuneInString(h.Key[at:])
		groups[r] = append(groups[r], h)
	}
	large := slices.SortedFunc(maps.Keys(groups), func(a, b rune) int {
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a, b))
	})
	for _, r := range large {
		if len(n.hits) <= repo.MaxHits/2 {
			return
		}
		hits := groups[r]
		next := hits[0].Key[at:]
		for _, h := range hits[1:] {
			next = commonPrefix(next, h.Key[at:])
		}
		n.hits = slices.DeleteFunc(n.hits, func(h repo.Hit) bool { return strings.HasPrefix(h.Key[at:], string(r)) })
		child := &words{read: true, dirty: true, children: map[string]*words{}, hits: hits}
		n.children[next] = child
		if len(hits) > repo.MaxHits {
			child.split(at + len(next))
		}
	}
}

// commonPrefix returns what both begin with, in whole runes.
func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return a[:n]
}

// remove takes a hit out, the rest of whose key is rest, and the nodes that are
// empty then. That there is none is no error.
func (c *catalogue) remove(n *words, rest, key string) error {
	if err := c.openWords(n); err != nil {
		return err
	}
	n.dirty = true
	n.hits = slices.DeleteFunc(n.hits, func(h repo.Hit) bool { return h.Key == key })
	for next, child := range n.children {
		if !strings.HasPrefix(rest, next) {
			continue
		}
		if err := c.remove(child, rest[len(next):], key); err != nil {
			return err
		}
		if len(child.hits) == 0 && len(child.children) == 0 {
			delete(n.children, next)
		}
		break
	}
	return nil
}

// flushWords writes what was changed of the tree of words below a node.
func (c *catalogue) flushWords(n *words) error {
	if !n.dirty {
		return nil
	}
	file := repo.WordNode{Hits: n.hits}
	for _, next := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[next]
		if err := c.flushWords(child); err != nil {
			return err
		}
		file.Children = append(file.Children, repo.WordChild{Next: next, File: *child.ref})
	}
	n.dirty = false
	if len(n.hits) == 0 && len(n.children) == 0 {
		n.ref = nil
		return nil
	}
	ref, err := c.write("words", file)
	n.ref = ref
	return err
}
