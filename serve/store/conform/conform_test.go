// Package conform holds the store's API against its own description, and that
// against OpenAPI 3.1, by an implementation of somebody else's.
package conform

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"

	"mios/publish/app"
	"mios/publish/app/storetest"
	"mios/serve/store"
)

// newServer serves an empty store and returns an administrator's secret.
func newServer(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	dir := t.TempDir()
	cfg := storetest.Config(t, "sqlite:"+filepath.Join(dir, "store.db"), filepath.Join(dir, "blobs"))
	a, err := app.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &store.Service{App: a, DB: cfg.DB, Log: slog.New(slog.DiscardHandler)}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokens, err := store.OpenTokens(t.Context(), cfg.DB)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := tokens.Create(t.Context(), "test", store.TokenSpec{Who: "root", Scopes: []store.Scope{store.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return srv, secret
}

func tell(t *testing.T, what string, errs []*errors.ValidationError) {
	t.Helper()
	for _, e := range errs {
		t.Errorf("%s: %s: %s", what, e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			t.Errorf("    %s: %s", s.FieldPath, s.Reason)
		}
	}
}

func TestDescription(t *testing.T) {
	srv, secret := newServer(t)
	get := func(method, path, body string) (*http.Request, *http.Response) {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body = io.NopCloser(bytes.NewReader(b))
		req.Body = io.NopCloser(strings.NewReader(body))
		return req, res
	}
	_, res := get("GET", "/api/openapi.json", "")
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		tell(t, "the description", errs)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/api/v1/me", "", 200},
		{"GET", "/api/v1/submissions?limit=5&state=review", "", 200},
		{"GET", "/api/v1/submissions/1", "", 404},
		{"POST", "/api/v1/submissions", `{"uploads":["none"],"note":"new"}`, 404},
		{"POST", "/api/v1/submissions/1/review", `{"approve":true}`, 404},
		{"POST", "/api/v1/submissions/1/release", `{"track":"beta","share":100,"regions":["DE"],"steps":[100,10000],"every":3600}`, 404},
		{"GET", "/api/v1/apps", "", 200},
		{"GET", "/api/v1/apps/org.example.clock", "", 404},
		{"POST", "/api/v1/apps/org.example.clock/releases/1/share", `{"share":500}`, 404},
		{"POST", "/api/v1/apps/org.example.clock/releases/1/halt", `{"why":"broken"}`, 404},
		{"POST", "/api/v1/apps/org.example.clock/rollback", `{"to":1}`, 404},
		{"PUT", "/api/v1/apps/org.example.clock/developers", `{"developers":["ada"]}`, 404},
		{"GET", "/api/v1/history", "", 200},
		{"GET", "/api/v1/status", "", 200},
		{"POST", "/api/v1/tokens", `{"who":"bob","scopes":["upload","read"],"packages":["a.b"],"ttl":60}`, 201},
		{"GET", "/api/v1/tokens", "", 200},
		{"DELETE", "/api/v1/tokens/none", "", 404},
		{"GET", "/healthz", "", 200},
		{"GET", "/readyz", "", 200},
	} {
		req, res := get(c.method, c.path, c.body)
		if res.StatusCode != c.status {
			b, _ := io.ReadAll(res.Body)
			t.Errorf("%s %s: %s: %s", c.method, c.path, res.Status, b)
			continue
		}
		if ok, errs := v.ValidateHttpRequestResponse(req, res); !ok {
			tell(t, c.method+" "+c.path, errs)
		}
	}
	// The validator finds what is wrong.
	req, res := get("GET", "/api/v1/me", "")
	res.Body = io.NopCloser(strings.NewReader(`{"id": 5}`))
	if ok, _ := v.ValidateHttpRequestResponse(req, res); ok {
		t.Error("an answer that is none was accepted")
	}
}
