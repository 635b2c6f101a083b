package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mios"
	"mios/publish/app/fdroid"
	"mios/publish/app/setup"
	"mios/publish/repo"
	"mios/serve"
	serverepo "mios/serve/repo"
	servestore "mios/serve/store"
)

var serveCmd = command{"serve", "[flags]", "serve a repository, or a store with its API, over HTTP\n" +
	"It serves until Ctrl-C. With --store it does the store's work in the background, too; several\n" +
	"processes may do so on one store whose records and files are on PostgreSQL and S3.",
	func(ctx context.Context, e env, args []string) error {
		var o serveOptions
		fs := flags(e)
		fs.StringVar(&o.repo, "repo", "repo", "`folder` of the repository")
		fs.StringVar(&o.store, "store", "", "`folder` of a store: serve its repository, and its API at /api/")
		addr := fs.String("addr", "127.0.0.1:8480", "`address` to listen on; unless it is given, a taken port is replaced by a free one")
		fs.StringVar(&o.keys, "keys", "", "`folder` of the online keys: sign freshness again in time (default: store.yaml's, or somebody else does)")
		fs.DurationVar(&o.every, "refresh", time.Hour, "with keys: `duration` between two signings")
		cert := fs.String("tls-cert", "", "`file` with the certificate, in PEM: speak TLS; it may be renewed meanwhile")
		key := fs.String("tls-key", "", "`file` with the certificate's key, in PEM")
		proxy := fs.String("proxy", "", "`addresses` or networks of proxies in front, with commas between: their X-Forwarded-For says who asks")
		asJSON := fs.Bool("log-json", false, "log in JSON")
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		given := false // whoever names a port has told others of it
		fs.Visit(func(f *flag.Flag) { given = given || f.Name == "addr" })
		if (*cert == "") != (*key == "") {
			return fmt.Errorf("%w: --tls-cert and --tls-key go together", errUsage)
		}
		if *proxy != "" {
			var err error
			if o.proxies, err = servestore.ParseProxies(*proxy); err != nil {
				return fmt.Errorf("%w: --proxy: %v", errUsage, err)
			}
		}
		o.log = newLog(e.stderr, *asJSON)
		served, err := o.open(ctx, e)
		if err != nil {
			return err
		}
		defer served.close()
		srv, scheme := serve.NewServer(served.handler, o.log), "http"
		if *cert != "" {
			scheme = "https"
			if err := serve.UseTLS(srv, *cert, *key, o.log); err != nil {
				return err
			}
		}
		l, moved, err := serve.Listen(*addr)
		if err != nil {
			return err
		}
		if moved && given {
			l.Close()
			return fmt.Errorf("address %s: %w: something listens there already: end it, or give another --addr", *addr, mios.ErrConflict)
		} else if moved {
			fmt.Fprintf(e.stderr, "mios: %s is taken: using %s\n", *addr, l.Addr())
		}
		fmt.Fprintf(e.stdout, "serving %s at %s://%s/\n", served.name, scheme, l.Addr())
		ctx, stop := context.WithCancel(ctx)
		var background sync.WaitGroup
		defer background.Wait()
		defer stop()
		for _, work := range served.work {
			background.Go(func() { work(ctx) })
		}
		return serve.Run(ctx, srv, l)
	}}

func newLog(w io.Writer, asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// serveOptions say what is served.
type serveOptions struct {
	repo, store, keys string
	every             time.Duration
	proxies           []servestore.Proxy
	log               *slog.Logger
}

// A served thing is what answers, and what is done beside.
type served struct {
	name    string
	handler http.Handler
	work    []func(context.Context)
	close   func()
}

// encodedDir is where encodings are kept, beside what is served.
const encodedDir = "encoded"

func (o *serveOptions) open(ctx context.Context, e env) (*served, error) {
	if o.store != "" {
		return o.openStore(ctx, e)
	}
	r, err := openServed(e, o.repo, o.keys)
	if err != nil {
		return nil, err
	}
	s := &served{name: o.repo, close: func() {}}
	s.handler = (&serverepo.Service{Repo: r, Log: o.log, Cache: filepath.Join(o.repo, encodedDir)}).Handler()
	if o.keys != "" {
		s.work = append(s.work, func(ctx context.Context) { refresh(ctx, r, o.every, o.log) })
	}
	return s, nil
}

// openStore serves a store's repository and its API.
func (o *serveOptions) openStore(ctx context.Context, e env) (*served, error) {
	st, err := setup.Open(ctx, o.store, setup.Options{Keys: o.keys, Passphrase: passphrase(e), Log: o.log})
	if err != nil {
		return nil, err
	}
	api := &servestore.Service{App: st.Store, DB: st.DB, Log: o.log, MaxUpload: st.Config.Policy.MaxUpload, Proxies: o.proxies, Ready: func(ctx context.Context) error {
		_, err := st.Status(ctx)
		if err == nil {
			_, err = st.Repo().Revision(ctx)
		}
		return err
	}}
	if err := api.Open(ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	calls := api.Handler()
	page := &serverepo.Service{Repo: st.Repo(), Log: o.log, Cache: filepath.Join(o.store, encodedDir)}
	if st.FDroid != nil {
		address, err := fdroid.Address(st.FDroid)
		if err != nil {
			o.log.Warn("the page does not say how F-Droid's clients follow the store", "err", err)
		}
		page.FDroid = address
	}
	files := page.Handler()
	s := &served{name: o.store, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case strings.HasPrefix(p, "/api/"), p == "/healthz", p == "/readyz":
			calls.ServeHTTP(w, r)
		default:
			files.ServeHTTP(w, r)
		}
	})}
	s.close = func() {
		if err := st.Close(); err != nil {
			o.log.Error("close the store", "err", err)
		}
	}
	s.work = []func(context.Context){
		func(ctx context.Context) { // its locks let one process at a time do each thing
			if err := st.Run(ctx); err != nil {
				o.log.Error("the store's work has ended", "err", err)
			}
		},
		api.Run,
		func(ctx context.Context) {
			lead(ctx, st, o.log, func(ctx context.Context) { refresh(ctx, st.Repo(), o.every, o.log) })
		},
	}
	return s, nil
}

// lead does what one process among all is to do, while it holds the lock; when
// that process ends, another gets it.
func lead(ctx context.Context, st *setup.Opened, log *slog.Logger, work func(context.Context)) {
	for {
		unlock, err := st.DB.Lock(ctx, "serve")
		if err == nil {
			defer unlock()
			work(ctx)
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Error("take the lock of who signs freshness", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
	}
}

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
