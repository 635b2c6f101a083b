package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"mios"
	"mios/api"
	apirepo "mios/api/repo"
	"mios/publish/repo"
	"mios/storage/tree"
)

// A treeFetcher brings a repository's files out of its tree.
type treeFetcher struct{ tree.Tree }

func (f treeFetcher) Get(ctx context.Context, path string, max int64) ([]byte, error) {
	b, err := tree.ReadAll(ctx, f.Tree, path, max)
	if errors.Is(err, mios.ErrInvalid) {
		err = fmt.Errorf("%w: %w", apirepo.ErrLength, err)
	}
	return b, err
}

// client returns a device's client of a repository, fresh from the factory.
func client(t *testing.T, r *repo.Repo) *apirepo.Client {
	t.Helper()
	root, err := tree.ReadAll(t.Context(), r.Tree(), "metadata/1.root.json", apirepo.MaxRoot)
	if err != nil {
		t.Fatal(err)
	}
	c, err := apirepo.Open(apirepo.Config{Dir: t.TempDir(), Root: root, Fetcher: treeFetcher{r.Tree()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// offer is what a device without the clock is offered of it, "RELEASE VERSION",
// or "". All files of the offer must be there.
func (d *desk) offer(dev apirepo.AppDevice) string {
	d.Helper()
	if dev.ID == "" {
		dev.ID = "device"
	}
	dev.SDK, dev.Class = api.SDK, "phone"
	r, err := client(d.T, d.Repo()).AppOffer(d.Context(), clock, &dev, apirepo.AppInstalled{})
	if errors.Is(err, mios.ErrNotFound) {
		return ""
	}
	if err != nil {
		d.Fatal(err)
	}
	wholeRelease(d.T, d.Repo(), r)
	return fmt.Sprint(r.Release, " ", r.VersionCode)
}

// wholeRelease checks that the files of a release are those that it names.
func wholeRelease(t *testing.T, r *repo.Repo, rel *apirepo.AppRelease) {
	t.Helper()
	targets := []apirepo.Target{rel.Target}
	for _, s := range rel.Splits {
		targets = append(targets, s.Target)
	}
	for _, d := range rel.Deltas {
		targets = append(targets, d.Target)
	}
	for _, target := range targets {
		f, err := r.Tree().Open(t.Context(), target.File())
		if err != nil {
			t.Errorf("%s %d: %v", rel.Package, rel.Release, err)
			continue
		}
		b, err := io.ReadAll(f)
		if err == nil {
			err = target.Check(b)
		}
		if err != nil {
			t.Errorf("%s %d: %s: %v", rel.Package, rel.Release, target.Path, err)
		}
		f.Close()
	}
}
