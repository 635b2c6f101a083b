package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

// A Client speaks to installd. The zero value speaks to the device's. Errors
// of a refusal are [*Error].
type Client struct {
	Socket string // "" means [Socket]
}

// Install installs the package in the next size bytes of r.
func (c *Client) Install(ctx context.Context, r io.Reader, size int64, o InstallOptions) (*Status, error) {
	return single(c.call(ctx, request{Op: opInstall, Size: size, Options: o}, r))
}

// Uninstall removes a package, with its data unless keep.
func (c *Client) Uninstall(ctx context.Context, pkg string, keep bool) error {
	_, err := c.call(ctx, request{Op: opUninstall, Package: pkg, Keep: keep}, nil)
	return err
}

// List returns the installed packages by name.
func (c *Client) List(ctx context.Context) ([]Status, error) {
	return c.call(ctx, request{Op: opList}, nil)
}

// Get returns one installed package.
func (c *Client) Get(ctx context.Context, pkg string) (*Status, error) {
	return single(c.call(ctx, request{Op: opGet, Package: pkg}, nil))
}

// Start runs the package's program, now and after every boot.
func (c *Client) Start(ctx context.Context, pkg string) (*Status, error) {
	return single(c.call(ctx, request{Op: opStart, Package: pkg}, nil))
}

// Stop ends it, until Start is called.
func (c *Client) Stop(ctx context.Context, pkg string) (*Status, error) {
	return single(c.call(ctx, request{Op: opStop, Package: pkg}, nil))
}

func single(list []Status, err error) (*Status, error) {
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("installd answered with %d packages, want one", len(list))
	}
	return &list[0], nil
}

// call sends a request of the manager's own, and body behind it.
func (c *Client) call(ctx context.Context, q request, body io.Reader) ([]Status, error) {
	resp, err := c.exchange(ctx, q, body, nil)
	if err != nil {
		return nil, err
	}
	return resp.Packages, nil
}

// Ask asks a [Handler], and reads what it answers into result. heard gets what it
// says meanwhile; nil: nobody does.
func (c *Client) Ask(ctx context.Context, op string, args, result any, heard func(progress json.RawMessage)) error {
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	resp, err := c.exchange(ctx, request{Op: op, Args: b}, nil, heard)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(resp.Result, result); err != nil {
		return fmt.Errorf("installd: %s: read the answer: %w", op, err)
	}
	return nil
}

// exchange sends a request, and body behind it, and returns the last line of the
// answer.
func (c *Client) exchange(ctx context.Context, q request, body io.Reader, heard func(json.RawMessage)) (*response, error) {
	path := c.Socket
	if path == "" {
		path = Socket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("installd: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	_, sendErr := conn.Write(append(b, '\n'))
	if sendErr == nil && body != nil {
		if _, err := io.CopyN(conn, body, q.Size); err != nil {
			sendErr = err
			conn.(*net.UnixConn).CloseWrite()
		}
	}
	in := bufio.NewReader(conn) // also after an error: it may say why
	for {
		resp := new(response)
		line, err := in.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, resp)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && sendErr != nil:
			return nil, fmt.Errorf("installd: %w", sendErr)
		case err != nil:
			return nil, fmt.Errorf("installd: read the answer: %w", err)
		case resp.Error != nil:
			return nil, resp.Error
		case resp.Progress == nil:
			return resp, nil
		case heard != nil:
			heard(resp.Progress)
		}
	}
}
