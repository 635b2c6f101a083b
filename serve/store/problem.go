package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"mios"
)

// A Problem is an error as the API tells it (RFC 9457).
type Problem struct {
	Type   string `json:"type" doc:"about:blank: the status says what kind it is"`
	Title  string `json:"title" doc:"the kind of problem"`
	Status int    `json:"status" doc:"the HTTP status"`
	Detail string `json:"detail" doc:"what is wrong, and what to do"`

	after int   // seconds after which to try again; 0: not said
	cause error // for the log
}

func (p *Problem) Error() string {
	if p.cause != nil {
		return p.Detail + ": " + p.cause.Error()
	}
	return p.Detail
}

func (p *Problem) Unwrap() error { return p.cause }

// kinds are what errors of each kind become.
var kinds = []struct {
	kind   error
	status int
	title  string
}{
	{mios.ErrNotFound, http.StatusNotFound, "Not found"},
	{mios.ErrInvalid, http.StatusUnprocessableEntity, "Not acceptable as it is"},
	{mios.ErrDenied, http.StatusForbidden, "Not allowed"},
	{mios.ErrConflict, http.StatusConflict, "Not possible now"},
}

// problemOf is what a person is told of an error. What went wrong here is for
// the log alone.
func problemOf(err error) *Problem {
	var p *Problem
	var tooLarge *http.MaxBytesError
	if errors.As(err, &p) {
		return p
	}
	switch {
	case errors.As(err, &tooLarge):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Title: "Too large", cause: err,
			Detail: "the body has more than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes: send less, and files as uploads"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Took too long", Detail: "the server is busy: send the same request again", after: 5, cause: err}
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return &Problem{Status: k.status, Title: k.title, Detail: sentence(err, k.kind), cause: err}
		}
	}
	return &Problem{Status: http.StatusInternalServerError, Title: "Failed", Detail: "something failed here: send the same request again; the server's log has the reason", cause: err}
}

// sentence is an error's text without the words that only tell its kind.
func sentence(err, kind error) string {
	text := strings.ReplaceAll(err.Error(), ": "+kind.Error()+": ", ": ")
	return strings.TrimSuffix(text, ": "+kind.Error())
}

// problem answers with an error.
func (s *Service) problem(w http.ResponseWriter, r *http.Request, err error) {
	p := *problemOf(err)
	p.Type = "about:blank"
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.after > 0 {
		h.Set("Retry-After", strconv.Itoa(p.after))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="mios store"`)
	}
	b, err := marshal(&p)
	if err != nil {
		s.Log.Error("write a problem", "err", err)
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(b); err != nil {
		s.Log.Debug("reader went away", "err", err)
	}
}

// marshal writes JSON with a line's end. Text is safe within HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	return writeBytes(w, status, b)
}

func writeBytes(w http.ResponseWriter, status int, b []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b) // the reader may have gone away
	return nil
}
