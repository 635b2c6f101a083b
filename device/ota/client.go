package ota

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"mios"
)

// A Client talks to the engine. The zero value talks to the one at [Socket].
type Client struct {
	Path string // of the socket; "" means Socket
}

// Do calls a verb, calls f with each status that the engine tells on the way,
// and returns the last one. The error is the engine's: it wraps
// [mios.ErrNotFound] if there is no release to install.
func (c Client) Do(ctx context.Context, call Call, f func(Status)) (Status, error) {
	path := c.Path
	if path == "" {
		path = Socket
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return Status{}, fmt.Errorf("update_engine: %w: is the service running? See getprop init.svc.update_engine", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b, err := json.Marshal(call)
	if err != nil {
		return Status{}, err
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return Status{}, fmt.Errorf("update_engine: %w", err)
	}
	return answers(conn, f)
}

// answers reads answers up to the last one.
func answers(r io.Reader, f func(Status)) (Status, error) {
	var last Status
	dec := json.NewDecoder(r)
	for {
		var a Answer
		if err := dec.Decode(&a); err != nil {
			return last, fmt.Errorf("update_engine: %w: the service ended, or the device reboots", err)
		}
		if a.Status != nil {
			last = *a.Status
		}
		switch {
		case a.Nothing:
			return last, &engineError{a.Error, mios.ErrNotFound}
		case a.Error != "":
			return last, &engineError{a.Error, nil}
		case a.Done:
			return last, nil
		}
		if f != nil {
			f(last)
		}
	}
}

// An engineError is one that the engine told.
type engineError struct {
	msg  string
	kind error // of the root package, or nil
}

func (e *engineError) Error() string { return e.msg }
func (e *engineError) Unwrap() error { return e.kind }
