// Package s3 speaks to an object store by Amazon's S3 protocol: whole objects
// put under conditions, ranges of them, and lists. It is what a tree and blobs
// need of the protocol, and costs a program nothing when it starts.
package s3

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"mios"
)

// MaxObject is the size of the largest object that one request may put, by
// Amazon's rules.
const MaxObject = 5 << 30

// A Bucket is a bucket of a server, or what is below a prefix in it. Its
// methods may be called concurrently.
type Bucket struct {
	base   url.URL // of the server
	name   string
	prefix string // before each name: "", or it ends in a slash
	region string
	creds  credentials
	client *http.Client

	PageSize int // how many names one request lists, at most 1000
}

// Parse returns what a URL names, s3://KEY:SECRET@HOST/BUCKET/PREFIX?region=R&tls=0,
// without asking the server. What is missing of key, secret and region comes
// from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. Errors do not
// tell the secret.
func Parse(text string) (*Bucket, error) {
	bad := func(why string) (*Bucket, error) {
		return nil, fmt.Errorf("S3 URL: %w: %s: want s3://KEY:SECRET@HOST/BUCKET/PREFIX?region=R", mios.ErrInvalid, why)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" {
		return bad("it is no s3 URL")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("its query")
	}
	for k := range query {
		if k != "region" && k != "tls" {
			return bad(fmt.Sprintf("nothing is called %q", k))
		}
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if u.Host == "" || bucket == "" {
		return bad("no host or no bucket")
	}
	if prefix != "" {
		prefix += "/"
	}
	secret, _ := u.User.Password()
	b := &Bucket{
		base: url.URL{Scheme: "https", Host: u.Host}, name: bucket, prefix: prefix,
		region: cmp.Or(query.Get("region"), os.Getenv("AWS_REGION"), "us-east-1"),
		creds: credentials{
			key:    cmp.Or(u.User.Username(), os.Getenv("AWS_ACCESS_KEY_ID")),
			secret: cmp.Or(secret, os.Getenv("AWS_SECRET_ACCESS_KEY")),
		},
		PageSize: 1000,
	}
	if u.User == nil {
		b.creds.token = os.Getenv("AWS_SESSION_TOKEN")
	}
	if query.Get("tls") == "0" {
		b.base.Scheme = "http"
	}
	if b.creds.key == "" || b.creds.secret == "" {
		return bad("no key or no secret, and none in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	b.client = &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   32,
		DisableCompression:    true,
	}}
	return b, nil
}

// String names the bucket, without secrets.
func (b *Bucket) String() string { return "s3://" + b.base.Host + "/" + b.name + "/" + b.prefix }

// Sub returns what is below a folder.
func (b *Bucket) Sub(folder string) *Bucket {
	sub := *b
	sub.prefix += folder + "/"
	return &sub
}

// An Error is what a server answered. It wraps the kind of error that it is.
type Error struct {
	Op, Name string
	Status   int
	Code     string // such as NoSuchKey; HEAD has none
	Message  string
	Retried  bool // the request was sent before, and may have been done then
}

func (e *Error) Error() string {
	s := fmt.Sprintf("S3: %s %s: %d %s", e.Op, e.Name, e.Status, cmp.Or(e.Code, http.StatusText(e.Status)))
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Code == "RequestTimeTooSkewed" {
		s += ": set this machine's clock"
	}
	return s
}

// Unwrap returns the kind of error.
func (e *Error) Unwrap() error {
	switch e.Status {
	case http.StatusNotFound:
		return mios.ErrNotFound
	case http.StatusPreconditionFailed, http.StatusConflict:
		return mios.ErrConflict
	case http.StatusForbidden, http.StatusUnauthorized:
		return mios.ErrDenied
	}
	return nil
}

// again tells whether the same request may succeed a moment later.
func (e *Error) again() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return true
	case http.StatusConflict: // of writers at the same moment
		return e.Code == "ConditionalRequestConflict" || e.Code == "OperationAborted"
	}
	return false
}

// A request is one to the server. It may be sent again.
type request struct {
	op, name string // of the object, or "" for the bucket
	query    url.Values
	header   map[string]string
	body     *Body // or nil
}

// attempts bounds how often a request is sent, with pauses that double from
// firstPause.
const (
	attempts   = 6
	firstPause = 20 * time.Millisecond
)

// do sends a request until it is answered. The caller closes the body of the
// answer, which is a success.
func (b *Bucket) do(ctx context.Context, r request) (*http.Response, error) {
	pause := firstPause
	for try := 1; ; try++ {
		res, err := b.send(ctx, r)
		if err == nil {
			return res, nil
		}
		e, answered := errors.AsType[*Error](err)
		if answered {
			e.Retried = try > 1
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if try == attempts || answered && !e.again() {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause *= 2
	}
}

// send sends a request once.
func (b *Bucket) send(ctx context.Context, r request) (*http.Response, error) {
	u := b.base
	u.Path = "/" + b.name
	if r.name != "" {
		u.Path += "/" + b.prefix + r.name
	}
	u.RawPath, u.RawQuery = escape(u.Path, true), canonicalQuery(r.query)
	req, err := http.NewRequestWithContext(ctx, r.op, u.String(), nil)
	if err != nil {
		return nil, err
	}
	sum := emptySum
	if r.body != nil {
		sum = r.body.Digest
		req.ContentLength = r.body.Size
		if r.body.Size > 0 {
			req.Body = io.NopCloser(io.NewSectionReader(r.body, 0, r.body.Size))
		}
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	b.creds.sign(req, b.region, sum, time.Now())
	res, err := b.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("S3: %s %s%s: %w", r.op, b, r.name, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	e := &Error{Op: r.op, Name: b.String() + r.name, Status: res.StatusCode}
	var answer struct{ Code, Message string }
	if text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10)); err == nil && xml.Unmarshal(text, &answer) == nil {
		e.Code, e.Message = answer.Code, answer.Message
	}
	return nil, e
}
