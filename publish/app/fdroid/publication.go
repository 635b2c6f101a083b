package fdroid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mios"
	"mios/storage/tree"
)

// A publication is one time that the indexes are written.
type publication struct {
	*Config
	body   *body
	old    *history
	before []byte // the old history's pointer
	icon   *File

	record  record
	next    history
	indexV1 []byte   // index-v1.jar
	remove  []string // old files
}

// run writes the files, then moves the pointers.
func (p *publication) run(ctx context.Context) (*Result, error) {
	repo := p.repoV2(p.icon, p.record.Time, p.body.categories)
	p.body.list.repo = int64(len(repo))
	p.body.list.place()
	var diffs []diffFile
	older := p.old.Records[:min(len(p.old.Records), keep)]
	err := both(
		func() error { return p.makeV1() },
		func() error {
			if err := p.storeIndex(ctx, repo); err != nil {
				return err
			}
			_, at, err := p.body.index(repo)
			if err != nil {
				return err
			}
			diffs, err = p.diffs(ctx, older, &p.body.list, at)
			return err
		})
	if err != nil {
		return nil, err
	}
	for _, d := range diffs {
		p.record.Diffs = append(p.record.Diffs, d.file.Name)
	}
	if err := p.storeIcons(ctx); err != nil {
		return nil, err
	}
	b := entryJSON(&p.record, diffs)
	e, err := stored("entry.json", b)
	if err != nil {
		return nil, err
	}
	jar, err := signedJAR(p.Key, p.Certificate, e)
	if err != nil {
		return nil, err
	}
	if err := p.point(ctx, older, []pointer{{indexV1Name, p.indexV1}, {entryJSONName, b}, {entryJARName, jar}}); err != nil {
		return nil, err
	}
	if err := tree.Remove(ctx, p.Tree, p.remove...); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return &Result{
		Time: time.UnixMilli(p.record.Time), Index: p.record.Index, Packages: p.record.Packages, Changed: true,
		Diffs: len(diffs), Removed: len(p.remove),
	}, nil
}

// both runs two functions at once.
func both(a, b func() error) error {
	other := make(chan error, 1)
	go func() { other <- a() }()
	err := b()
	return errors.Join(<-other, err)
}

// storeIndex stores index-v2 and its list.
func (p *publication) storeIndex(ctx context.Context, repo []byte) error {
	r, _, err := p.body.index(repo)
	if err != nil {
		return err
	}
	d := newDigester()
	if _, err := io.Copy(d, r); err != nil {
		return err
	}
	p.record.Index = File{Name: d.sum().String() + ".index-v2.json", Digest: d.sum(), Size: d.size}
	if r, _, err = p.body.index(repo); err != nil {
		return err
	}
	if err := p.Tree.Create(ctx, Folder+"/"+p.record.Index.Name, r); err != nil {
		return err
	}
	b := p.body.list.bytes()
	sum := mios.Sum(b)
	p.record.List = File{Name: sum.String() + ".index-v2.list", Digest: sum, Size: int64(len(b))}
	return p.create(ctx, p.record.List.Name, b)
}

// makeV1 puts index-v1.jar together.
func (p *publication) makeV1() error {
	b := p.body
	raw, err := b.v1.reader()
	if err != nil {
		return err
	}
	apps, err := b.apps.reader()
	if err != nil {
		return err
	}
	packages, err := b.packed.reader()
	if err != nil {
		return err
	}
	head, middle, tail := p.headV1(p.icon, p.record.Time), []byte(packagesV1), []byte(tailV1)
	if _, err := io.Copy(b.raw, io.MultiReader(newReader(middle), raw, newReader(tail))); err != nil {
		return err
	}
	var parts [3][]byte
	for i, part := range [][]byte{head, middle, tail} {
		if parts[i], err = deflated(part, i == 2); err != nil {
			return err
		}
	}
	e := entry{name: "index-v1.json", raw: b.raw,
		packed: io.MultiReader(newReader(parts[0]), apps, newReader(parts[1]), packages, newReader(parts[2])),
		size:   int64(len(parts[0])+len(parts[1])+len(parts[2])) + apps.Size() + packages.Size(),
	}
	p.indexV1, err = signedJAR(p.Key, p.Certificate, e)
	return err
}

