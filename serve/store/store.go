// Package store serves the store's API over HTTP: developers upload versions
// and follow them, reviewers decide, and operators release, each with a token
// of their own. What a version is and what may become of it is
// mios/publish/app's; this package asks who, takes bytes, and answers.
//
// docs/api.md is its manual. The description that it serves, in OpenAPI 3.1, is
// made from the same list of operations that answers.
package store

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"mios"
	"mios/publish/app"
	"mios/storage/record"
)

// Base is where the API begins.
const Base = "/api/v1"

// Limits of requests.
const (
	maxJSON        = 1 << 20          // bytes of a body that is no upload
	jsonTime       = 30 * time.Second // for a body that is no upload to arrive
	workTime       = 5 * time.Minute  // for an answer
	uploadAge      = 24 * time.Hour   // after it an upload that was not submitted is gone
	answerAge      = 48 * time.Hour   // for so long a request with a key is answered as it was
	maxUploadFiles = 512
)

// A Service is the API of one store. App, DB and Log must be set.
type Service struct {
	App *app.Store
	DB  *record.DB // the store's own
	Log *slog.Logger
	// MaxUpload bounds one uploaded file, in bytes; 0 means 4 GiB.
	MaxUpload int64
	// Ready says why the process should get no requests; nil: the database
	// answers.
	Ready func(ctx context.Context) error

	// Proxies stand before the store. Without them, whom a proxy asks for is
	// not known, and all share what is counted by address.
	Proxies []Proxy

	tokens *Tokens
	guard  guard
	spec   func() []byte
	stall  time.Duration // for how long an upload's bytes may not come
}

// Open makes the service's tables, or brings them up to date. It comes before
// [Service.Handler].
func (s *Service) Open(ctx context.Context) (err error) {
	if s.MaxUpload == 0 {
		s.MaxUpload = 4 << 30
	}
	s.guard.now, s.stall = time.Now, maxStall
	s.spec = sync.OnceValue(func() []byte { return describe(operations()) })
	s.tokens, err = OpenTokens(ctx, s.DB)
	return err
}

// Handler returns the API, and is the one list of its routes: beside the
// operations, those are the tus protocol's, the description and two for those
// who watch the process.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, o := range operations() {
		mux.Handle(o.method+" "+Base+o.path, s.operation(o))
	}
	for _, r := range s.tusRoutes() {
		mux.Handle(r.method+" "+Base+r.path, s.handle(r.do))
	}
	mux.Handle("GET /api/openapi.json", s.handle(s.openAPI))
	mux.Handle("GET /healthz", s.handle(s.health))
	mux.Handle("GET /readyz", s.handle(s.ready))
	mux.Handle("/api/", s.handle(func(w http.ResponseWriter, r *http.Request) error {
		for _, m := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"} {
			probe := r.Clone(r.Context())
			probe.Method = m
			if _, pattern := mux.Handler(probe); pattern != "/api/" && pattern != "" {
				w.Header().Add("Allow", m)
			}
		}
		if w.Header().Get("Allow") != "" {
			return &Problem{Status: http.StatusMethodNotAllowed, Title: "Wrong method", Detail: r.Method + " is not for this address: the header Allow lists what is"}
		}
		return &Problem{Status: http.StatusNotFound, Title: "No such address", Detail: "nothing is at " + r.URL.Path + ": /api/openapi.json lists all there is"}
	}))
	return mux
}

// handle turns a handler's error into the answer and the log line, here and
// nowhere else.
func (s *Service) handle(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h2 := w.Header()
		h2.Set("X-Content-Type-Options", "nosniff")
		h2.Set("Cache-Control", "no-store")
		rec := &recorder{ResponseWriter: w}
		began := time.Now()
		call := &caller{remote: s.remoteOf(r)}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, call))
		err := h(rec, r)
		if err != nil && rec.status == 0 {
			s.problem(rec, r, err)
		}
		s.log(r, rec, call, time.Since(began), err)
	})
}

// log writes one line for each request: who did what, and how it ended.
func (s *Service) log(r *http.Request, rec *recorder, c *caller, took time.Duration, err error) {
	level := slog.LevelInfo
	args := []any{"method", r.Method, "path", r.URL.Path, "status", rec.status, "ms", took.Milliseconds(), "remote", c.remote}
	if c.token != nil {
		args = append(args, "who", c.token.Who, "token", c.token.ID)
	}
	switch {
	case rec.status >= 500:
		level = slog.LevelError
		args = append(args, "err", err)
	case err != nil:
		args = append(args, "err", err)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		level = slog.LevelDebug
	}
	s.Log.Log(r.Context(), level, "request", args...)
}

// A caller is who makes a request.
type caller struct {
	remote string
	token  *Token
}

type callerKey struct{}

// A recorder remembers an answer's status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// health says that the process lives.
func (s *Service) health(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ready says whether the process can do its work.
func (s *Service) ready(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	check := s.Ready
	if check == nil {
		check = func(ctx context.Context) error {
			_, err := s.App.Status(ctx)
			return err
		}
	}
	if err := check(ctx); err != nil {
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Not ready", Detail: "it is stopping, or its database or repository does not answer: try another process", cause: err}
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// Sweep removes answers and uploads that are old. It may be called by several
// processes.
func (s *Service) Sweep(ctx context.Context) error {
	now := time.Now().Unix()
	return s.DB.Tx(ctx, func(tx *record.Tx) error {
		_, err := tx.Exec(`DELETE FROM api_answers WHERE expires < ?`, now)
		if err == nil {
			_, err = tx.Exec(`DELETE FROM api_files WHERE expires < ?`, now)
		}
		return err
	})
}

// Run sweeps every hour until ctx ends.
func (s *Service) Run(ctx context.Context) {
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("remove old answers", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

// isNotFound shortens a common question.
func isNotFound(err error) bool { return errors.Is(err, mios.ErrNotFound) }
