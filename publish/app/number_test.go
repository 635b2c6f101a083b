package app_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"mios"
	"mios/publish/app"
	"mios/publish/app/check"
	"mios/publish/app/storetest"
	"mios/publish/app/worker"
)

// TestNumbers: a refused upload takes no number.
func TestNumbers(t *testing.T) { each(t, testNumbers) }

func testNumbers(d *desk) {
	if _, err := d.Submit(d.Context(), "ada", upload([]byte("no package"))); !errors.Is(err, mios.ErrInvalid) {
		d.Fatalf("Submit = %v", err)
	}
	if sub := d.submit(1); sub.ID != "1" {
		d.Errorf("the first submission is number %s, want 1", sub.ID)
	}
	if _, err := d.Submit(d.Context(), "ada", upload(d.version(1))); err != nil { // asked again
		d.Fatal(err)
	}
	if sub := d.submit(2); sub.ID != "2" {
		d.Errorf("the second submission is number %s, want 2", sub.ID)
	}
}

// A slowParser does something before it looks.
type slowParser struct {
	storetest.InProcess
	before func() error
}

func (p *slowParser) Inspect(ctx context.Context, files []worker.File) (*check.Facts, error) {
	if err := p.before(); err != nil {
		return nil, err
	}
	return p.InProcess.Inspect(ctx, files)
}

// TestNumberTakenAgain: while a slow process looks at submissions, another one
// refuses them and takes an upload that gets a number of theirs. The slow one
// neither removes that nor writes over it.
func TestNumberTakenAgain(t *testing.T) { each(t, testNumberTakenAgain) }

func testNumberTakenAgain(d *desk) {
	ctx := d.Context()
	other := func(p *slowParser) *app.Store {
		c := d.cfg
		c.Parser = p
		s, err := app.Open(ctx, c)
		if err != nil {
			d.Fatal(err)
		}
		return s
	}
	killed := errors.New("killed")
	dying := other(&slowParser{before: func() error { return killed }})
	for _, text := range []string{"one", "two"} {
		if _, err := dying.Submit(ctx, "eve", upload([]byte(text))); !errors.Is(err, killed) {
			d.Fatal(err)
		}
	}
	var once sync.Once
	slow := other(&slowParser{before: func() error {
		var err error
		once.Do(func() {
			if err = d.Recover(ctx, 0); err != nil {
				return
			}
			if _, err = dying.Submit(ctx, "ada", upload(d.version(1))); errors.Is(err, killed) {
				err = nil // it is number 1, and waits to be looked at
			}
		})
		return err
	}})
	if err := slow.Recover(ctx, 0); err != nil {
		d.Fatal(err)
	}
	if err := d.Recover(ctx, 0); err != nil {
		d.Fatal(err)
	}
	list, err := d.Submissions(ctx, app.Filter{})
	if err != nil || len(list) != 1 || list[0].ID != "1" || list[0].State != app.Review || list[0].By != "ada" || list[0].VersionCode != 1 {
		d.Errorf("submissions %+v, %v; want ada's alone, in review", list, err)
	}
	if _, err := d.Submission(ctx, "2"); !errors.Is(err, mios.ErrNotFound) || !strings.Contains(err.Error(), "mios store list") {
		d.Errorf("Submission(2) = %v", err)
	}
	if n := d.rows(); n["files"] != n["blobs"] || n["submissions"] != 1 {
		d.Errorf("something is left of what was refused: %v", n)
	}
}
