// Package adbd is the device's end of the Android Debug Bridge over TCP: it
// authorises a host by its RSA key, and serves shells, file transfer, port
// forwarding in both directions, reboot and bug reports to a stock adb.
//
// The connection is neither encrypted nor protected against who can change
// packets: it is for a desk, and only userdebug builds run it. Wireless
// debugging (TLS, pairing), USB, JDWP and incremental installs are not served.
package adbd

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// Properties is what adbd needs of the device's properties.
type Properties interface {
	Get(name string) string
	Set(name, value string) error
}

// A Server serves hosts. All fields but Root and NoAuth must be set.
type Server struct {
	// Root is prepended to every absolute path that the server itself uses or
	// that a host names in a file transfer; "" on a device.
	Root string
	// KeyFiles hold the authorised keys, one base64 key and comment a line.
	// They are read anew for each connection; those that are absent are skipped.
	KeyFiles []string
	// NoAuth serves every host: ro.adb.secure=0.
	NoAuth bool
	// Shell is the shell's argument list: "-c" and the command are appended.
	Shell []string
	// Env is the environment of shells, NAME=VALUE.
	Env []string
	// Banner names the device to the host: ro.product.name, ro.product.model,
	// ro.product.device.
	Banner     map[string]string
	Properties Properties
	Log        *slog.Logger
}

// Serve accepts hosts on l until ctx is done, then closes l and every
// connection with all that runs for it, and returns ctx's error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return errors.New("adbd: not serving yet")
}
