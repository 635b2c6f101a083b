package fdroid

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"mios"
	"mios/storage/tree"
)

// A diffFile is a patch from an older index to the newest one.
type diffFile struct {
	from     int64 // time of the older one, in milliseconds
	file     File
	packages int
}

// An older index is one that a patch is made from.
type older struct {
	record *record
	list   *list
	file   tree.File
	at     int // in list.items

	out    *spool
	digest *digester
	number int
	broken bool // it is not what its list says: no patch
}

// diffs writes the patches from the older indexes to the one that l and at
// describe. What cannot be read any more, and what would cost a client about as
// much as the whole, is left out: clients then take the whole.
func (c *Config) diffs(ctx context.Context, records []record, l *list, index io.ReaderAt) ([]diffFile, error) {
	var olds []*older
	defer func() {
		for _, o := range olds {
			o.close()
		}
	}()
	for i := range records {
		o, err := c.openOlder(ctx, &records[i], l)
		if err != nil {
			return nil, err
		}
		if o != nil {
			olds = append(olds, o)
		}
	}
	if err := patchRepos(olds, l, index); err != nil {
		return nil, err
	}
	if err := patchPackages(ctx, olds, l, index); err != nil {
		return nil, err
	}
	return c.storeDiffs(ctx, slices.DeleteFunc(slices.Clone(olds), func(o *older) bool { return o.broken }))
}

// storeDiffs stores all patches at once: each waits for its own place to be
// durable.
func (c *Config) storeDiffs(ctx context.Context, olds []*older) ([]diffFile, error) {
	out, errs := make([]diffFile, len(olds)), make([]error, len(olds))
	var wg sync.WaitGroup
	for i, o := range olds {
		wg.Go(func() { out[i], errs[i] = c.storeDiff(ctx, o) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// openOlder returns nil where there is nothing to make a patch from, or none
// worth it.
func (c *Config) openOlder(ctx context.Context, r *record, l *list) (*older, error) {
	b, err := tree.ReadAll(ctx, c.Tree, Folder+"/"+r.List.Name, r.List.Size)
	if errors.Is(err, mios.ErrNotFound) || errors.Is(err, mios.ErrInvalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if mios.Sum(b) != r.List.Digest {
		return nil, nil
	}
	o := &older{record: r, digest: newDigester()}
	if o.list, err = parseList(b); err != nil || !worthPatch(o.list, l) {
		return nil, nil
	}
	o.file, err = c.Tree.Open(ctx, Folder+"/"+r.Index.Name)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o.out, err = newSpool(); err != nil {
		o.file.Close()
		return nil, err
	}
	return o, nil
}

func (o *older) close() {
	o.file.Close()
	o.out.Close()
}

// worthPatch reports whether less than half of an index has changed.
func worthPatch(from, to *list) bool {
	changed, total, i := 0, 0, 0
	for j := range to.items {
		n := &to.items[j]
		total += n.size
		for i < len(from.items) && from.items[i].name < n.name {
			i++
		}
		if i == len(from.items) || from.items[i].name != n.name || from.items[i].sum != n.sum {
			changed += n.size
		}
	}
	return changed <= total/2
}

// Write implements [io.Writer].
func (o *older) Write(b []byte) (int, error) {
	o.digest.Write(b)
	return o.out.Write(b)
}

// readAt returns size bytes of an index.
func readAt(r io.ReaderAt, off int64, size int) ([]byte, error) {
	b := make([]byte, size)
	if n, err := r.ReadAt(b, off); n < size {
		return nil, fmt.Errorf("index: offset %d: %w", off, err)
	}
	return b, nil
}

// patchRepos begins each patch with what it does to "repo".
func patchRepos(olds []*older, l *list, index io.ReaderAt) error {
	to, err := readAt(index, int64(len(indexHead)), int(l.repo))
	if err != nil {
		return err
	}
	for _, o := range olds {
		from, err := readAt(o.file, int64(len(indexHead)), int(o.list.repo))
		if err != nil {
			o.broken = true
			continue
		}
		p, _, err := mergePatch(from, to)
		if err != nil {
			o.broken = true
			continue
		}
		if _, err := o.Write(append([]byte(indexHead), p...)); err != nil {
			return err
		}
	}
	return nil
}

// patchPackages goes through all lists at once, package by package.
func patchPackages(ctx context.Context, olds []*older, l *list, index io.ReaderAt) error {
	for at := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, more := "", false
		for _, o := range olds {
			if o.at < len(o.list.items) && (!more || o.list.items[o.at].name < name) {
				name, more = o.list.items[o.at].name, true
			}
		}
		var to *item
		if at < len(l.items) && (!more || l.items[at].name <= name) {
			to = &l.items[at]
			name, more = to.name, true
			at++
		}
		if !more {
			break
		}
		if err := patchPackage(olds, name, to, index); err != nil {
			return err
		}
	}
	for _, o := range olds {
		tail := "}"
		if o.number > 0 {
			tail = indexTail
		}
		if _, err := io.WriteString(o, tail); err != nil {
			return err
		}
	}
	return nil
}

// patchPackage writes what becomes of one package, which is not in the new
// index if to is nil. Of older indexes many have the same.
func patchPackage(olds []*older, name string, to *item, index io.ReaderAt) error {
	var value []byte
	made := map[[16]byte][]byte{}
	for _, o := range olds {
		var from *item
		if o.at < len(o.list.items) && o.list.items[o.at].name == name {
			from = &o.list.items[o.at]
			o.at++
		}
		var p []byte
		switch {
		case o.broken || from == nil && to == nil || from != nil && to != nil && from.sum == to.sum:
			continue
		case to == nil:
			p = []byte("null")
		default:
			if value == nil {
				var err error
				if value, err = readAt(index, to.off, to.size); err != nil {
					return err
				}
			}
			p = value
			if from != nil {
				p = made[from.sum]
				if p == nil {
					p = o.patch(from, value)
					made[from.sum] = p
				}
			}
		}
		if p == nil {
			o.broken = true
			continue
		}
		if err := o.member(name, p); err != nil {
			return err
		}
	}
	return nil
}

// patch returns nil if the older index is not what its list says.
func (o *older) patch(from *item, to []byte) []byte {
	b, err := readAt(o.file, from.off, from.size)
	if err != nil {
		return nil
	}
	if sum := mios.Sum(b); !bytes.Equal(sum[:len(from.sum)], from.sum[:]) {
		return nil
	}
	p, _, err := mergePatch(b, to)
	if err != nil {
		return nil
	}
	return p
}

func (o *older) member(name string, value []byte) error {
	e := encoder{}
	if o.number == 0 {
		e.b = append(e.b, indexPackages...)
	} else {
		e.b = append(e.b, ',')
	}
	o.number++
	e.quote(name)
	e.b = append(append(e.b, ':'), value...)
	_, err := o.Write(e.b)
	return err
}

func (c *Config) storeDiff(ctx context.Context, o *older) (diffFile, error) {
	sum := o.digest.sum()
	d := diffFile{from: o.record.Time, packages: o.number, file: File{
		Name:   "diff/" + sum.String() + "." + strconv.FormatInt(o.record.Time, 10) + ".json",
		Digest: sum, Size: o.out.size,
	}}
	r, err := o.out.reader()
	if err != nil {
		return d, err
	}
	return d, c.Tree.Create(ctx, Folder+"/"+d.file.Name, r)
}
