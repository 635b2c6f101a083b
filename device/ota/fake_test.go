package ota

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing/iotest"
	"time"

	"mios"
	"mios/api"
	"mios/api/repo"
)

// fakeStore keeps files as the real one does: whole or not at all.
type fakeStore struct{ w *world }

func (s fakeStore) Read(name string) ([]byte, error) {
	if b, ok := s.w.files[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (s fakeStore) Write(name string, b []byte) error {
	s.w.event()
	s.w.files[name] = bytes.Clone(b)
	return nil
}

// fakeRepo is the repository and its mirror.
type fakeRepo struct{ w *world }

func (r fakeRepo) Refresh(context.Context) error {
	if r.w.dead {
		panic(errCut)
	}
	return nil
}

func (r fakeRepo) CheckFresh() error { return r.w.fresh }

func (r fakeRepo) OSOffer(d *api.Device, id, region string) (*repo.OSRelease, error) {
	if r.w.offer != nil {
		return nil, r.w.offer
	}
	if r.w.release.BuildTime <= d.BuildTime {
		return nil, fmt.Errorf("no newer release for %s: %w", id, mios.ErrNotFound)
	}
	return r.w.release, nil
}

func (r fakeRepo) Open(_ context.Context, path string, off, n int64) (io.ReadCloser, error) {
	if r.w.fetchErr != nil {
		return nil, r.w.fetchErr
	}
	b := r.w.ways[path]
	if path == r.w.release.Target.File() {
		b = r.w.payload
	}
	if off+n > int64(len(b)) {
		return nil, fmt.Errorf("%s from %d: %w", path, off, mios.ErrNotFound)
	}
	r.w.mu.Lock()
	r.w.opened = append(r.w.opened, off)
	r.w.mu.Unlock()
	body := io.Reader(bytes.NewReader(b[off : off+n]))
	if r.w.breakAt > 0 {
		body = io.MultiReader(io.LimitReader(body, r.w.breakAt), iotest.ErrReader(fmt.Errorf("the connection broke: %w", io.ErrUnexpectedEOF)))
	}
	if path == r.w.broken {
		body = io.MultiReader(io.LimitReader(body, n/2), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	return io.NopCloser(&counted{body, &r.w.fetched}), nil
}

type counted struct {
	r io.Reader
	n *int64
}

func (c *counted) Read(b []byte) (int, error) {
	time.Sleep(time.Nanosecond) // of the bubble's clock: who follows the status sees every one
	n, err := c.r.Read(b)
	atomic.AddInt64(c.n, int64(n)) // the adaptive way has a few requests under way
	return n, err
}

// fakeProps are properties; a reboot ends the boot.
type fakeProps struct {
	w      *world
	mu     sync.Mutex
	reboot context.CancelFunc
}

func (p *fakeProps) Get(_ context.Context, name string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.props[name], nil
}

func (p *fakeProps) Set(_ context.Context, name, value string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == "sys.powerctl" && p.w.rebootErrs > 0 {
		p.w.rebootErrs--
		return errors.New("init does not answer")
	}
	p.w.props[name] = value
	if name == "sys.powerctl" {
		p.w.rebooted = true
		p.reboot()
	}
	return nil
}

func (p *fakeProps) Wait(ctx context.Context, name, value string) (string, error) {
	for {
		if v, _ := p.Get(ctx, name); v == value {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

type checkFunc func() error

func (f checkFunc) Run(context.Context, []api.HealthCheck) error { return f() }
