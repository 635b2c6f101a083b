package store

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mios"
	"mios/storage/blob"
)

// What is spoken of the tus protocol (https://tus.io/protocols/resumable-upload).
const (
	tusVersion    = "1.0.0"
	tusExtensions = "creation,creation-with-upload,termination,checksum,expiration"
	tusChecksums  = "sha1,sha256"
	tusType       = "application/offset+octet-stream"
	// statusChecksum is the protocol's own.
	statusChecksum = 460
)

// A tusRoute is a method on a path, not of the API's JSON.
type tusRoute struct {
	method, path string
	do           func(http.ResponseWriter, *http.Request) error
}

func (s *Service) tusRoutes() []tusRoute {
	return []tusRoute{
		{"OPTIONS", "/uploads", s.tusOptions},
		{"OPTIONS", "/uploads/{id}", s.tusOptions},
		{"POST", "/uploads", s.tus(s.tusCreate)},
		{"POST", "/uploads/{id}", s.tus(s.tusOverride)},
		{"HEAD", "/uploads/{id}", s.tus(s.tusHead)},
		{"PATCH", "/uploads/{id}", s.tus(s.tusPatch)},
		{"DELETE", "/uploads/{id}", s.tus(s.tusDelete)},
	}
}

func (s *Service) tusOptions(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Tus-Resumable", tusVersion)
	h.Set("Tus-Version", tusVersion)
	h.Set("Tus-Extension", tusExtensions)
	h.Set("Tus-Checksum-Algorithm", tusChecksums)
	h.Set("Tus-Max-Size", strconv.FormatInt(s.MaxUpload, 10))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// tus is what requests of the protocol have in common.
func (s *Service) tus(do func(w http.ResponseWriter, r *http.Request, t *Token) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Tus-Resumable", tusVersion)
		if v := r.Header.Get("Tus-Resumable"); v != tusVersion {
			h.Set("Tus-Version", tusVersion)
			return &Problem{Status: http.StatusPreconditionFailed, Title: "Other protocol", Detail: fmt.Sprintf("uploads speak tus %s and the header Tus-Resumable says %q: send %s", tusVersion, v, tusVersion)}
		}
		// What comes before a connection breaks is kept, whoever is quicker.
		r = r.WithContext(context.WithoutCancel(r.Context()))
		t, err := s.authenticate(r, Upload)
		if err != nil {
			return err
		}
		return do(w, r, t)
	}
}

// tusOverride is for those who can send nothing but POST.
func (s *Service) tusOverride(w http.ResponseWriter, r *http.Request, t *Token) error {
	switch r.Header.Get("X-HTTP-Method-Override") {
	case http.MethodPatch:
		return s.tusPatch(w, r, t)
	case http.MethodDelete:
		return s.tusDelete(w, r, t)
	}
	return &Problem{Status: http.StatusMethodNotAllowed, Title: "Wrong method", Detail: "POST begins an upload at " + Base + "/uploads: send PATCH here, or X-HTTP-Method-Override: PATCH"}
}

