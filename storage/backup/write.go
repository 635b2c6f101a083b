package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"mios"
	"mios/internal/count"
	"mios/internal/ctxio"
	"mios/internal/progress"
	"mios/storage/tree"
)

// Write writes a backup to w. All files are looked at until they are the same
// before and after the records were read: then that is what the store was at
// one moment.
func Write(ctx context.Context, w io.Writer, from Set, task *progress.Task) (*Summary, error) {
	out := &count.Writer{W: w}
	b := &writer{
		ctx: ctx, from: from, task: task, out: out, tar: tar.NewWriter(out),
		have: map[mios.Digest]bool{}, blobs: map[mios.Digest]int64{}, tree: map[string]seen{}, state: map[string]seen{},
	}
	if err := b.write(); err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	return b.manifest.summary(out.N), nil
}

// A writer collects what has been copied, and from what.
type writer struct {
	ctx         context.Context
	from        Set
	task        *progress.Task
	out         *count.Writer
	tar         *tar.Writer
	have        map[mios.Digest]bool // data that is written
	blobs       map[mios.Digest]int64
	tree, state map[string]seen
	records     *os.File // the newest dump
	manifest    manifest
}

// seen is a file as it was copied.
type seen struct {
	tag string
	content
}

func (b *writer) write() error {
	f, err := os.CreateTemp("", "mios-records-")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil { // it lives as long as it is open
		return err
	}
	b.records = f
	for round := 1; ; round++ {
		changed, err := b.look()
		if err != nil {
			return err
		}
		if round > 1 && !changed {
			break
		}
		if round == busy {
			return errBusy
		}
		if err := b.dump(); err != nil {
			return err
		}
	}
	return b.finish()
}

// look copies what is new or has changed, and tells whether anything has.
func (b *writer) look() (changed bool, err error) {
	changed, err = b.lookBlobs()
	for _, s := range []struct {
		t    tree.Tree
		seen map[string]seen
		has  func(string) bool
	}{{b.from.Tree, b.tree, func(string) bool { return true }}, {b.from.State, b.state, b.from.has}} {
		if err != nil {
			return false, err
		}
		if s.t == nil {
			continue
		}
		var c bool
		c, err = b.lookTree(s.t, s.seen, s.has)
		changed = changed || c
	}
	return changed, err
}

func (b *writer) lookBlobs() (changed bool, err error) {
	if b.from.Blobs == nil {
		return false, nil
	}
	now := map[mios.Digest]int64{}
	for info, err := range b.from.Blobs.List(b.ctx) {
		if err != nil {
			return false, err
		}
		if !b.have[info.Digest] {
			changed = true
			err := b.blob(info.Digest)
			if gone(err) {
				continue
			}
			if err != nil {
				return false, err
			}
		}
		now[info.Digest] = info.Size
	}
	changed = changed || !maps.Equal(now, b.blobs)
	b.blobs = now
	return changed, nil
}

func (b *writer) blob(d mios.Digest) error {
	f, err := b.from.Blobs.Open(b.ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	return b.add(f, content{d, f.Size()})
}

func (b *writer) lookTree(t tree.Tree, files map[string]seen, has func(string) bool) (changed bool, err error) {
	list, err := tree.Infos(b.ctx, t, ".")
	if err != nil {
		return false, err
	}
	there := map[string]bool{}
	for _, info := range list {
		if !has(info.Name) {
			continue
		}
		if old, ok := files[info.Name]; !ok || old.tag != info.Tag {
			changed = true
			c, err := b.file(t, info.Name)
			if gone(err) {
				continue
			}
			if err != nil {
				return false, err
			}
			files[info.Name] = seen{info.Tag, c}
		}
		there[info.Name] = true
	}
	before := len(files)
	maps.DeleteFunc(files, func(name string, _ seen) bool { return !there[name] })
	return changed || len(files) != before, nil
}

func (b *writer) file(t tree.Tree, name string) (content, error) {
	f, err := t.Open(b.ctx, name)
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	c, err := digest(b.ctx, f)
	if err != nil || b.have[c.SHA256] {
		return c, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return c, err
	}
	return c, b.add(f, c)
}

// add writes data, which must be what c says.
func (b *writer) add(r io.Reader, c content) error {
	if b.have[c.SHA256] {
		return nil
	}
	name := dataPrefix + c.SHA256.String()
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: c.Size, Format: tar.FormatPAX}); err != nil {
		return err
	}
	h := newHash(b.ctx, r)
	n, err := io.Copy(b.tar, h)
	if err == nil && (n != c.Size || h.sum() != c.SHA256) {
		err = fmt.Errorf("%s: it is damaged: its %d bytes have the digest %s", c.SHA256, n, h.sum())
	}
	b.have[c.SHA256] = true
	b.task.Bytes(b.out.N, 0)
	return err
}

// dump reads the records.
func (b *writer) dump() error {
	if b.from.Records == nil {
		return nil
	}
	if _, err := b.records.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := b.records.Truncate(0); err != nil {
		return err
	}
	rows, err := b.from.Records.Dump(b.ctx, b.records)
	b.manifest.Rows = rows
	return err
}

// finish writes the records and the manifest.
func (b *writer) finish() error {
	m := &b.manifest
	m.Format, m.Time = format, time.Now().UTC().Truncate(time.Second)
	if b.from.Records != nil {
		if _, err := b.records.Seek(0, io.SeekStart); err != nil {
			return err
		}
		c, err := digest(b.ctx, b.records)
		if err != nil {
			return err
		}
		if _, err := b.records.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := b.add(b.records, c); err != nil {
			return err
		}
		m.Records = &c
	}
	m.Blobs, m.Tree, m.State = []content{}, items(b.tree), items(b.state)
	for d, size := range b.blobs {
		m.Blobs = append(m.Blobs, content{d, size})
	}
	slices.SortFunc(m.Blobs, func(a, b content) int { return slices.Compare(a.SHA256[:], b.SHA256[:]) })
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := b.tar.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(text)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = b.tar.Write(text)
	return errors.Join(err, b.tar.Close())
}

func items(files map[string]seen) []fileItem {
	list := []fileItem{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, fileItem{name, files[name].content})
	}
	return list
}

// hashed digests what is read through it.
type hashed struct {
	r io.Reader
	h hash.Hash
}

func newHash(ctx context.Context, r io.Reader) *hashed {
	return &hashed{ctxio.Reader(ctx, r), sha256.New()}
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	return n, err
}

func (h *hashed) sum() mios.Digest { return mios.Digest(h.h.Sum(nil)) }
