package ota

import (
	"context"

	"mios/api"
	"mios/api/repo"
)

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
