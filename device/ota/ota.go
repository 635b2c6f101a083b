// Package ota is the update engine: it finds a newer release in the
// repository, streams its payload into the slot that is not running, verifies
// that slot as the loader will, makes it active, and after the reboot decides
// by health checks whether it stays. A power cut at any moment leaves a device
// that boots, and an update that goes on where it was.
//
// The names of states are those of AOSP's update_engine. What the engine needs
// of the operating system stands behind the interfaces in this file.
package ota

import (
	"context"
	"crypto/rsa"
	"io"
	"log/slog"
	"time"

	"mios/api"
	"mios/api/repo"
)

// DefaultTries is how often a new slot may be booted before it has proved
// itself.
const DefaultTries = 4

// saveEvery is how many bytes of the payload are at most fetched again after a
// power cut: the state is saved whenever so many have been applied.
const saveEvery = 8 << 20

// A Partition is a block device or a logical partition, open for reading and
// writing.
type Partition interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() int64 // bytes
	// Sync returns once all that was written is on the medium.
	Sync() error
	// Forget makes reads come from the medium, as far as the system can.
	Forget() error
}

// A Disk opens the device's partitions by their full names: "misc", "boot_b",
// "system_b". The error wraps [mios.ErrNotFound] where there is none.
type Disk interface {
	Open(name string) (Partition, error)
}

// A Repository knows which releases there are. *repo.Client is one.
type Repository interface {
	Refresh(ctx context.Context) error
	CheckFresh() error
	OSOffer(d *api.Device, id, region string) (*repo.OSRelease, error)
}

// A Fetcher brings parts of the repository's files. *fetch.Client is one.
type Fetcher interface {
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
}

// Properties are the system's. property.Client is one.
type Properties interface {
	Get(ctx context.Context, name string) (string, error)
	Set(ctx context.Context, name, value string) error
	// Wait returns once the property has the value.
	Wait(ctx context.Context, name, value string) (string, error)
}

// A Store keeps a few small files. Write replaces one wholly and durably, or not
// at all. The error of Read wraps fs.ErrNotExist where there is none.
type Store interface {
	Read(name string) ([]byte, error)
	Write(name string, b []byte) error
}

// A Config is all that an [Engine] needs. What is not called optional must be
// set.
type Config struct {
	Device *api.Device // what runs
	ID     string      // this device's name in a rollout's shares
	Region string      // ISO 3166 code of where it is; "" if nobody has told it
	Slot   string      // suffix of the slot that runs
	BootID string      // differs from boot to boot

	Disk       Disk
	Store      Store
	Repository Repository
	Fetcher    Fetcher
	Properties Properties
	Health     Checker

	PayloadKeys []*rsa.PublicKey
	// AVBKey is the key that signs the product's vbmeta, as AVB encodes it.
	AVBKey []byte
	// RollbackIndex returns the stored rollback index of a location.
	RollbackIndex func(location uint32) (uint64, error)

	// Complete is optional: it sets what only an update needs, once this boot has
	// been judged, for which nothing of that is waited: ID, Region, Repository,
	// Fetcher, PayloadKeys, AVBKey and RollbackIndex. It is called once.
	Complete func(ctx context.Context, c *Config)

	Tries  uint8                             // optional: instead of DefaultTries
	Log    *slog.Logger                      // optional
	Now    func() time.Time                  // optional: instead of time.Now
	Jitter func(time.Duration) time.Duration // optional: spreads the periodic looks; by default ± 10 %
}

// A Checker runs health checks. *Health is one.
type Checker interface {
	// Run returns nil once all the checks hold, or why one of them does not.
	Run(ctx context.Context, checks []api.HealthCheck) error
}
