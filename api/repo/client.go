package repo

import (
	"context"
	"errors"
	"sync"
	"time"

	"mios"
)

// A Fetcher brings files of a repository, from any of its mirrors: nothing
// that it returns is trusted.
type Fetcher interface {
	// Get returns the file at a path below the repository's address. The error
	// wraps [mios.ErrNotFound] where no mirror has it, and [ErrLength] as soon
	// as it has more than max bytes.
	Get(ctx context.Context, path string, max int64) ([]byte, error)
}

// A Config is what a [Client] needs. All fields but Now and MaxAge must be set.
type Config struct {
	Dir       string // where it keeps what it trusts; made if missing
	Root      []byte // the root metadata that is trusted first
	Fetcher   Fetcher
	Product   string    // whose OS releases it wants; "" for a client of apps alone
	BuildTime time.Time // the clock's floor
	// MaxAge is for how long after metadata was signed it may install; 0 means
	// until it expires.
	MaxAge time.Duration
	Now    func() time.Time // nil means time.Now
}

// A Client knows a repository's newest trusted state, on disk, and brings it
// up to date. Its methods may be called concurrently.
type Client struct {
	cfg Config
	mu  sync.Mutex
}

// Open returns the client with what it trusted when it last ran. What it finds
// in its folder it verifies again.
func Open(cfg Config) (*Client, error) { return nil, errors.ErrUnsupported }

// Refresh brings the trusted state up to date: root, timestamp, snapshot,
// targets, and the product's releases and rollout. A device that slept walks
// every root from the one it knows. After an error what was trusted before
// still is.
func (c *Client) Refresh(ctx context.Context) error { return errors.ErrUnsupported }

// Now is the time as far as the client knows it: the system's clock, but never
// below the build time nor the newest signed time it has seen.
func (c *Client) Now() time.Time { return time.Time{} }

// CheckFresh says why nothing may be installed on what is trusted now, or nil.
// The error wraps [ErrStale] or [ErrExpired].
func (c *Client) CheckFresh() error { return errors.ErrUnsupported }

// OSReleases returns the product's releases for an architecture and a channel,
// newest first, with what the rollout says of them. It reads what the last
// [Client.Refresh] brought, and calls CheckFresh.
func (c *Client) OSReleases(arch mios.Arch, channel string) ([]OSRelease, error) {
	return nil, errors.ErrUnsupported
}

// OSOffer returns the newest release that is for this device: built after
// newerThan (seconds since 1970), neither halted nor withdrawn, and with a
// share that includes the device named id. The error wraps [mios.ErrNotFound]
// where there is none.
func (c *Client) OSOffer(arch mios.Arch, channel, id string, newerThan int64) (*OSRelease, error) {
	return nil, errors.ErrUnsupported
}

// AppRelease returns the newest release of a package whose signer owns the
// package. It fetches what it needs beyond the last [Client.Refresh].
func (c *Client) AppRelease(ctx context.Context, pkg string) (*AppRelease, error) {
	return nil, errors.ErrUnsupported
}

// AppReleases returns all apps in the repository that their signers own, the
// newest release of each, by package.
func (c *Client) AppReleases(ctx context.Context) ([]AppRelease, error) {
	return nil, errors.ErrUnsupported
}
