package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mios"
	"mios/api/repo"
)

// A body is one answer's bytes, watched for stalls.
type body struct {
	client *Client
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	rc     io.ReadCloser
	size   int64 // of what comes, or -1
	// encoding is how it is packed: "" for not at all.
	encoding string
	// patience is how long Read may still wait: bytes buy more of it, so that a
	// server that sends a byte now and then does not hold a device for ever.
	patience time.Duration
}

// minRate is how many bytes a second a connection must bring in the long run.
const minRate = 512

// accept checks that an answer is the span that was asked for.
func (b *body) accept(res *http.Response, s span) error {
	b.size = res.ContentLength
	switch {
	case res.StatusCode == http.StatusOK && s.from == 0:
		if s.to >= 0 && b.size >= 0 && b.size < s.to {
			return fmt.Errorf("the file has %d bytes, want %d: %w", b.size, s.to, repo.ErrLength)
		}
	case res.StatusCode == http.StatusOK:
		return fmt.Errorf("the server ignores ranges: %w: it must answer them to go on at byte %d", mios.ErrDenied, s.from)
	case res.StatusCode == http.StatusPartialContent:
		return checkRange(res.Header.Get("Content-Range"), s)
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("the file ends before byte %d: %w", s.from, repo.ErrLength)
	default:
		return statusOf(res)
	}
	return nil
}

func statusOf(res *http.Response) error {
	e := &statusError{status: res.Status}
	if e.status == "" {
		e.status = strconv.Itoa(res.StatusCode)
	}
	switch code := res.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		e.kind = mios.ErrNotFound
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
			e.after = min(time.Duration(n), maxAsked/time.Second) * time.Second
		}
	default:
		e.kind = mios.ErrDenied
	}
	return e
}

// checkRange compares a Content-Range (RFC 9110, section 14.4) with the span
// that was asked for.
func checkRange(text string, s span) error {
	rest, ok := strings.CutPrefix(text, "bytes ")
	pos, total, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(pos, "-")
	a, err1 := strconv.ParseInt(from, 10, 64)
	z, err2 := strconv.ParseInt(to, 10, 64)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil {
		return fmt.Errorf("Content-Range %q makes no sense: %w", text, mios.ErrDenied)
	}
	if a != s.from || (s.to >= 0 && z > s.to-1) {
		return fmt.Errorf("Content-Range %q is not what was asked for, bytes %d to %d: %w", text, s.from, s.to-1, mios.ErrDenied)
	}
	if n, err := strconv.ParseInt(total, 10, 64); err == nil && s.to >= 0 && n < s.to {
		return fmt.Errorf("the file has %d bytes, want %d: %w", n, s.to, repo.ErrLength)
	}
	return nil
}

// Read implements [io.Reader]. Too long a wait is an error.
func (b *body) Read(p []byte) (int, error) {
	began := time.Now()
	b.watch.Reset(max(b.patience, time.Millisecond))
	n, err := b.rc.Read(p)
	b.watch.Stop()
	b.client.Meter.Add(int64(n))
	b.patience = min(b.patience-time.Since(began)+time.Duration(n)*time.Second/minRate, b.client.stall())
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// Close ends the request.
func (b *body) Close() error {
	b.watch.Stop()
	b.cancel(nil)
	return b.rc.Close()
}

// Open returns length bytes of the file at path from offset on, for the caller
// to close. It reconnects by itself, to the same or another mirror, and goes
// on at the byte where the connection broke; the error of Read is final. It
// connects at once, so that what is missing is said here.
func (c *Client) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || offset+length < offset {
		return nil, fmt.Errorf("fetch %s: %d bytes from byte %d: %w", path, length, offset, mios.ErrInvalid)
	}
	r := &reader{client: c, ctx: ctx, path: path, span: span{offset, offset + length}}
	if length == 0 {
		return r, nil
	}
	if err := r.connect(); err != nil {
		return nil, err
	}
	return r, nil
}

// A reader is a download that survives its connections.
type reader struct {
	client *Client
	ctx    context.Context
	path   string
	span   // what is left
	body   *body
	breaks int   // since the last byte
	err    error // final
}

func (r *reader) connect() error {
	return r.client.rounds(r.ctx, r.path, func(mirror string) (err error) {
		r.body, err = r.client.connect(r.ctx, mirror, r.path, r.span)
		return err
	})
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	for {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.from == r.to:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case r.body == nil:
			if r.err = r.connect(); r.err != nil {
				return 0, r.err
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.to-r.from)])
		r.from += int64(n)
		if n > 0 {
			r.breaks = 0
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && r.from < r.to {
			r.broken(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// broken decides what a connection's end means: another one, from another
// mirror, or the end.
func (r *reader) broken(err error) {
	r.body.Close()
	r.body = nil
	r.breaks++
	switch {
	case r.ctx.Err() != nil:
		r.err = fmt.Errorf("fetch %s: %w", r.path, context.Cause(r.ctx))
	case r.breaks >= r.client.tries():
		r.err = fmt.Errorf("fetch %s: the connection broke %d times at byte %d: %w: check the network and the server", r.path, r.breaks, r.from, err)
	default:
		r.client.warn("connection broke", "path", r.path, "at", r.from, "err", err)
		r.client.turn() // to another mirror, if there is one
		if r.breaks > 1 {
			if err := r.client.wait(r.ctx, r.breaks-1, err); err != nil {
				r.err = fmt.Errorf("fetch %s: %w", r.path, err)
			}
		}
	}
}

// Close ends the download.
func (r *reader) Close() error {
	if r.err == nil {
		r.err = fmt.Errorf("fetch %s: closed", r.path)
	}
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}

var _ repo.Fetcher = (*Client)(nil)
