// Package repo serves a repository's public tree over HTTP: the files as they
// are, with ranges and for caches, and a page on which a person sees what is
// published. A plain web server over the same folder does as well for devices.
package repo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"mios"
	"mios/internal/lazyregexp"
	"mios/internal/progress"
	publish "mios/publish/repo"
	"mios/serve/static"
)

// A Service serves one repository. Repo and Log must be set.
type Service struct {
	Repo *publish.Repo
	Log  *slog.Logger

	// Cache is a folder for encodings of what devices read; "": there are none.
	Cache string

	// FDroid is the address that F-Droid's clients add the repository by; "":
	// they cannot.
	FDroid string

	mu       sync.Mutex
	last     *publish.Status // as it was read last
	page     []byte          // the index of it
	revision mios.Digest     // of the repository that it tells of
}

// Handler returns the service's pages and files, and is the one list of its
// routes.
func (s *Service) Handler() http.Handler {
	files := &static.Service{Tree: s.Repo.Tree(), Log: s.Log, Immutable: forever, Cache: s.Cache}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.handle(s.index))
	mux.Handle("GET /feed.atom", s.handle(s.feed))
	mux.Handle("GET /{name...}", s.handle(func(w http.ResponseWriter, r *http.Request) error {
		return files.Serve(w, r, r.PathValue("name"))
	}))
	all := http.MaxBytesHandler(mux, 0)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !files.ServeHot(w, r) {
			all.ServeHTTP(w, r)
		}
	})
}

// handle turns a handler's error into the response and the log line, here and
// nowhere else. A handler that has begun to write returns nil.
func (s *Service) handle(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		err := h(w, r)
		if err == nil {
			return
		}
		// What is not there today may be there tomorrow: a new root, above all.
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case errors.Is(err, mios.ErrNotFound), errors.Is(err, mios.ErrInvalid):
			http.Error(w, "not found", http.StatusNotFound)
		case errors.Is(err, context.Canceled):
		default:
			s.Log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "err", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
		}
	})
}

// immutable matches the names whose bytes never change: metadata of a version,
// packages for existing updaters, and targets with their hash in the name, which
// it captures.
var immutable = lazyregexp.New(`^metadata/[0-9]+\.[a-z0-9_-]+\.json$|^os/[^/]+/[^/]+/updaters/[^/]+\.zip$|/([0-9a-f]{64})\.[^/]+$`)

// Immutable tells of a name of the public tree whether its bytes never change.
func Immutable(name string) bool {
	_, ok := forever(name)
	return ok
}

// forever tells of a name whether its bytes never change, and their tag.
func forever(name string) (tag string, ok bool) {
	m := immutable.FindStringSubmatch(name)
	switch {
	case m == nil:
		return "", false
	case m[1] != "":
		return m[1], true
	case path.Ext(name) == ".zip": // its bytes are not in its name
		return path.Base(name), true
	}
	return "", true
}

//go:embed index.html
var indexHTML string

// indexPage is parsed when it is first asked for, and not by every command.
var indexPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("index").Funcs(template.FuncMap{
		"bytes": progress.Size,
		"date":  func(sec int64) string { return time.Unix(sec, 0).UTC().Format("2006-01-02 15:04") },
		"join":  func(list []string) string { return strings.Join(list, ", ") },
	}).Parse(indexHTML))
})

func (s *Service) index(w http.ResponseWriter, r *http.Request) error {
	page, err := s.indexPage(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if _, err := w.Write(page); err != nil {
		s.Log.DebugContext(r.Context(), "reader went away", "err", err)
	}
	return nil
}

// status returns what the repository has, which is read only when it has
// changed, and the revision of that. The status is not to be changed.
func (s *Service) status(ctx context.Context) (*publish.Status, mios.Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	revision, err := s.Repo.Revision(ctx)
	if err != nil {
		return nil, revision, err
	}
	if s.last != nil && revision == s.revision {
		return s.last, revision, nil
	}
	status, err := s.Repo.Status(ctx)
	if err != nil {
		return nil, revision, err
	}
	// What was published since is shown the next time.
	s.last, s.page, s.revision = status, nil, revision
	return status, revision, nil
}

// indexPage returns the page.
func (s *Service) indexPage(ctx context.Context) ([]byte, error) {
	status, revision, err := s.status(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.page != nil && s.revision == revision {
		return s.page, nil
	}
	var page bytes.Buffer
	err = indexPage().Execute(&page, struct {
		*publish.Status
		FDroid template.URL // of ours: the scheme is not one that templates know
	}{status, template.URL(s.FDroid)})
	if err != nil {
		return nil, err
	}
	if s.revision == revision {
		s.page = page.Bytes()
	}
	return page.Bytes(), nil
}
