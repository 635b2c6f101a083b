package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"mios/publish/repo"
	serverepo "mios/serve/repo"
)

var serve = command{"serve", "[flags]", "serve a repository over HTTP",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e, command{name: "serve", args: "[flags]", help: "serve a repository over HTTP until Ctrl-C"})
		dir := fs.String("repo", "repo", "folder of the repository")
		addr := fs.String("addr", "127.0.0.1:8480", "address to listen on; a taken port is replaced by a free one")
		keys := fs.String("keys", "", "folder of the online keys: sign freshness again in time (default: somebody else does)")
		every := fs.Duration("refresh", time.Hour, "with --keys: how often")
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(e.stderr, nil))
		r, err := openServed(e, *dir, *keys)
		if err != nil {
			return err
		}
		l, err := listen(e, *addr)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "serving %s at http://%s/\n", *dir, l.Addr())
		ctx, stop := context.WithCancel(ctx)
		var background sync.WaitGroup
		defer background.Wait()
		defer stop()
		if *keys != "" {
			background.Go(func() { refresh(ctx, r, *every, log) })
		}
		return serveHTTP(ctx, l, (&serverepo.Service{Repo: r, Log: log}).Handler(), log)
	}}

func openServed(e env, dir, keys string) (*repo.Repo, error) {
	if keys == "" {
		return repo.Open(dir)
	}
	set, err := openKeys(e, keys)
	if err != nil {
		return nil, err
	}
	return repo.Open(dir, repo.WithKeys(set))
}

// listen takes the address, or a free port if that one is taken.
func listen(e env, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	host, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return nil, err
	}
	if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return nil, err
	}
	fmt.Fprintf(e.stderr, "mios: port %s is taken: using %s\n", port, l.Addr())
	return l, nil
}

// refresh signs freshness again, at once and then every so often.
func refresh(ctx context.Context, r *repo.Repo, every time.Duration, log *slog.Logger) {
	for {
		res, err := r.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Error("refresh failed: devices stop installing when the timestamp expires", "err", err)
		default:
			for _, w := range res.Warnings {
				log.Warn(w)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// serveHTTP serves until ctx ends, and lets running requests finish for a
// moment.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return srv.Close()
	}
	return nil
}