// storeIcons makes the copies that clients of index-v1 look for, of the icons
// that are new.
func (p *publication) storeIcons(ctx context.Context) error {
	old := map[string][16]byte{}
	if len(p.old.Records) > 0 {
		b, err := tree.ReadAll(ctx, p.Tree, Folder+"/"+p.old.Records[0].List.Name, p.old.Records[0].List.Size)
		if err == nil {
			if l, err := parseList(b); err == nil {
				for i := range l.items {
					old[l.items[i].name] = l.items[i].icon
				}
			}
		}
	}
	n := 0
	for i := range p.body.list.items {
		it := &p.body.list.items[i]
		if it.icon == [16]byte{} {
			continue
		}
		icon := p.body.icons[n]
		n++
		if old[it.name] == it.icon {
			continue
		}
		if err := p.copyIcon(ctx, icon); err != nil {
			return fmt.Errorf("app %s: icon: %w", it.name, err)
		}
	}
	return nil
}

func (p *publication) copyIcon(ctx context.Context, icon iconCopy) error {
	f, err := p.Tree.Open(ctx, Folder+"/"+icon.from)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.Tree.Create(ctx, Folder+"/"+icon.to, f)
}

// A pointer is one of the repository's, and what it shall hold.
type pointer struct {
	name string
	b    []byte
}

// point makes the publication the newest. The history moves first: it decides
// between two who publish at once, and whoever comes next finds in it what the
// pointers should hold.
func (p *publication) point(ctx context.Context, older []record, pointers []pointer) error {
	p.next.Format = 1
	p.next.Pointers = map[string]mios.Digest{}
	for _, to := range pointers {
		p.next.Pointers[to.name] = mios.Sum(to.b)
	}
	p.next.Records = append([]record{p.record}, older...)
	p.next.Old = slices.Clone(p.old.Old)
	p.remove = p.next.sweep(p.old.Records[len(older):], p.record.Time)
	b, err := json.Marshal(&p.next)
	if err != nil {
		return err
	}
	if err := p.Tree.Point(ctx, historyPointer, p.before, b); err != nil {
		return err
	}
	for _, to := range pointers {
		if err := p.move(ctx, to, b); err != nil {
			return err
		}
	}
	return nil
}

// move moves one pointer, for as long as the history is ours.
func (p *publication) move(ctx context.Context, to pointer, ours []byte) error {
	for {
		old, err := p.pointer(ctx, to.name)
		if err != nil {
			return err
		}
		now, err := tree.ReadAll(ctx, p.Tree, historyPointer, maxHistory)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, ours) {
			return fmt.Errorf("%s: somebody else has published since: %w", historyPointer, mios.ErrConflict)
		}
		if err = p.Tree.Point(ctx, to.name, old, to.b); !errors.Is(err, mios.ErrConflict) {
			return err
		}
	}
}

// maxPointer bounds index-v1.jar, in bytes.
const maxPointer = 512 << 20

// pointer returns what a pointer holds, nil if it is not there.
func (c *Config) pointer(ctx context.Context, name string) ([]byte, error) {
	b, err := tree.ReadAll(ctx, c.Tree, name, maxPointer)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

func (c *Config) create(ctx context.Context, name string, b []byte) error {
	return c.Tree.Create(ctx, Folder+"/"+name, newReader(b))
}

// newReader returns a reader of some bytes.
func newReader(b []byte) *bytes.Reader { return bytes.NewReader(b) }

// joined is some bytes with a file behind them.
type joined struct {
	head []byte
	tail io.ReaderAt
}

// ReadAt implements [io.ReaderAt] for ranges that lie in one of both.
func (j *joined) ReadAt(b []byte, off int64) (int, error) {
	if n := int64(len(j.head)); off >= n {
		return j.tail.ReadAt(b, off-n)
	}
	return bytes.NewReader(j.head).ReadAt(b, off)
}
