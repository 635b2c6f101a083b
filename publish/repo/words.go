package repo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"mios"
	"mios/api/repo"
	"mios/storage/tree"
)

// words is a node of the tree of words: hits, and children by what their prefixes
// have beyond this one's. No hit goes on with the rune that a child begins with.
type words struct {
	ref      *repo.Ref // the file; nil if there is none
	read     bool
	hits     []hit
	children map[string]*words
	dirty    bool
}

// A hit is a [repo.Hit] as its JSON, which is all that has to be known of those
// that a change leaves alone.
type hit struct {
	key  string
	json json.RawMessage
}

func newHit(h repo.Hit) (hit, error) {
	b, err := json.Marshal(h)
	return hit{h.Key, b}, err
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *hit) UnmarshalJSON(b []byte) error {
	h.json = bytes.Clone(b)
	var k struct {
		Key string `json:"key"`
	}
	err := json.Unmarshal(b, &k)
	h.key = k.Key
	return err
}

// A wordFile is the content of a node's file, a [repo.WordNode]. It is never
// changed.
type wordFile struct {
	Hits     []hit            `json:"hits"`
	Children []repo.WordChild `json:"children"`
}

// marshal returns the file's JSON.
func (f *wordFile) marshal() ([]byte, error) {
	children, err := json.Marshal(f.Children)
	if err != nil {
		return nil, err
	}
	size := len(children) + 32
	for _, h := range f.Hits {
		size += len(h.json) + 1
	}
	b := append(make([]byte, 0, size), '{')
	if len(f.Hits) > 0 {
		b = append(b, `"hits":`...)
		for i, h := range f.Hits {
			b = append(append(b, "[,"[min(i, 1)]), h.json...)
		}
		b = append(b, ']')
	}
	if len(f.Children) > 0 {
		if len(f.Hits) > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `"children":`...), children...)
	}
	return append(b, '}'), nil
}

// readWords returns a file of the tree of words, from memory if it can: the next
// apps' words lead through most of them again.
func (r *Repo) readWords(ctx context.Context, ref repo.Ref) (*wordFile, error) {
	if f, ok := r.words.get(ref.SHA256); ok {
		return f, nil
	}
	target := ref.Target("words")
	b, err := tree.ReadAll(ctx, r.tree, target.File(), repo.MaxMetadata)
	if err != nil {
		return nil, err
	}
	if err := target.Check(b); err != nil {
		return nil, err
	}
	f := new(wordFile)
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", target.Path, err, mios.ErrInvalid)
	}
	r.words.put(ref.SHA256, f, ref.Length)
	return f, nil
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
	file, err := c.t.r.readWords(c.t.ctx, *n.ref)
	if err != nil {
		return err
	}
	n.hits = slices.Clone(file.Hits)
	for _, child := range file.Children {
		n.children[child.Next] = &words{ref: &child.File}
	}
	return nil
}

// insert puts a hit, the rest of whose key is rest, below a node, in the place of
// the one with the same key if there is one.
func (c *catalogue) insert(n *words, rest string, h hit) error {
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
			return c.insert(child, rest[len(next):], h)
		}
		// A node between, for what the two have in common.
		between := &words{read: true, dirty: true, children: map[string]*words{next[len(common):]: child}}
		delete(n.children, next)
		n.children[common] = between
		return c.insert(between, rest[len(common):], h)
	}
	i, there := slices.BinarySearchFunc(n.hits, h.key, func(h hit, key string) int { return strings.Compare(h.key, key) })
	if there {
		n.hits[i] = h
		return nil
	}
	n.hits = slices.Insert(n.hits, i, h)
	if len(n.hits) > repo.MaxHits {
		n.split(len(h.key) - len(rest))
	}
	return nil
}

// split makes children of most of a node's hits, by the rune at byte at of their
// keys: those that share it with the most others, so that few files hold few.
func (n *words) split(at int) {
	groups := map[rune][]hit{}
	for _, h := range n.hits {
		r, _ := utf8.DecodeRuneInString(h.key[at:])
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
		next := hits[0].key[at:]
		for _, h := range hits[1:] {
			next = commonPrefix(next, h.key[at:])
		}
		n.hits = slices.DeleteFunc(n.hits, func(h hit) bool { return strings.HasPrefix(h.key[at:], string(r)) })
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
	n.hits = slices.DeleteFunc(n.hits, func(h hit) bool { return h.key == key })
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
	file := &wordFile{Hits: n.hits}
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
	b, err := file.marshal()
	if err != nil {
		return err
	}
	n.ref = c.create("words", b)
	c.t.r.words.put(n.ref.SHA256, file, n.ref.Length)
	return nil
}
