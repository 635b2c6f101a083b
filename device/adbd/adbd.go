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
	"path/filepath"
	"sync"
	"time"
)

// maxPending is how many connections may be unauthorised at a time: the
// oldest makes room for the next.
const maxPending = 8

// Properties is what adbd needs of the device's properties.
type Properties interface {
	Set(ctx context.Context, name, value string) error
}

// A Server serves hosts. All fields but Root, NoAuth and Env must be set.
type Server struct {
	// Root is prepended to every absolute path that the server itself uses or
	// that a host names in a file transfer; "" on a device.
	Root string
	// KeyFiles hold the authorised keys, one base64 key and comment a line.
	// They are read anew for each answer of a host; absent ones are skipped.
	KeyFiles []string
	// NoAuth serves every host: ro.adb.secure=0.
	NoAuth bool
	// Shell is the shell's argument list: "-c" and the command are appended.
	Shell []string
	// Env is the environment of shells, NAME=VALUE; nil means an empty one.
	Env []string
	// Product, Model and Device name the device to the host ("adb devices -l"):
	// ro.product.name, ro.product.model, ro.product.device.
	Product, Model, Device string
	Properties             Properties
	Log                    *slog.Logger

	mu      sync.Mutex
	pending []*conn // not authorised yet, oldest first
}

// Serve accepts hosts on l until ctx is done, then closes l and every
// connection with what runs for it, and returns ctx's error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of file descriptors, or a peer that is gone already
			s.Log.Warn("adb: accept", "err", err)
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		wg.Go(func() { s.serve(ctx, nc) })
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *Server) serve(ctx context.Context, nc net.Conn) {
	c := newConn(ctx, s, nc)
	s.pend(c)
	err := c.run()
	s.unpend(c)
	c.close()
	c.wg.Wait()
	c.log.Info("adb: host gone", "err", err)
}

// pend counts a connection as unauthorised, and closes the oldest such one
// when there are too many.
func (s *Server) pend(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, c)
	if len(s.pending) > maxPending {
		s.pending[0].close()
		s.pending = s.pending[1:]
	}
}

func (s *Server) unpend(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.pending {
		if p == c {
			s.pending = append(s.pending[:i:i], s.pending[i+1:]...)
			return
		}
	}
}

// path returns where a path of the device lies. One that is not absolute is
// below the root.
func (s *Server) path(name string) string {
	if s.Root == "" && filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Root, "/", name)
}