func (s *Service) tusCreate(w http.ResponseWriter, r *http.Request, t *Token) error {
	size, err := count(r.Header, "Upload-Length")
	if err != nil {
		return err
	}
	if size > s.MaxUpload {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Title: "Too large", Detail: fmt.Sprintf("the upload would have %d bytes, and this store takes %d: make the package smaller, or split it by ABI", size, s.MaxUpload)}
	}
	meta, err := metadata(r.Header.Get("Upload-Metadata"))
	if err != nil {
		return err
	}
	up := &upload{Who: t.Who, Name: meta["filename"], Size: size, Expires: time.Now().Add(uploadAge).Truncate(time.Second)}
	if err := up.check(meta["sha256"]); err != nil {
		return err
	}
	if err := s.quota(r.Context(), t, size); err != nil {
		return err
	}
	want := ""
	if up.want != (mios.Digest{}) {
		want = up.want.String()
	}
	id, err := s.App.Blobs().Uploads().Create(r.Context(), blob.UploadOptions{Size: size, Max: size, Expires: up.Expires,
		Meta: map[string]string{"who": t.Who, "name": up.Name, "sha256": want, "metadata": r.Header.Get("Upload-Metadata")}})
	if err != nil {
		return err
	}
	up.ID = id
	if err := s.saveUpload(r.Context(), up); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Location", Base+"/uploads/"+id)
	h.Set("Upload-Expires", up.Expires.UTC().Format(http.TimeFormat))
	offset := int64(0)
	if r.Header.Get("Content-Type") == tusType || size == 0 {
		if offset, err = s.receive(w, r, up, 0); err != nil {
			// What came is kept, and where it goes on the client can ask.
			s.Log.Info("an upload's first bytes did not all come", "id", id, "err", err)
			if p := problemOf(err); p.Status >= 400 && p.Status < 500 && p.Status != http.StatusRequestTimeout {
				return err
			}
		}
		h.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// count reads a header that must be a number of bytes.
func count(h http.Header, name string) (int64, error) {
	text := h.Get(name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' {
		return 0, badRequest("the header %s is %q: send the number of bytes", name, text)
	}
	return n, nil
}

// metadata reads Upload-Metadata: pairs of a name and its value in Base64.
func metadata(text string) (map[string]string, error) {
	if len(text) > 8<<10 {
		return nil, badRequest("Upload-Metadata has %d bytes: want at most 8192", len(text))
	}
	m := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		if name == "" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			return nil, badRequest("Upload-Metadata: the value of %q is no Base64", name)
		}
		if _, ok := m[name]; ok {
			return nil, badRequest("Upload-Metadata has %q twice", name)
		}
		m[name] = string(b)
	}
	return m, nil
}

