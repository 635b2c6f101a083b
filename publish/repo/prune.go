package repo

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/storage/tree"
)

// Pruned says what [Repo.Prune] removed.
type Pruned struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	Kept  int   `json:"kept"` // files of the same kinds
}

// prunedFolders are those whose small files [Repo.Prune] removes. Metadata is one
// more.
var prunedFolders = []string{"apps", "catalogue", "listings", "rollout"}

// Prune removes metadata and small files that nothing has named for as long as
// keep: what a device that began to look then may still be fetching stays. All
// roots stay, and so do payloads, APKs, deltas and images.
func (r *Repo) Prune(ctx context.Context, keep time.Duration) (*Pruned, error) {
	if keep <= 0 {
		return nil, fmt.Errorf("prune: keep what is %v old: %w: want more than nothing", keep, mios.ErrInvalid)
	}
	t, unlock, err := r.beginLocked(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if t.view.root() == nil {
		return new(Pruned), nil
	}
	p := &pruner{t: t, cutoff: r.now().Add(-keep), keep: map[string]bool{}}
	if err := p.metadata(); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	for _, folder := range prunedFolders {
		names, err := r.tree.List(ctx, folder)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			hash, _, _ := strings.Cut(path.Base(name), ".")
			if _, err := mios.ParseDigest(hash); err == nil && strings.HasSuffix(name, ".json") {
				p.all = append(p.all, name)
			}
		}
	}
	return p.remove()
}

// A pruner finds what nothing names.
type pruner struct {
	t      *tx
	cutoff time.Time
	all    []string        // what may go
	keep   map[string]bool // what is named
}

// A version is a metadata file.
type version struct {
	role   string
	number int64
}

// metadata keeps what the snapshots of the time since the cutoff name.
func (p *pruner) metadata() error {
	names, err := p.t.r.tree.List(p.t.ctx, "metadata")
	if err != nil {
		return err
	}
	var snapshots []int64
	for _, name := range names {
		number, rest, _ := strings.Cut(path.Base(name), ".")
		n, err := strconv.ParseInt(number, 10, 64)
		role, ok := strings.CutSuffix(rest, ".json")
		if err != nil || !ok || role == tuf.RoleRoot {
			continue
		}
		p.all = append(p.all, name)
		if role == tuf.RoleSnapshot {
			snapshots = append(snapshots, n)
		}
	}
	slices.Sort(snapshots)
	named := map[version]bool{}
	for i, n := range snapshots {
		// One was replaced by the next, or the one after it, if the next was of a
		// publisher that was killed.
		if n != p.t.view.version(tuf.RoleSnapshot) && i+2 < len(snapshots) {
			old, err := p.old(repo.MetadataPath(tuf.RoleSnapshot, snapshots[i+2]))
			if err != nil {
				return err
			}
			if old {
				continue
			}
		}
		if err := p.snapshot(n, named); err != nil {
			return err
		}
	}
	for v := range named {
		if err := p.role(v); err != nil {
			return err
		}
	}
	for _, d := range p.t.staged {
		if err := p.targets(d); err != nil {
			return err
		}
	}
	return nil
}

// old tells whether a file was stored before the cutoff.
func (p *pruner) old(name string) (bool, error) {
	f, err := p.t.r.tree.Open(p.t.ctx, name)
	if err != nil {
		return false, err
	}
	return f.Modified().Before(p.cutoff), f.Close()
}

func (p *pruner) snapshot(n int64, named map[version]bool) error {
	name := repo.MetadataPath(tuf.RoleSnapshot, n)
	p.keep[name] = true
	b, err := tree.ReadAll(p.t.ctx, p.t.r.tree, name, repo.MaxMetadata)
	if err != nil {
		return err
	}
	m, err := tuf.Parse[tuf.Snapshot](b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for file, f := range m.Signed.Meta {
		named[version{strings.TrimSuffix(file, ".json"), f.Version}] = true
	}
	return nil
}

// role keeps a role's metadata, and what it names. One that is not there is of a
// snapshot that nobody could use.
func (p *pruner) role(v version) error {
	name := repo.MetadataPath(v.role, v.number)
	p.keep[name] = true
	if ok, err := p.t.r.exists(p.t.ctx, name); !ok || err != nil {
		return err
	}
	b, err := tree.ReadAll(p.t.ctx, p.t.r.tree, name, repo.MaxMetadata)
	if err != nil {
		return err
	}
	d, err := parseDocument(v.role, b)
	if err != nil {
		return err
	}
	return p.targets(d)
}

func (p *pruner) targets(d *document) error {
	if d.targets == nil {
		return nil
	}
	for name, f := range d.targets.Signed.Targets {
		target, err := repo.TargetOf(name, f, nil)
		if err != nil {
			return err
		}
		switch {
		case p.keep[target.File()]:
		case name == repo.CataloguePath:
			err = p.catalogue(target)
		case parent(d.role) == repo.RoleApps:
			var a repo.Package
			if err = p.read(target, &a); err == nil && a.Listing != nil {
				p.keep[a.Listing.File()] = true
			}
		default:
			p.keep[target.File()] = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read keeps a small file, and reads it.
func (p *pruner) read(target repo.Target, v any) error {
	p.keep[target.File()] = true
	b, err := tree.ReadAll(p.t.ctx, p.t.r.tree, target.File(), repo.MaxMetadata)
	if err != nil {
		return err
	}
	if err := target.Check(b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// catalogue keeps the files of a catalogue.
func (p *pruner) catalogue(target repo.Target) error {
	var x repo.Index
	if err := p.read(target, &x); err != nil {
		return err
	}
	for _, cat := range x.Categories {
		file := cat.File.Target("category")
		if p.keep[file.File()] {
			continue
		}
		var pages repo.Pages
		if err := p.read(file, &pages); err != nil {
			return err
		}
		for _, page := range pages.Pages {
			if page.File != nil {
				p.keep[page.File.Target("page").File()] = true
			}
			for _, ref := range page.Locales {
				p.keep[ref.Target("page").File()] = true
			}
		}
	}
	if x.Fresh != nil {
		p.keep[x.Fresh.Target("fresh").File()] = true
	}
	if x.Words == nil {
		return nil
	}
	return p.words(*x.Words)
}

func (p *pruner) words(ref repo.Ref) error {
	file := ref.Target("words")
	if p.keep[file.File()] {
		return nil
	}
	var n repo.WordNode
	if err := p.read(file, &n); err != nil {
		return err
	}
	for _, child := range n.Children {
		if err := p.words(child.File); err != nil {
			return err
		}
	}
	return nil
}

// remove removes what is old and not named.
func (p *pruner) remove() (*Pruned, error) {
	res := new(Pruned)
	var names []string
	for _, name := range p.all {
		f, err := p.t.r.tree.Open(p.t.ctx, name)
		if err != nil {
			return nil, err
		}
		if p.keep[name] || !f.Modified().Before(p.cutoff) {
			res.Kept++
		} else {
			names = append(names, name)
			res.Bytes += f.Size()
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	res.Files = len(names)
	return res, tree.Remove(p.t.ctx, p.t.r.tree, names...)
}
