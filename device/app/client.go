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

// InstallRepo installs the newest version for this device from the repository.
func (c *Client) InstallRepo(ctx context.Context, pkg string, o InstallOptions) (*Status, error) {
	return single(c.call(ctx, request{Op: opInstallRepo, Package: pkg, Options: o}, nil))
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

// call sends a request, and body behind it.
func (c *Client) call(ctx context.Context, q request, body io.Reader) ([]Status, error) {
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
	line, err := bufio.NewReader(conn).ReadBytes('\n') // also after an error: it may say why
	var resp response
	if err == nil {
		err = json.Unmarshal(line, &resp)
	}
	switch {
	case err != nil && sendErr != nil:
		return nil, fmt.Errorf("installd: %w", sendErr)
	case err != nil:
		return nil, fmt.Errorf("installd: read the answer: %w", err)
	case resp.Error != nil:
		return nil, resp.Error
	}
	return resp.Packages, nil
}
