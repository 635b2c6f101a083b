package ota

import (
	"context"
	"io"
	"sync"

	"mios/api"
	"mios/api/repo"
)

// PerPath makes a new fetcher for each new path, so that every update has a
// byte budget of its own, and attempts at the same one share theirs.
type PerPath struct {
	New func() Fetcher

	mu   sync.Mutex
	path string
	cur  Fetcher
}

// Open implements [Fetcher].
func (p *PerPath) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	p.mu.Lock()
	if p.cur == nil || p.path != path {
		p.path, p.cur = path, p.New()
	}
	f := p.cur
	p.mu.Unlock()
	return f.Open(ctx, path, offset, length)
}

// Unavailable is the repository of a device that cannot be updated: every look
// for a release says why.
type Unavailable struct{ Err error }

var _ Repository = Unavailable{}

// Refresh implements [Repository].
func (u Unavailable) Refresh(context.Context) error { return u.Err }

// CheckFresh implements [Repository].
func (u Unavailable) CheckFresh() error { return u.Err }

// OSOffer implements [Repository].
func (u Unavailable) OSOffer(*api.Device, string, string) (*repo.OSRelease, error) {
	return nil, u.Err
}
