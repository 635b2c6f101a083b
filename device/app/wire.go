package app

import (
	"context"
	"encoding/json"
)

// Socket is where installd listens.
const Socket = "/dev/socket/installd"

// The verbs of a request.
const (
	opInstall   = "install"   // size bytes follow the request
	opUninstall = "uninstall" // package, keep
	opList      = "list"
	opGet       = "get"   // package
	opStart     = "start" // package
	opStop      = "stop"  // package
)

const maxLine = 64 << 10

// A request is one line of JSON, and a connection carries one request.
type request struct {
	Op      string         `json:"op"`
	Package string         `json:"package,omitempty"`
	Size    int64          `json:"size,omitempty"` // of the package that follows, in bytes
	Keep    bool           `json:"keep,omitempty"`
	Options InstallOptions `json:"options,omitzero"`
	// Args are what a [Handler] is asked with.
	Args json.RawMessage `json:"args,omitempty"`
}

// A response is one line of JSON. Lines with progress come before the last one.
type response struct {
	Packages []Status        `json:"packages,omitempty"`
	Progress json.RawMessage `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"` // of a [Handler]
	Error    *Error          `json:"error,omitempty"`
}

// A Handler answers requests that are not the manager's own. What it says
// meanwhile the client hears as progress. Its ctx is the server's: a client that
// goes away does not end what it asked for.
type Handler func(ctx context.Context, op string, args json.RawMessage, say func(progress any)) (result any, err error)
