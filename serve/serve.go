// Package serve holds what the cloud's services have in common: how they
// listen, and how their HTTP server begins and ends. The services themselves
// are in the folders below.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Listen listens on the TCP address addr, or, with moved set, on a free port of
// the same host if that port is taken.
func Listen(addr string) (l net.Listener, moved bool, err error) {
	l, err = net.Listen("tcp", addr)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, false, err
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return nil, false, err
	}
	l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	return l, true, err
}

// NewServer returns a server of h. Whoever sends no request, or is slow with
// the head of one, loses the connection; a download may take as long as it
// wants.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// grace is how long requests may go on when their server is to end.
const grace = 5 * time.Second

// Run serves on l until ctx ends, and then lets running requests finish for a
// moment.
func Run(ctx context.Context, srv *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return srv.Close()
	}
	return nil
}
