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
	"sync"
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

// NewServer returns a server of h, which speaks HTTP/1.1 and HTTP/2, the latter
// without TLS by prior knowledge. Whoever sends no request, or is slow with the
// head of one, loses the connection; a download may take as long as it wants.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, Protocols: &p,
		HTTP2:    &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: time.Minute},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// grace is how long requests may go on when their server is to end.
const grace = 5 * time.Second

// Run serves on l until ctx ends, and then lets running requests finish for a
// moment. Those that do not, such as long uploads, lose their connection, and it
// waits until they have seen that and kept what came. It speaks TLS if the server
// has a configuration of it: see [UseTLS].
func Run(ctx context.Context, srv *http.Server, l net.Listener) error {
	return run(ctx, srv, l, grace)
}

func run(ctx context.Context, srv *http.Server, l net.Listener, grace time.Duration) error {
	requests := &running{h: srv.Handler}
	srv.Handler = requests
	failed := make(chan error, 1)
	go func() {
		if srv.TLSConfig != nil {
			failed <- srv.ServeTLS(l, "", "")
			return
		}
		failed <- srv.Serve(l)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(stop); err == nil {
		return nil
	}
	err := srv.Close()
	requests.wait(grace)
	return err
}

// running counts the requests that a handler is at.
type running struct {
	h    http.Handler
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when there is none any more; nil: nobody waits
}

func (r *running) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.n++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.n--; r.n == 0 && r.idle != nil {
			close(r.idle)
			r.idle = nil
		}
	}()
	r.h.ServeHTTP(w, req)
}

// wait returns when no request is handled, or after a while.
func (r *running) wait(most time.Duration) {
	r.mu.Lock()
	if r.n == 0 {
		r.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	r.idle = idle
	r.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(most):
	}
}
