// Package fetch downloads files of a repository over HTTP, with ranges and
// from mirrors in turn, and goes on where a connection broke. It trusts
// nothing that it brings: who asked verifies.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mios"
	"mios/api/repo"
)

// A Client fetches files below any of its mirrors. Its methods may be called
// concurrently. Mirrors must be set, and no field changed after the first
// call.
type Client struct {
	Mirrors []string // addresses, tried in turn; the one that worked last comes first
	// Hosts are the hosts, with or without a port, that it may be redirected to
	// beside the mirrors' own.
	Hosts []string
	Tries int           // rounds over all mirrors without a byte of progress; 0 means 5
	Stall time.Duration // the longest wait for a byte; 0 means 30 s
	// HTTP carries the requests; nil means http.DefaultTransport.
	HTTP  http.RoundTripper
	Log   *slog.Logger // nil means none
	Meter *Meter       // counts what it fetches; nil: nobody does
	// Memory is a file that keeps the mirror that worked last for the next start; ""
	// means none. Clients may share it.
	Memory string

	first  atomic.Int32 // index of the mirror that worked last
	recall sync.Once
	kept   atomic.Pointer[string] // what Memory has
}

// The waits between rounds over the mirrors double from minWait to maxWait, and
// are cut by up to a half at random, so that a fleet does not come back at once.
// A server may ask for more, up to maxAsked.
const (
	minWait  = time.Second
	maxWait  = time.Minute
	maxAsked = 10 * time.Minute
)

func (c *Client) tries() int {
	if c.Tries > 0 {
		return c.Tries
	}
	return 5
}

func (c *Client) stall() time.Duration {
	if c.Stall > 0 {
		return c.Stall
	}
	return 30 * time.Second
}

func (c *Client) warn(msg string, args ...any) {
	if c.Log != nil {
		c.Log.Warn(msg, args...)
	}
}

