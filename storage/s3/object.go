package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"mios"
)

// digestHeader is where an object keeps its SHA-256, in hexadecimal, and
// writerHeader what tells who put it under a condition.
const (
	digestHeader = "X-Amz-Meta-Sha256"
	writerHeader = "X-Amz-Meta-Writer"
)

// An Object is what is known of one without its bytes.
type Object struct {
	Name     string
	Size     int64
	ETag     string // with its quotes; changes with the bytes
	Modified time.Time
	Digest   mios.Digest // zero: not known
	writer   string
}

// A Condition must hold for an object to be put. The server compares and writes
// in one step; if it does not hold, the error wraps [mios.ErrConflict] or
// [mios.ErrNotFound].
type Condition struct {
	Absent bool   // there is none of that name
	ETag   string // the one that is there has this
}

// Put stores an object, for caches to keep for ever or not at all.
func (b *Bucket) Put(ctx context.Context, name string, body *Body, c Condition, forEver bool) error {
	if body.Size > MaxObject {
		return fmt.Errorf("S3: %s: %w: %d bytes, and at most %d are taken", name, mios.ErrInvalid, body.Size, int64(MaxObject))
	}
	header := map[string]string{
		digestHeader: body.Digest.String(), "Content-Type": "application/octet-stream", "Cache-Control": "no-cache",
	}
	if path.Ext(name) == ".json" {
		header["Content-Type"] = "application/json"
	}
	if forEver {
		header["Cache-Control"] = "public, max-age=31536000, immutable"
	}
	if c != (Condition{}) {
		header[writerHeader] = rand.Text()
	}
	if c.Absent {
		header["If-None-Match"] = "*"
	}
	if c.ETag != "" {
		header["If-Match"] = c.ETag
	}
	res, err := b.do(ctx, request{op: http.MethodPut, name: name, header: header, body: body})
	if err != nil && c != (Condition{}) {
		return b.settle(ctx, name, header[writerHeader], c, err)
	}
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// settle finds out what became of a conditional request that failed. One that was
// sent before may have been done then, and only its answer lost. Then the next is
// refused, which a server may say before it has read all bytes, and close the
// connection: who is still writing never sees that answer.
func (b *Bucket) settle(ctx context.Context, name, writer string, c Condition, err error) error {
	e, answered := errors.AsType[*Error](err)
	if answered && !(e.Retried && errors.Is(err, mios.ErrConflict)) {
		return err
	}
	o, errHead := b.Head(ctx, name)
	switch {
	case errHead != nil:
		return err
	case o.writer == writer:
		return nil
	case !answered && (c.Absent || o.ETag != c.ETag):
		return &Error{Op: http.MethodPut, Name: b.String() + name, Status: http.StatusPreconditionFailed, Code: "PreconditionFailed", Retried: true}
	}
	return err
}

// Head returns what is known of an object. The error wraps [mios.ErrNotFound]
// if there is none.
func (b *Bucket) Head(ctx context.Context, name string) (*Object, error) {
	res, err := b.do(ctx, request{op: http.MethodHead, name: name})
	if err != nil {
		return nil, err
	}
	return describe(name, res), res.Body.Close()
}

func describe(name string, res *http.Response) *Object {
	o := &Object{Name: name, Size: res.ContentLength, ETag: res.Header.Get("ETag"), writer: res.Header.Get(writerHeader)}
	o.Modified, _ = http.ParseTime(res.Header.Get("Last-Modified"))
	o.Digest, _ = mios.ParseDigest(res.Header.Get(digestHeader)) // of others' objects none
	return o
}

// get returns an object's bytes from an offset on; those with an ETag, if it is
// not "".
func (b *Bucket) get(ctx context.Context, name string, from, n int64, etag string) (*http.Response, error) {
	header := map[string]string{}
	if from > 0 || n >= 0 {
		header["Range"] = "bytes=" + strconv.FormatInt(from, 10) + "-"
		if n >= 0 {
			header["Range"] += strconv.FormatInt(from+n-1, 10)
		}
	}
	if etag != "" {
		header["If-Match"] = etag
	}
	res, err := b.do(ctx, request{op: http.MethodGet, name: name, header: header})
	if err == nil && header["Range"] != "" && res.StatusCode != http.StatusPartialContent {
		res.Body.Close()
		err = fmt.Errorf("S3: %s: the server gives no ranges", name)
	}
	return res, err
}

// Delete removes an object; that there is none is no error.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	res, err := b.do(ctx, request{op: http.MethodDelete, name: name})
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound && e.Code != "NoSuchBucket" {
		return nil
	}
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Make makes the bucket, which most people do by hand.
func (b *Bucket) Make(ctx context.Context) error {
	res, err := b.do(ctx, request{op: http.MethodPut})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// List yields the objects whose names begin so, sorted by the bytes of their
// names. It ends after an error.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		token := ""
		for {
			page, err := b.page(ctx, prefix, token)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, c := range page.Contents {
				name, err := page.name(c.Key)
				if err != nil {
					yield(Object{}, err)
					return
				}
				o := Object{Name: strings.TrimPrefix(name, b.prefix), Size: c.Size, ETag: c.ETag, Modified: c.LastModified}
				if !yield(o, nil) {
					return
				}
			}
			if token = page.NextContinuationToken; !page.IsTruncated || token == "" {
				return
			}
		}
	}
}

// A page is part of a list.
type page struct {
	Contents []struct {
		Key, ETag    string
		Size         int64
		LastModified time.Time
	}
	EncodingType          string
	IsTruncated           bool
	NextContinuationToken string
}

// name undoes the encoding of a key; not all servers encode.
func (p *page) name(key string) (string, error) {
	if p.EncodingType != "url" {
		return key, nil
	}
	return url.QueryUnescape(key)
}

// maxPage bounds the answer to one request of a list.
const maxPage = 16 << 20

func (b *Bucket) page(ctx context.Context, prefix, token string) (*page, error) {
	q := url.Values{
		"list-type": {"2"}, "encoding-type": {"url"},
		"prefix": {b.prefix + prefix}, "max-keys": {strconv.Itoa(cmp.Or(b.PageSize, 1000))},
	}
	if token != "" {
		q.Set("continuation-token", token)
	}
	for try := 1; ; try++ {
		p, err := b.answer(ctx, q)
		if err == nil || ctx.Err() != nil {
			return p, ctx.Err()
		}
		if _, answered := errors.AsType[*Error](err); answered || try == attempts {
			return nil, fmt.Errorf("S3: list %s%s: %w", b, prefix, err)
		}
	}
}

// answer asks for a page.
func (b *Bucket) answer(ctx context.Context, q url.Values) (*page, error) {
	res, err := b.do(ctx, request{op: http.MethodGet, query: q})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return nil, err
	}
	p := new(page)
	return p, xml.Unmarshal(text, p)
}
