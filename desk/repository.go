package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"mios"
	api "mios/api/repo"
	"mios/build/app"
	"mios/build/image"
	buildota "mios/build/ota"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/digest"
	"mios/key"
	publishapp "mios/publish/app"
	"mios/publish/ota"
	"mios/publish/repo"
	"mios/serve"
	serverepo "mios/serve/repo"
)

// Repository opens the desk's repository, which it sets up when there is none,
// with releases for the given products; its freshness is signed again.
func (d *Desk) Repository(ctx context.Context, products ...string) (*repo.Repo, error) {
	dir := d.path("repo")
	r, err := repo.Open(dir, repo.WithKeys(d.keys))
	if errors.Is(err, mios.ErrNotFound) {
		return d.NewRepository(ctx, dir, products...)
	}
	if err != nil {
		return nil, err
	}
	if err := d.addProducts(ctx, r, products); err != nil {
		return nil, err
	}
	_, err = r.Refresh(ctx)
	return r, err
}

// NewRepository sets a repository up in the folder dir, signed by the desk's
// keys.
func (d *Desk) NewRepository(ctx context.Context, dir string, products ...string) (*repo.Repo, error) {
	r, err := repo.Init(ctx, dir, d.keys, repo.InitOptions{}, repo.WithKeys(d.keys))
	if err != nil {
		return nil, err
	}
	return r, d.addProducts(ctx, r, products)
}

func (d *Desk) addProducts(ctx context.Context, r *repo.Repo, products []string) error {
	for _, p := range products {
		if has, err := r.HasProduct(ctx, p); err != nil {
			return err
		} else if has {
			continue
		}
		if _, err := r.AddProduct(ctx, p, d.keys, 2); err != nil {
			return err
		}
	}
	return nil
}

// Publish publishes a build with its payload, unless the same one is published
// already.
func (d *Desk) Publish(ctx context.Context, r *repo.Repo, build string, progress func(done, total int64)) (rel *api.OSRelease, reused bool, err error) {
	return d.PublishWays(ctx, r, build, Ways{}, progress)
}

// release describes a build as a release, and makes its payload, which is in
// the file.
func (d *Desk) release(ctx context.Context, build string, progress func(done, total int64)) (rel ota.Release, file string, err error) {
	m, err := image.ReadManifest(build)
	if err != nil {
		return rel, "", err
	}
	dir, _, err := d.Payload(ctx, build, progress)
	return ota.Release{
		Product: m.Product, Arch: m.Arch, Version: m.Version, BuildTime: m.BuildTime,
		Channels: []string{m.Channel}, Regions: m.Regions, MaxShare: api.Everyone,
	}, filepath.Join(dir, buildota.PayloadFile), err
}

// App builds an app from its folder and publishes it, unless the same one is
// published already; its signer owns the package from then on. One that has
// changed gets a higher version code than the one that is published: its
// manifest's, if that is higher.
func (d *Desk) App(ctx context.Context, r *repo.Repo, dir string) (p *apksig.Package, reused bool, err error) {
	signer, err := d.keys.Signer(key.App)
	if err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(d.path("apps"), 0o755); err != nil {
		return nil, false, err
	}
	m, err := app.ReadManifest(filepath.Join(dir, apk.ManifestName))
	if err != nil {
		return nil, false, err
	}
	st, err := r.Status(ctx)
	if err != nil {
		return nil, false, err
	}
	out := d.path("apps", filepath.Base(dir)+".apk")
	o := app.Options{Dir: dir, Key: signer}
	i := slices.IndexFunc(st.Apps, func(a api.AppRelease) bool { return a.Package == m.Package })
	if i >= 0 && m.VersionCode <= st.Apps[i].VersionCode {
		old := st.Apps[i] // built as that version, it is the same or another app
		o.VersionCode = old.VersionCode
		if p, err = app.Build(ctx, o, out); err != nil {
			return nil, false, err
		}
		if sum, err := digest.File(out); err != nil || sum == old.Target.SHA256 {
			return p, true, err
		}
		o.VersionCode = old.VersionCode + 1
	}
	if p, err = app.Build(ctx, o, out); err != nil {
		return nil, false, err
	}
	_, _, err = publishapp.Publish(ctx, r, out, true)
	return p, false, err
}

// A Server serves the desk's repository on 127.0.0.1.
type Server struct {
	Addr   string // 127.0.0.1:PORT
	Moved  string // the address that was taken, or ""
	server *http.Server
}

// Serve serves a handler at addr, or at a free port if that one is taken. Each
// connection is given to the functions before it is served.
func Serve(addr string, h http.Handler, opened ...func(net.Conn)) (*Server, error) {
	return serveAt(addr, h, slog.New(slog.DiscardHandler), opened...)
}

func serveAt(addr string, h http.Handler, log *slog.Logger, opened ...func(net.Conn)) (*Server, error) {
	l, moved, err := serve.Listen(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: l.Addr().String(), server: serve.NewServer(h, log)}
	s.server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		for _, f := range opened {
			f(c)
		}
		return ctx
	}
	if moved {
		s.Moved = addr
	}
	go s.server.Serve(l) // until Close
	return s, nil
}

// ServeRepository serves a repository at addr.
func ServeRepository(addr string, r *repo.Repo, log *slog.Logger) (*Server, error) {
	return serveAt(addr, (&serverepo.Service{Repo: r, Log: log}).Handler(), log)
}

// GuestURL is the server's address as an emulated device sees it: QEMU's
// network has the host at 10.0.2.2.
func (s *Server) GuestURL() string {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("http://10.0.2.2:%s/", port)
}

// Close ends the server at once.
func (s *Server) Close() error { return s.server.Close() }