// Get returns the whole file at path, which has at most max bytes. The error
// wraps [mios.ErrNotFound] where a mirror says that there is no such file and
// none has it, and [repo.ErrLength] where it is longer.
func (c *Client) Get(ctx context.Context, path string, max int64) ([]byte, error) {
	var b []byte
	err := c.rounds(ctx, path, func(mirror string) error {
		r, err := c.connect(ctx, mirror, path, span{0, -1})
		if err != nil {
			return err
		}
		defer r.Close()
		b, err = r.whole(max)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// rounds calls f with each mirror in turn until it succeeds, and waits longer
// after every round in which all of them failed. What no further round can
// change ends it.
func (c *Client) rounds(ctx context.Context, path string, f func(mirror string) error) error {
	if len(c.Mirrors) == 0 {
		return fmt.Errorf("fetch %s: no mirror: %w: name the repository in the product definition", path, mios.ErrInvalid)
	}
	c.recall.Do(c.remembered)
	var worst error
	for round := range c.tries() {
		if round > 0 {
			if err := c.wait(ctx, round, worst); err != nil {
				return fmt.Errorf("fetch %s: %w", path, err)
			}
		}
		worst = nil
		first := int(c.first.Load())
		for i := range c.Mirrors {
			n := (first + i) % len(c.Mirrors)
			err := f(c.Mirrors[n])
			if err == nil {
				c.first.Store(int32(n))
				c.remember(c.Mirrors[n])
				return nil
			}
			if ctx.Err() != nil {
				return fmt.Errorf("fetch %s: %w", path, context.Cause(ctx))
			}
			if !errors.Is(err, mios.ErrNotFound) { // as the next root's metadata, most of the time
				c.warn("mirror failed", "mirror", c.Mirrors[n], "path", path, "err", err)
			}
			worst = worse(worst, fmt.Errorf("fetch %s from %s: %w", path, c.Mirrors[n], err))
		}
		if final(worst) {
			return worst
		}
	}
	return fmt.Errorf("%w (after %d rounds over %d mirrors: check the network and the repository's address)", worst, c.tries(), len(c.Mirrors))
}

// final tells whether trying again is no use. A mirror that lacks the file has
// said so; one that is down may be asked again.
func final(err error) bool {
	return errors.Is(err, mios.ErrNotFound) || errors.Is(err, repo.ErrLength) || errors.Is(err, mios.ErrDenied) || errors.Is(err, mios.ErrInvalid)
}

// worse picks what to say of a round: that a file is not there, which one
// mirror knew, before what went wrong with the others.
func worse(a, b error) error {
	for _, kind := range []error{mios.ErrNotFound, repo.ErrLength} {
		switch {
		case errors.Is(a, kind):
			return a
		case errors.Is(b, kind):
			return b
		}
	}
	switch {
	case a == nil, final(a):
		return b // one that may work again keeps the rounds going
	}
	return a
}

// Distrust makes the next mirror the first: the one that comes first now has
// brought bytes that are not those that were signed for.
func (c *Client) Distrust() {
	if len(c.Mirrors) > 0 {
		c.warn("mirror brings wrong bytes", "mirror", c.Mirrors[c.first.Load()])
		c.turn()
	}
}

// turn makes the next mirror the first.
func (c *Client) turn() {
	c.first.Store((c.first.Load() + 1) % int32(len(c.Mirrors)))
}

// wait waits before a round, as long as the server asked for if it did.
func (c *Client) wait(ctx context.Context, round int, why error) error {
	d := min(minWait<<min(round-1, 10), maxWait)
	d -= rand.N(d / 2)
	var status *statusError
	if errors.As(why, &status) {
		d = max(d, min(status.after, maxAsked))
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// A span is the bytes [from, to) of a file; to is -1 for its end.
type span struct{ from, to int64 }

// A statusError is an answer of the server's that is not the file.
type statusError struct {
	status string
	after  time.Duration // that the server asks to wait
	kind   error         // may be nil
}

func (e *statusError) Error() string { return "server says " + e.status }
func (e *statusError) Unwrap() error { return e.kind }

// connect asks one mirror for a span.
func (c *Client) connect(ctx context.Context, mirror, path string, s span) (*body, error) {
	u, err := address(mirror, path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(c.stall(), func() { cancel(fmt.Errorf("%w: less than %d bytes a second for %v", errStalled, minRate, c.stall())) })
	b, err := c.request(ctx, u, s)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		watch.Stop()
		cancel(nil)
		return nil, err
	}
	watch.Stop() // until somebody reads
	b.ctx, b.cancel, b.watch, b.client, b.patience = ctx, cancel, watch, c, c.stall()
	return b, nil
}

var errStalled = errors.New("stalled")

func (c *Client) request(ctx context.Context, u *url.URL, s span) (*body, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	// A part is of the bytes as they are: a server that packs them would make
	// ranges lie. A whole file may come packed.
	req.Header.Set("Accept-Encoding", "identity")
	if s == (span{0, -1}) {
		req.Header.Set("Accept-Encoding", "gzip")
	}
	if s.from > 0 || s.to >= 0 {
		end := ""
		if s.to >= 0 {
			end = strconv.FormatInt(s.to-1, 10)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", s.from, end))
	}
	hc := http.Client{Transport: c.HTTP, CheckRedirect: c.checkRedirect}
	res, err := hc.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the mirror and the path are said elsewhere
		}
		return nil, err
	}
	b := &body{rc: res.Body, encoding: res.Header.Get("Content-Encoding")}
	if err := b.accept(res, s); err != nil {
		res.Body.Close()
		return nil, err
	}
	return b, nil
}

// address is where a file lies below a mirror.
func address(mirror, path string) (*url.URL, error) {
	if !fs.ValidPath(path) || path == "." {
		return nil, fmt.Errorf("path %q: %w", path, mios.ErrInvalid)
	}
	u, err := url.Parse(mirror)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("mirror %q is no http or https address: %w", mirror, mios.ErrInvalid)
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + path
	u.RawPath = ""
	return u, nil
}

// maxRedirects is how many redirects one request may follow.
const maxRedirects = 5

// checkRedirect lets a request go on to named hosts only, and never from
// https to http.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	switch u, from := req.URL, via[len(via)-1].URL; {
	case len(via) > maxRedirects:
		return fmt.Errorf("over %d redirects: %w", maxRedirects, mios.ErrDenied)
	case from.Scheme == "https" && u.Scheme != "https":
		return fmt.Errorf("redirect from https to %s: %w", u, mios.ErrDenied)
	case u.Host == from.Host:
		return nil
	default:
		hosts := slices.Clone(c.Hosts)
		for _, m := range c.Mirrors {
			if mu, err := url.Parse(m); err == nil {
				hosts = append(hosts, mu.Host)
			}
		}
		if slices.Contains(hosts, u.Host) || slices.Contains(hosts, u.Hostname()) {
			return nil
		}
		return fmt.Errorf("redirect to host %s, which the product does not name: %w", u.Host, mios.ErrDenied)
	}
}
