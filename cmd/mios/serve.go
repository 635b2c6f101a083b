package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mios/publish/repo"
	"mios/serve"
	serverepo "mios/serve/repo"
)

var serveCmd = command{"serve", "[flags]", "serve a repository over HTTP\n" +
	"It serves until Ctrl-C.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		dir := fs.String("repo", "repo", "`folder` of the repository")
		addr := fs.String("addr", "127.0.0.1:8480", "`address` to listen on; a taken port is replaced by a free one")
		keys := fs.String("keys", "", "`folder` of the online keys: sign freshness again in time (default: somebody else does)")
		every := fs.Duration("refresh", time.Hour, "with --keys: `duration` between two signings")
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(e.stderr, nil))
		r, err := openServed(e, *dir, *keys)
		if err != nil {
			return err
		}
		l, moved, err := serve.Listen(*addr)
		if err != nil {
			return err
		}
		if moved {
			fmt.Fprintf(e.stderr, "mios: %s is taken: using %s\n", *addr, l.Addr())
		}
		fmt.Fprintf(e.stdout, "serving %s at http://%s/\n", *dir, l.Addr())
		ctx, stop := context.WithCancel(ctx)
		var background sync.WaitGroup
		defer background.Wait()
		defer stop()
		if *keys != "" {
			background.Go(func() { refresh(ctx, r, *every, log) })
		}
		return serve.Run(ctx, serve.NewServer((&serverepo.Service{Repo: r, Log: log}).Handler(), log), l)
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
