// Package app keeps a device's packages: installs and removes them, and keeps
// their programs running, each in a sandbox under a uid of its own.
package app

import (
	"context"
	"errors"
	"io"
)

// Socket is where installd listens.
const Socket = "/dev/socket/installd"

// A Client speaks to installd.
type Client struct{ Socket string }

// InstallOptions are those of "pm install".
type InstallOptions struct {
	Downgrade bool // -d: allow a lower version code, on a debuggable device
}

// Status is what installd knows of an installed package.
type Status struct {
	Package     string   `json:"package"`
	VersionCode int64    `json:"versionCode"`
	VersionName string   `json:"versionName"`
	UID         int      `json:"uid"`
	Signers     []string `json:"signers"` // SHA-256 of each certificate
	Path        string   `json:"path"`    // of the package file
	DataDir     string   `json:"dataDir"`
	ABI         string   `json:"abi,omitempty"`
	State       string   `json:"state"` // "running", "stopped", "restarting"
	PID         int      `json:"pid,omitempty"`
	Restarts    int      `json:"restarts,omitempty"` // since it was started
	LastExit    string   `json:"lastExit,omitempty"` // how it last ended
}

// Install installs the package in the size bytes of r.
func (c *Client) Install(ctx context.Context, r io.Reader, size int64, o InstallOptions) (*Status, error) {
	return nil, errors.ErrUnsupported
}

// InstallRepo installs the newest version for this device from the repository.
func (c *Client) InstallRepo(ctx context.Context, pkg string, o InstallOptions) (*Status, error) {
	return nil, errors.ErrUnsupported
}

// Uninstall removes a package, with its data unless keep.
func (c *Client) Uninstall(ctx context.Context, pkg string, keep bool) error {
	return errors.ErrUnsupported
}

// List returns the installed packages by name.
func (c *Client) List(ctx context.Context) ([]Status, error) { return nil, errors.ErrUnsupported }

// Start runs the package's program, now and after every boot.
func (c *Client) Start(ctx context.Context, pkg string) error { return errors.ErrUnsupported }

// Stop ends it, until Start is called.
func (c *Client) Stop(ctx context.Context, pkg string) error { return errors.ErrUnsupported }
