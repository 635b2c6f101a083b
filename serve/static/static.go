// Package static serves the files of a tree over HTTP: with ranges, with tags
// for caches, and with encodings that were made in advance. What is small and
// asked for often is kept in memory; what is large goes from the file to the
// connection by the kernel. It knows nothing of what the files mean: whoever
// uses it tells which names are immutable.
package static

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"mios"
	"mios/storage/tree"
)

// A Service serves one tree. Tree and Log must be set, and no field changed
// after the first request.
type Service struct {
	Tree tree.Tree
	Log  *slog.Logger
	// Immutable tells of a name whether its bytes never change, and their tag:
	// the text of a strong ETag without quotes. Nil: all files may change, and
	// their tag is their SHA-256.
	Immutable func(name string) (tag string, ok bool)
	// Cache is a folder for encodings made in advance, which several processes
	// may share; it must not lie within what is served. "": files are served as
	// they are.
	Cache string

	hot   hot
	open  opened
	maker maker

	mu      sync.Mutex
	digests map[string]known // of large files
}

// Sizes, in bytes.
const (
	maxHot    = 64 << 10 // of a file that is kept in memory
	hotBudget = 64 << 20 // of all that is
	// maxDigests is how many large files' digests are remembered.
	maxDigests = 10_000
)

// What a cache may do with a file.
const (
	forever = "public, max-age=31536000, immutable"
	asked   = "no-cache" // keep it, and ask each time whether it is still right
)

// contentTypes are the types of what a repository has; all else is bytes.
var contentTypes = map[string]string{
	".json": "application/json",
	".apk":  "application/vnd.android.package-archive",
	".jar":  "application/java-archive",
	".zip":  "application/zip",
	".png":  "image/png",
	".jpg":  "image/jpeg",
	".webp": "image/webp",
	".txt":  "text/plain; charset=utf-8",
	".xml":  "text/xml; charset=utf-8",
}

// compressible tells by its name whether a file gains by an encoding. Packages
// and pictures are compressed as they are.
func compressible(name string) bool {
	switch path.Ext(name) {
	case ".json", ".txt", ".xml":
		return true
	}
	return false
}

func contentType(name string) string {
	if kind, ok := contentTypes[path.Ext(name)]; ok {
		return kind
	}
	return "application/octet-stream"
}

// ServeHot answers a GET request for a file that is in memory and never changes,
// and tells whether it did. It is the short way past a router.
func (s *Service) ServeHot(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || len(r.URL.Path) < 2 {
		return false
	}
	return s.serveKept(w, r, r.URL.Path[1:])
}

// serveKept answers with a file that never changes from what is at hand, and
// tells whether it did.
func (s *Service) serveKept(w http.ResponseWriter, r *http.Request, name string) bool {
	if e := s.hot.get(name); e != nil && e.immutable {
		s.answer(w, r, e)
		return true
	}
	if r.Header["Range"] == nil {
		return false
	}
	f := s.open.get(name)
	if f == nil {
		return false
	}
	defer s.open.release(f)
	return s.serveSpan(w, r, f)
}

// Serve answers a GET or HEAD request with the file of a name. An error, which
// wraps [mios.ErrNotFound] or [mios.ErrInvalid] where there is no such file, is
// for the caller to answer: then nothing was written.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request, name string) error {
	if s.serveKept(w, r, name) {
		return nil
	}
	for try := 1; ; try++ {
		written, err := s.serveOpened(w, r, name)
		// A pointer that moves while it is read, in S3, is read again.
		if err == nil || written || try == maxTries || r.Context().Err() != nil || errors.Is(err, mios.ErrNotFound) || errors.Is(err, mios.ErrInvalid) {
			return err
		}
	}
}

// maxTries is how often a file is read that changes meanwhile.
const maxTries = 5

// serveOpened answers with a file that has to be opened. It tells whether a part
// of the answer is written: then nothing can be mended.
func (s *Service) serveOpened(w http.ResponseWriter, r *http.Request, name string) (written bool, err error) {
	f, err := s.Tree.Open(r.Context(), name)
	if err != nil {
		return false, err
	}
	if f.Size() > maxHot {
		return s.serveLarge(w, r, name, f)
	}
	defer f.Close()
	e := s.hot.get(name)
	if e == nil || !e.stamp.same(stampOf(f)) {
		if e, err = s.load(name, f); err != nil {
			return false, err
		}
		s.hot.put(e)
	}
	s.answer(w, r, e)
	return true, nil
}

// Prepare makes the encodings of a file, unless they are there or it gains
// nothing by any. Without, they are made after the file was asked for first.
func (s *Service) Prepare(ctx context.Context, name string) error {
	f, err := s.Tree.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if !s.encodes(name, f.Size()) {
		return nil
	}
	digest, err := s.digest(ctx, name, f)
	if err != nil {
		return err
	}
	return s.makeAll(ctx, digest, f)
}

// load reads a small file.
func (s *Service) load(name string, f tree.File) (*entry, error) {
	b := make([]byte, f.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.Size()), b); err != nil {
		return nil, err
	}
	tag, immutable := s.immutable(name)
	e := &entry{name: name, tag: tag, immutable: immutable, stamp: stampOf(f), body: b, encodes: s.encodes(name, f.Size())}
	if tag == "" || e.encodes {
		e.digest = mios.Sum(b)
	}
	if tag == "" {
		e.tag = e.digest.String()
	}
	e.head = e.headOf(e.tag, "", len(b))
	if e.encodes {
		e.variants.Store(s.readVariants(e))
	}
	return e, nil
}

