package ota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"mios/api"
)

const (
	// retryCheck is how long a check that does not hold waits to be tried again.
	retryCheck = 500 * time.Millisecond
	// settle is how long a service must go on running: one that dies as it
	// starts runs for a moment, too.
	settle = 2 * time.Second
)

// Health runs health checks on the device.
type Health struct {
	Properties Properties
	HTTP       http.RoundTripper // nil means http.DefaultTransport
}

// errOutside means that only checks failed that depend on what is around the
// device.
var errOutside = errors.New("not the device alone decides this")

// An outsideError is an errOutside that reads as why a check failed.
type outsideError struct{ err error }

func (e *outsideError) Error() string   { return e.err.Error() }
func (e *outsideError) Unwrap() []error { return []error{e.err, errOutside} }

// Run runs all checks at once. It returns nil once each of them has held, or
// why the first of the list that did not hold in its time does not. One that
// depends on the device alone comes before the others.
func (h *Health) Run(ctx context.Context, checks []api.HealthCheck) error {
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			if err := h.check(ctx, c); err != nil {
				errs[i] = fmt.Errorf("health check %q: %w", c.Name, err)
			}
		})
	}
	wg.Wait()
	var outside error
	for i, err := range errs {
		switch {
		case err != nil && !checks[i].Outside:
			return err
		case err != nil && outside == nil:
			outside = &outsideError{err}
		}
	}
	return outside
}

// check returns nil as soon as the check holds.
func (h *Health) check(ctx context.Context, c api.HealthCheck) error {
	limit := time.Duration(c.Timeout) * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch {
	case c.Service != "":
		return retry(ctx, limit, func() error { return h.service(ctx, c.Service) })
	case c.Property != "":
		name, value, ok := strings.Cut(c.Property, "=")
		if !ok {
			return fmt.Errorf("property %q: want NAME=VALUE", c.Property)
		}
		return retry(ctx, limit, func() error { return h.property(ctx, name, value) })
	case c.HTTP != "":
		return retry(ctx, limit, func() error { return h.get(ctx, c.HTTP) })
	}
	return retry(ctx, limit, func() error { return run(ctx, c.Exec) })
}

// property waits for a property's value.
func (h *Health) property(ctx context.Context, name, value string) error {
	_, err := h.Properties.Wait(ctx, name, value)
	if err == nil || ctx.Err() == nil {
		return err
	}
	// The time is over: say what the property is instead.
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	is, err := h.Properties.Get(ask, name)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is %q, want %q", name, is, value)
}

// service waits for a service to run, and sees whether it goes on.
func (h *Health) service(ctx context.Context, name string) error {
	const running = "running"
	if err := h.property(ctx, "init.svc."+name, running); err != nil {
		return err
	}
	process := "init.svc_debug_pid." + name
	was, err := h.Properties.Get(ctx, process)
	if err != nil {
		return err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return fmt.Errorf("service %s started only just now: %w", name, ctx.Err())
	}
	state, err := h.Properties.Get(ctx, "init.svc."+name)
	if err != nil {
		return err
	}
	is, err := h.Properties.Get(ctx, process)
	if err == nil && (state != running || is != was) {
		err = fmt.Errorf("service %s ended after it had started: see its lines in logcat", name)
	}
	return err
}

// retry calls f until it succeeds or ctx ends, and returns f's last error.
func retry(ctx context.Context, limit time.Duration, f func() error) error {
	var last error
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil || !errors.Is(err, ctx.Err()) {
			last = err // what a try came to that its own time ended says nothing
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (after %v)", last, limit)
		case <-time.After(retryCheck):
		}
	}
}

func (h *Health) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	c := http.Client{Transport: h.HTTP}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func run(ctx context.Context, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLine(out))
	}
	return nil
}

// lastLine returns the last line of out, at most 120 bytes of it.
func lastLine(out []byte) string {
	s := strings.TrimSpace(string(out))
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return strings.ToValidUTF8(s[:min(len(s), 120)], "?")
}
