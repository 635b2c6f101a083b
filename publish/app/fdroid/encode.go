package fdroid

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"

	"mios"
	"mios/storage/tree"
)

// batchApps is how many apps are written at once by one processor. Each batch
// is packed by itself, whatever the number of processors, so that the bytes are
// the same everywhere.
const batchApps = 64

// A batch is some apps on their way into the indexes.
type batch struct {
	apps  []*App
	first bool // no comma stands before it
	done  chan struct{}

	v2       encoder
	items    []item
	v1       part // of "apps"
	packages part // of "packages"
	icons    []iconCopy
	err      error
}

// An iconCopy is a file that index-v1 wants under another name.
type iconCopy struct{ from, to string } // below [Folder]

// reset makes a batch that was written ready for other apps.
func (p *batch) reset() {
	clear(p.apps)
	clear(p.icons)
	p.apps, p.items, p.icons, p.err = p.apps[:0], p.items[:0], p.icons[:0], nil
	for _, e := range []*encoder{&p.v2, &p.v1.encoder, &p.packages.encoder} {
		e.b = e.b[:0]
	}
	p.v1.packed.Reset()
	p.packages.packed.Reset()
}

// A part is a piece of index-v1.json, as it is and packed.
type part struct {
	encoder
	packed bytes.Buffer
}

// pack deflates the part into whole bytes, so that parts can follow one
// another.
func (p *part) pack(w *flate.Writer) error {
	w.Reset(&p.packed)
	if _, err := w.Write(p.b); err != nil {
		return err
	}
	return w.Flush()
}

// A body is what all apps make of the indexes.
type body struct {
	list       list
	v2         *spool    // the members of "packages"
	v1         *spool    // of index-v1's "packages", as they are ...
	packed     *spool    // ... and packed
	apps       *spool    // of "apps", packed
	raw        *digester // of index-v1.json up to the end of "apps"
	v1Sum      *digester // of index-v1's apps and packages
	categories map[string]bool
	icons      []iconCopy // as many as items have icons, in their order
	close      func()
}

// encode writes all apps. The caller closes what it returns.
func encode(ctx context.Context, apps iter.Seq2[*App, error], head []byte) (_ *body, err error) {
	files, closeAll, err := spools(4)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	b := &body{v2: files[0], v1: files[1], packed: files[2], apps: files[3], close: closeAll,
		categories: map[string]bool{}, raw: newDigester(), v1Sum: newDigester()}
	b.raw.Write(head)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	procs := runtime.GOMAXPROCS(0)
	work, order := make(chan *batch, procs), make(chan *batch, 2*procs)
	pool := sync.Pool{New: func() any { return new(batch) }} // buffers are used again
	var workers sync.WaitGroup
	for range procs {
		workers.Go(func() { encodeBatches(work) })
	}
	var read error
	workers.Go(func() {
		defer close(work)
		defer close(order)
		read = readApps(ctx, apps, &pool, work, order)
	})
	var write error
	for p := range order {
		<-p.done
		if write == nil {
			if write = b.add(p); write != nil {
				cancel()
			}
		}
		p.reset()
		pool.Put(p)
	}
	workers.Wait()
	if write != nil {
		return nil, write
	}
	return b, read
}