func (s *Service) immutable(name string) (tag string, ok bool) {
	if s.Immutable == nil {
		return "", false
	}
	if tag, ok = s.Immutable(name); !ok {
		tag = ""
	}
	return tag, ok
}

// answer writes a file that is in memory. The commonest requests are answered
// here; package http sees to the others.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, e *entry) {
	h := w.Header()
	in := r.Header
	if ranges := in["Range"]; len(ranges) > 0 {
		if start, n, ok := simpleRange(ranges[0], int64(len(e.body))); ok && len(ranges) == 1 && !conditional(in) {
			e.head.set(h)
			h["Content-Range"] = []string{contentRange(start, n, int64(len(e.body)))}
			h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
			w.WriteHeader(http.StatusPartialContent)
			s.write(w, r, e.body[start:start+n])
			return
		}
		s.serveContent(w, r, e)
		return
	}
	switch list := e.variants.Load(); {
	case !e.encodes || !encodable(in):
	case list == nil:
		s.wantSmall(e)
	default:
		if v := choose(in.Get("Accept-Encoding"), list); v != nil {
			v.head.set(h)
			s.writeUnless(w, r, v.tag, v.body)
			return
		}
	}
	if conditional(in) {
		s.serveContent(w, r, e)
		return
	}
	e.head.set(h)
	s.write(w, r, e.body)
}

// serveContent leaves a file that is in memory to package http.
func (s *Service) serveContent(w http.ResponseWriter, r *http.Request, e *entry) {
	h := w.Header()
	e.head.set(h)
	delete(h, "Content-Length") // ServeContent knows better
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(e.body))
}

// writeUnless writes an encoded file, whose header is set, unless the client
// has it.
func (s *Service) writeUnless(w http.ResponseWriter, r *http.Request, tag string, b []byte) {
	if r.Header["If-None-Match"] == nil {
		s.write(w, r, b)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (s *Service) write(w http.ResponseWriter, r *http.Request, b []byte) {
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(b); err != nil {
		s.Log.DebugContext(r.Context(), "reader went away", "path", r.URL.Path, "err", err)
	}
}

// serveLarge answers with a file that stays where it is, and closes it or keeps
// it open.
func (s *Service) serveLarge(w http.ResponseWriter, r *http.Request, name string, f tree.File) (written bool, err error) {
	tag, immutable := s.immutable(name)
	e := &entry{name: name, tag: tag, immutable: immutable, encodes: s.encodes(name, f.Size())}
	kept := &openFile{File: f, name: name, refs: 1}
	defer s.open.release(kept)
	if tag == "" || e.encodes {
		if e.digest, err = s.digest(r.Context(), name, f); err != nil {
			return false, err
		}
	}
	if tag == "" {
		e.tag = e.digest.String()
	}
	h := w.Header()
	if e.encodes && encodable(r.Header) {
		if v, c := s.openVariant(r.Header.Get("Accept-Encoding"), e); v != nil {
			defer v.Close()
			fi, err := v.Stat()
			if err != nil {
				return false, err
			}
			e.headOf(e.tag+"-"+c.name, c.name, int(fi.Size())).set(h)
			http.ServeContent(w, r, "", time.Time{}, v)
			return true, nil
		}
	}
	kept.head = e.headOf(e.tag, "", int(f.Size()))
	if _, _, ok := smallSpan(r, f.Size()); ok && immutable {
		s.open.put(kept)
		if s.serveSpan(w, r, kept) {
			return true, nil
		}
	}
	kept.head.set(h)
	delete(h, "Content-Length")
	http.ServeContent(w, r, "", time.Time{}, f)
	return true, nil
}

// openVariant opens the encoding of a large file that a client wants most, or
// has them made.
func (s *Service) openVariant(accept string, e *entry) (*os.File, *coding) {
	list, all := s.statVariants(e.digest)
	if !all {
		s.wantLarge(e)
	}
	v := choose(accept, &list)
	if v == nil {
		return nil, nil
	}
	f, err := os.Open(s.encodedPath(e.digest, v.coding))
	if err != nil {
		return nil, nil // somebody swept: the file as it is does as well
	}
	return f, v.coding
}

// known is what a large file was, and its digest.
type known struct {
	stamp  stamp
	digest mios.Digest
}

// digest returns the SHA-256 of a large file. It reads the file when that is
// not the one it was.
func (s *Service) digest(ctx context.Context, name string, f tree.File) (mios.Digest, error) {
	if tag, ok := s.immutable(name); ok {
		if d, err := mios.ParseDigest(tag); err == nil {
			return d, nil
		}
	}
	now := stampOf(f)
	s.mu.Lock()
	k, ok := s.digests[name]
	s.mu.Unlock()
	if ok && k.stamp.same(now) {
		return k.digest, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, readerContext{ctx, io.NewSectionReader(f, 0, f.Size())}); err != nil {
		return mios.Digest{}, err
	}
	k = known{now, mios.Digest(h.Sum(nil))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.digests == nil || len(s.digests) >= maxDigests {
		s.digests = map[string]known{}
	}
	s.digests[name] = k
	return k.digest, nil
}

// readerContext ends a long copy with its context.
type readerContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
