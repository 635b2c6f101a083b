package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"mios/api/repo"
	publish "mios/publish/repo"
	"mios/publish/repotest"
	"mios/storage/tree/dir"
)

// broken fails at the n-th write, before or after it happened.
type broken struct {
	*dir.Tree
	n     int
	after bool
}

var errPower = errors.New("the power went")

func (b *broken) write(f func() error) error {
	b.n--
	switch {
	case b.n < 0, b.n == 0 && !b.after:
		return errPower
	}
	if err := f(); err != nil {
		return err
	}
	if b.n == 0 {
		return errPower
	}
	return nil
}

func (b *broken) Create(ctx context.Context, name string, r io.Reader) error {
	return b.write(func() error { return b.Tree.Create(ctx, name, r) })
}

func (b *broken) Point(ctx context.Context, name string, old, new []byte) error {
	return b.write(func() error { return b.Tree.Point(ctx, name, old, new) })
}

// TestKill stops publishing at every write: devices see the old release or the
// new one, and publishing again gets there.
func TestKill(t *testing.T) {
	d := newDesk(t)
	d.publishOS(1)
	kills := 0
	for version := 2; ; version++ {
		n, after := (version-2)/2+1, version%2 == 1
		b := &broken{Tree: dir.New(filepath.Join(d.dir, publish.PublicDir)), n: n, after: after}
		d.now = d.now.Add(time.Second)
		r, err := publish.Open(d.dir, publish.WithKeys(d.keys), publish.WithClock(d.clock), publish.WithTree(b))
		if err != nil {
			t.Fatal(err)
		}
		rel, payload := release(version)
		_, err = r.PublishOS(t.Context(), rel, bytes.NewReader(payload), repo.Everyone)
		if err == nil {
			if !after && kills < 8 {
				t.Errorf("publishing made %d writes only", n-1)
			}
			break
		}
		if !errors.Is(err, errPower) {
			t.Fatalf("kill at write %d: %v", n, err)
		}
		kills++
		if v := d.newest(d.repo.Tree()); v != fmt.Sprint(version-1) && v != fmt.Sprint(version) {
			t.Errorf("killed at write %d (after: %v): version %q is offered, want %d or %d", n, after, v, version-1, version)
		}
		d.publishOS(version)
		if v := d.newest(d.repo.Tree()); v != fmt.Sprint(version) {
			t.Errorf("published again after a kill at write %d: version %q is offered, want %d", n, v, version)
		}
	}
	t.Logf("killed at %d points", kills)
}

// TestKillInit stops the making of a repository at every write, and makes it
// again.
func TestKillInit(t *testing.T) {
	keys := repotest.Keys(t)
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "repo")
		b := &broken{Tree: dir.New(filepath.Join(path, publish.PublicDir)), n: n, after: true}
		_, err := publish.Init(t.Context(), path, keys, publish.InitOptions{AppBits: 1}, publish.WithTree(b))
		if err == nil {
			break
		}
		r, err := publish.Init(t.Context(), path, keys, publish.InitOptions{AppBits: 1})
		if err != nil {
			t.Fatalf("Init after a kill at write %d: %v", n, err)
		}
		d := &desk{tb: t, dir: path, keys: keys, now: time.Now(), repo: r}
		if v := d.newest(r.Tree()); v != "" {
			t.Errorf("killed at write %d: version %q", n, v)
		}
	}
}
