package app

// Socket is where installd listens.
const Socket = "/dev/socket/installd"

// The verbs of a request.
const (
	opInstall     = "install"      // size bytes follow the request
	opInstallRepo = "install-repo" // package
	opUninstall   = "uninstall"    // package, keep
	opList        = "list"
	opGet         = "get"   // package
	opStart       = "start" // package
	opStop        = "stop"  // package
)

const maxLine = 64 << 10

// A request is one line of JSON, and a connection carries one request.
type request struct {
	Op      string         `json:"op"`
	Package string         `json:"package,omitempty"`
	Size    int64          `json:"size,omitempty"` // of the package that follows, in bytes
	Keep    bool           `json:"keep,omitempty"`
	Options InstallOptions `json:"options,omitzero"`
}

// A response is one line of JSON.
type response struct {
	Packages []Status `json:"packages,omitempty"`
	Error    *Error   `json:"error,omitempty"`
}