func (s *Service) tusHead(w http.ResponseWriter, r *http.Request, t *Token) error {
	up, err := s.loadUpload(r.Context(), t, r.PathValue("id"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Upload-Offset", strconv.FormatInt(up.Offset, 10))
	h.Set("Upload-Length", strconv.FormatInt(up.Size, 10))
	h.Set("Upload-Expires", up.Expires.UTC().Format(http.TimeFormat))
	if up.Metadata != "" {
		h.Set("Upload-Metadata", up.Metadata)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) tusDelete(w http.ResponseWriter, r *http.Request, t *Token) error {
	up, err := s.loadUpload(r.Context(), t, r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := s.removeUpload(r.Context(), up); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) tusPatch(w http.ResponseWriter, r *http.Request, t *Token) error {
	if kind := r.Header.Get("Content-Type"); kind != tusType {
		return &Problem{Status: http.StatusUnsupportedMediaType, Title: "Wrong type", Detail: fmt.Sprintf("the bytes are %q: send the header Content-Type: %s", kind, tusType)}
	}
	offset, err := count(r.Header, "Upload-Offset")
	if err != nil {
		return err
	}
	up, err := s.loadUpload(r.Context(), t, r.PathValue("id"))
	if err != nil {
		return err
	}
	if offset != up.Offset {
		return &Problem{Status: http.StatusConflict, Title: "Other offset", Detail: fmt.Sprintf("the upload has %d bytes and these begin at %d: ask by HEAD, and go on where it is", up.Offset, offset)}
	}
	if up.done() {
		offset = up.Offset
	} else if offset, err = s.receive(w, r, up, offset); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	h.Set("Upload-Expires", up.Expires.UTC().Format(http.TimeFormat))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// receive takes bytes of an upload from a request, and completes it with the
// last. It returns where the upload is.
func (s *Service) receive(w http.ResponseWriter, r *http.Request, up *upload, offset int64) (int64, error) {
	left := up.Size - offset
	if r.ContentLength > left {
		return offset, tooMuch(up)
	}
	in := &steady{r: r.Body, c: http.NewResponseController(w), began: time.Now(), stall: s.stall}
	over := &overflow{r: in, left: left}
	body := io.Reader(over)
	if sum := r.Header.Get("Upload-Checksum"); sum != "" {
		f, err := spool(body, sum, left)
		if err != nil && in.failed != nil {
			return offset, in.problem(0, "nothing of them, for their checksum covers all")
		}
		if err != nil {
			return offset, err
		}
		defer f.Close()
		body = f
	}
	ctx, began := r.Context(), offset
	offset, err := s.App.Blobs().Uploads().Append(ctx, up.ID, offset, body)
	switch {
	case over.over:
		if err := s.removeUpload(ctx, up); err != nil {
			return offset, err
		}
		return offset, tooMuch(up)
	case err != nil && in.failed != nil:
		return offset, in.problem(offset-began, "what came")
	case errors.Is(err, mios.ErrConflict):
		return offset, &Problem{Status: http.StatusConflict, Title: "Other offset", Detail: "another request is uploading the same: ask by HEAD where it is, and go on there", cause: err}
	case err != nil:
		return offset, err
	case offset < up.Size:
		return offset, nil
	}
	return offset, s.finish(ctx, up)
}

func tooMuch(up *upload) error {
	return &Problem{Status: http.StatusRequestEntityTooLarge, Title: "Too large", Detail: fmt.Sprintf("more bytes came than the upload's Upload-Length, %d: begin another upload", up.Size)}
}

// An overflow ends where an upload does, and notes what comes beyond.
type overflow struct {
	r    io.Reader
	left int64
	over bool
}

func (o *overflow) Read(p []byte) (int, error) {
	if o.left == 0 {
		var one [1]byte
		n, err := o.r.Read(one[:])
		if n > 0 {
			o.over = true
			return 0, mios.ErrInvalid
		}
		return 0, err
	}
	n, err := o.r.Read(p[:min(int64(len(p)), o.left)])
	o.left -= int64(n)
	return n, err
}

// How fast bytes must come.
const (
	maxStall = 30 * time.Second // without any
	minRate  = 1 << 10          // bytes a second, in the long run
)

var errSlow = errors.New("the bytes come too slowly")

// A steady reader fails when bytes stop coming, or drip. It notes why: what fails
// here is the sender's, whatever of it comes out of what reads.
type steady struct {
	r      io.Reader
	c      *http.ResponseController
	began  time.Time
	stall  time.Duration
	n      int64
	failed error
}

func (s *steady) Read(p []byte) (n int, err error) {
	defer func() {
		if err != nil && err != io.EOF {
			s.failed = err
		}
	}()
	if time.Since(s.began) > s.stall+time.Duration(s.n/minRate)*time.Second {
		return 0, errSlow
	}
	if err := s.c.SetReadDeadline(time.Now().Add(s.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err = s.r.Read(p)
	s.n += int64(n)
	return n, err
}

// problem says why bytes stopped coming, after how many, and what of them is kept.
// A connection that broke, which in HTTP/1 is an end of file or a reset and in
// HTTP/2 a stream's, takes no answer: it is for the log.
func (s *steady) problem(n int64, kept string) *Problem {
	if errors.Is(s.failed, os.ErrDeadlineExceeded) || errors.Is(s.failed, errSlow) {
		return &Problem{Status: http.StatusRequestTimeout, Title: "Too slow", Detail: "the bytes stopped coming: kept is " + kept + "; ask by HEAD where to go on", cause: s.failed}
	}
	return &Problem{Status: http.StatusBadRequest, Title: "Broken off", Detail: fmt.Sprintf("the connection broke after %d bytes: kept is %s; ask by HEAD where to go on", n, kept), cause: s.failed}
}

// spool reads bytes into a file without a name and compares their checksum, so
// that nothing of what is wrong gets into the upload.
func spool(r io.Reader, sum string, left int64) (*os.File, error) {
	algorithm, text, _ := strings.Cut(sum, " ")
	hashes := map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New}
	make, ok := hashes[algorithm]
	if !ok {
		return nil, badRequest("Upload-Checksum by %q: send one by %s", algorithm, strings.Join(slices.Sorted(maps.Keys(hashes)), " or "))
	}
	want, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	h := make()
	if err != nil || len(want) != h.Size() {
		return nil, badRequest("Upload-Checksum %q is no %s in Base64", text, algorithm)
	}
	f, err := os.CreateTemp("", "mios-upload-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	_, err = io.Copy(io.MultiWriter(f, h), r)
	if err == nil && !slices.Equal(h.Sum(nil), want) {
		err = &Problem{Status: statusChecksum, Title: "Checksum mismatch", Detail: "the bytes have another checksum than Upload-Checksum: nothing of them is kept; send them again"}
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
