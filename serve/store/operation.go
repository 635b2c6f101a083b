package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"mios"
	"mios/storage/record"
)

// An operation is a method on a path: what answers a request, and what is told
// of it in the API's description.
type operation struct {
	id, method, path string
	summary          string
	scopes           []Scope // of which a token must have one; none: any token does
	status           int     // of success; 0: 200
	private          bool    // the answer has a secret: it is not kept for those who ask again
	in, out          reflect.Type
	do               func(s *Service, c *call, in any) (any, error)
}

// A call is a request to an operation.
type call struct {
	context.Context
	token *Token
}

// op makes an operation of a function. Of the fields of I, those with a tag
// "path" or "query" come from the address, and the others, by their JSON name,
// from the body.
func op[I, O any](o operation, do func(s *Service, c *call, in *I) (O, error)) operation {
	o.in, o.out = reflect.TypeFor[I](), reflect.TypeFor[O]()
	o.do = func(s *Service, c *call, in any) (any, error) { return do(s, c, in.(*I)) }
	return o
}

// hasBody tells whether requests have a body.
func (o *operation) hasBody() bool {
	return o.method != http.MethodGet && o.method != http.MethodDelete
}

// operation answers requests to an operation.
func (s *Service) operation(o operation) http.Handler {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		scopes := o.scopes
		if len(scopes) == 0 {
			scopes = Scopes
		}
		t, err := s.authenticate(r, scopes...)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(r.Context(), workTime)
		defer cancel()
		in := reflect.New(o.in)
		body, err := s.body(w, r, &o)
		if err != nil {
			return err
		}
		if err := o.decode(r, body, in); err != nil {
			return err
		}
		answer := func() (int, []byte, error) {
			v, err := o.do(s, &call{ctx, t}, in.Interface())
			if err != nil {
				return 0, nil, err
			}
			b, err := marshal(v)
			return max(o.status, http.StatusOK), b, err
		}
		key := r.Header.Get("Idempotency-Key")
		if key == "" || !o.hasBody() || o.private {
			status, b, err := answer()
			if err != nil {
				return err
			}
			return writeBytes(w, status, b)
		}
		return s.once(w, r, t, key, body, answer)
	})
}

// body reads a request's body, which must be JSON, within a limit of size and
// time.
func (s *Service) body(w http.ResponseWriter, r *http.Request, o *operation) ([]byte, error) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(jsonTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	limit := int64(maxJSON)
	if !o.hasBody() {
		limit = 0
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &Problem{Status: http.StatusRequestTimeout, Title: "Too slow", Detail: "the body did not arrive in time: send it at once", cause: err}
	}
	if err != nil || len(b) == 0 {
		return nil, err
	}
	if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return nil, &Problem{Status: http.StatusUnsupportedMediaType, Title: "Wrong type", Detail: fmt.Sprintf("the body is %q: send JSON, with the header Content-Type: application/json", r.Header.Get("Content-Type"))}
	}
	return b, nil
}

func badRequest(format string, args ...any) error {
	return &Problem{Status: http.StatusBadRequest, Title: "Wrong request", Detail: fmt.Sprintf(format, args...)}
}

// decode fills in an operation's input. What it does not know is an error.
func (o *operation) decode(r *http.Request, body []byte, in reflect.Value) error {
	if len(body) > 0 {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(in.Interface()); err != nil {
			return badRequest("the body is not what this takes: %v: /api/openapi.json tells what it is", strings.TrimPrefix(err.Error(), "json: "))
		}
		if _, err := d.Token(); err != io.EOF {
			return badRequest("the body goes on after its JSON: send one object")
		}
	}
	query := r.URL.Query()
	for _, f := range reflect.VisibleFields(o.in) {
		text := ""
		name := f.Tag.Get("path")
		if name != "" {
			text = r.PathValue(name)
		} else if name = f.Tag.Get("query"); name != "" {
			text = query.Get(name)
			delete(query, name)
		}
		if text == "" {
			continue
		}
		if err := setText(in.Elem().FieldByIndex(f.Index), text); err != nil {
			return badRequest("%s: %q is no %s", name, text, err)
		}
	}
	for name := range query {
		return badRequest("no parameter is called %q: /api/openapi.json lists those there are", name)
	}
	return nil
}

// setText sets a field from text; the error is what it should have been.
func setText(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return errors.New("number")
		}
		v.SetInt(n)
	}
	return nil
}

// maxKey bounds an idempotency key, in bytes.
const maxKey = 200

// once answers a request with a key. The same request with the same key gets the
// same answer, from any process; until the first has one, what is asked twice
// is done as if it had been asked once, for the store's changes are such.
func (s *Service) once(w http.ResponseWriter, r *http.Request, t *Token, key string, body []byte, answer func() (int, []byte, error)) error {
	if len(key) > maxKey {
		return badRequest("Idempotency-Key has %d bytes: want at most %d", len(key), maxKey)
	}
	request := mios.Sum(append([]byte(r.Method+" "+r.URL.RequestURI()+"\n"), body...))
	var was, text string
	var status int64
	err := s.DB.View(r.Context(), func(tx *record.Tx) error {
		return tx.QueryRow(`SELECT request, status, body FROM api_answers WHERE who = ? AND key = ?`, t.Who, key).Scan(&was, &status, &text)
	})
	switch {
	case err == nil && was != request.String():
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "Key used before", Detail: "another request had this Idempotency-Key: take a new key for each request, and the same only to ask again"}
	case err == nil:
		w.Header().Set("Idempotency-Replayed", "true")
		return writeStored(w, int(status), []byte(text))
	case !isNotFound(err):
		return err
	}
	code, b, err := answer()
	if err != nil {
		p := *problemOf(err)
		if p.Status >= 500 || p.Status == http.StatusTooManyRequests {
			return err
		}
		p.Type = "about:blank"
		if code = p.Status; true {
			b, _ = marshal(&p)
		}
	}
	err = s.DB.Tx(r.Context(), func(tx *record.Tx) error {
		_, err := tx.Exec(`INSERT INTO api_answers (who, key, request, status, body, expires) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (who, key) DO NOTHING`,
			t.Who, key, request, code, string(b), time.Now().Add(answerAge).Unix())
		return err
	})
	if err != nil {
		return err
	}
	return writeStored(w, code, b)
}

// writeStored writes an answer, or a problem, as it was.
func writeStored(w http.ResponseWriter, status int, b []byte) error {
	if status < 400 {
		return writeBytes(w, status, b)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	w.Write(b) // the reader may have gone away
	return nil
}