// readApps hands the apps out in batches, in order.
func readApps(ctx context.Context, apps iter.Seq2[*App, error], pool *sync.Pool, work, order chan<- *batch) error {
	prev, first := "", true
	p := pool.Get().(*batch)
	send := func() error {
		if len(p.apps) == 0 {
			return nil
		}
		p.first, first = first, false
		p.done = make(chan struct{})
		for _, to := range []chan<- *batch{work, order} { // what is in order will be done
			select {
			case to <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		p = pool.Get().(*batch)
		return nil
	}
	for a, err := range apps {
		if err != nil {
			return err
		}
		if err := a.follows(prev); err != nil {
			return err
		}
		prev = a.Package
		p.apps = append(p.apps, a)
		if len(p.apps) == batchApps {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// follows refuses an app that cannot stand in an index behind the package prev.
func (a *App) follows(prev string) error {
	switch {
	case a.Package == "" || len(a.Package) > maxName:
		return fmt.Errorf("app %q: a package's name has 1 to %d bytes: %w", a.Package, maxName, mios.ErrInvalid)
	case !validPackage(a.Package):
		return fmt.Errorf("app %q: that is no package's name: %w", a.Package, mios.ErrInvalid)
	case a.Package <= prev:
		return fmt.Errorf("app %s: it comes behind %s: %w: sort apps by their packages", a.Package, prev, mios.ErrInvalid)
	}
	if a.raw != nil { // load checks the rest
		return nil
	}
	return a.check()
}

// check refuses versions that cannot stand in an index.
func (a *App) check() error {
	if len(a.Versions) == 0 {
		return fmt.Errorf("app %s: it has no version: %w", a.Package, mios.ErrInvalid)
	}
	for i := range a.Versions {
		v := &a.Versions[i]
		if err := tree.CheckName(v.File.Name); err != nil {
			return fmt.Errorf("app %s: version %d: %w", a.Package, v.Code, err)
		}
		for j := range i {
			if a.Versions[j].File.Digest == v.File.Digest {
				return fmt.Errorf("app %s: versions %d and %d are one APK: %w", a.Package, a.Versions[j].Code, v.Code, mios.ErrInvalid)
			}
		}
	}
	return nil
}

// validPackage reports whether a name is made of what Java's are: an index is
// taken apart at it.
func validPackage(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// fastest is the level of deflate that costs least.
const fastest = flate.BestSpeed

// deflated returns bytes as a part of a stream, or as its end.
func deflated(b []byte, end bool) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, fastest)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	finish := w.Flush
	if end {
		finish = w.Close
	}
	err = finish()
	return out.Bytes(), err
}

func encodeBatches(work <-chan *batch) {
	w, err := flate.NewWriter(nil, fastest)
	for p := range work {
		if p.err = err; err == nil {
			p.err = p.encode(w)
		}
		close(p.done)
	}
}

func (p *batch) encode(w *flate.Writer) error {
	for i := range p.apps {
		a, err := p.apps[i].load()
		if err != nil {
			return err
		}
		p.apps[i] = a
		if i > 0 || !p.first {
			for _, e := range []*encoder{&p.v2, &p.v1.encoder, &p.packages.encoder} {
				e.b = append(e.b, ',')
			}
		}
		p.v2.b = append(p.v2.b, '"')
		p.v2.b = append(p.v2.b, a.Package...)
		p.v2.b = append(p.v2.b, '"', ':')
		start := len(p.v2.b)
		p.v2.packageV2(a)
		value := p.v2.b[start:]
		it := item{name: a.Package, size: len(value)}
		sum := sha256.Sum256(value)
		copy(it.sum[:], sum[:])
		if f, ok := a.Icon[DefaultLocale]; ok && iconFolder+iconV1(a) != f.Name {
			copy(it.icon[:], f.Digest[:])
			p.icons = append(p.icons, iconCopy{f.Name, iconFolder + iconV1(a)})
		}
		p.items = append(p.items, it)
		p.v1.appV1(a)
		p.packages.versionsV1(a)
	}
	return errors.Join(p.v1.pack(w), p.packages.pack(w))
}

// add appends a batch that is done.
func (b *body) add(p *batch) error {
	if p.err != nil {
		return p.err
	}
	for _, a := range p.apps {
		for _, c := range a.Categories {
			b.categories[c] = true
		}
	}
	b.list.items = append(b.list.items, p.items...)
	b.icons = append(b.icons, p.icons...)
	b.raw.Write(p.v1.b)
	b.v1Sum.Write(p.v1.b)
	b.v1Sum.Write(p.packages.b)
	for _, w := range []struct {
		to *spool
		b  []byte
	}{{b.v2, p.v2.b}, {b.v1, p.packages.b}, {b.packed, p.packages.packed.Bytes()}, {b.apps, p.v1.packed.Bytes()}} {
		if _, err := w.to.Write(w.b); err != nil {
			return err
		}
	}
	return nil
}
