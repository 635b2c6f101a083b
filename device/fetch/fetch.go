// Package fetch downloads files of a repository over HTTP, with ranges and
// from mirrors in turn, and goes on where a connection broke. It trusts
// nothing that it brings: who asked verifies.
package fetch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// ErrBudget: the byte budget is used up.
var ErrBudget = errors.New("download budget used up")

// A Client fetches files below any of its mirrors. Its methods may be called
// concurrently. Mirrors must be set, and no field changed after the first
// call.
type Client struct {
	Mirrors []string // addresses, tried in turn; the one that worked last comes first
	// Hosts are the hosts that it may be redirected to beside the mirrors' own.
	Hosts  []string
	Budget *Budget       // nil means no limit
	Tries  int           // rounds over all mirrors without a byte of progress; 0 means 5
	Stall  time.Duration // the longest wait for a byte; 0 means 30 s
	HTTP   http.RoundTripper
	Log    *slog.Logger // nil means none

	first atomic.Int32 // index of the mirror that worked last
}

// A Budget is how many bytes of bodies may still be fetched, by all clients
// that share it.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of n bytes.
func NewBudget(n int64) *Budget {
	b := new(Budget)
	b.left.Store(n)
	return b
}

// Left is what remains of the budget, in bytes.
func (b *Budget) Left() int64 { return b.left.Load() }

// Get returns the whole file at path, which has at most max bytes.
func (c *Client) Get(ctx context.Context, path string, max int64) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// Open returns length bytes of the file at path from offset on, for the caller
// to close. It reconnects by itself, to the same or another mirror, and goes
// on at the byte where the connection broke; the error of Read is final.
func (c *Client) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}
