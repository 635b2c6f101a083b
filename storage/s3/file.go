package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mios"
)

// A File reads an object: from one request, as long as it is read in order. All
// that is read is of the object that was opened, or fails.
type File struct {
	ctx    context.Context
	bucket *Bucket
	object *Object
	pos    int64
	body   io.ReadCloser // at bodyAt; or nil
	bodyAt int64
}

// Open opens an object, to be read while ctx lasts. The error wraps
// [mios.ErrNotFound] if there is none.
func (b *Bucket) Open(ctx context.Context, name string) (*File, error) {
	res, err := b.get(ctx, name, 0, -1, "")
	if err != nil {
		return nil, err
	}
	if res.ContentLength < 0 {
		res.Body.Close()
		return nil, fmt.Errorf("S3: %s%s: the server does not tell its size", b, name)
	}
	return &File{ctx: ctx, bucket: b, object: describe(name, res), body: res.Body}, nil
}

// Object returns what is known of the object.
func (f *File) Object() *Object { return f.object }

// Size returns the size in bytes.
func (f *File) Size() int64 { return f.object.Size }

// Modified returns when the object was put.
func (f *File) Modified() time.Time { return f.object.Modified }

// Close ends the reading.
func (f *File) Close() error {
	if f.body == nil {
		return nil
	}
	body := f.body
	f.body = nil
	return body.Close()
}

// Seek implements [io.Seeker]. It asks nothing of the server.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.Size()
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fmt.Errorf("S3: %s: %w: seek to %d", f.object.Name, mios.ErrInvalid, offset)
	}
	f.pos = offset
	return offset, nil
}

// Read implements [io.Reader]. Where a connection breaks it goes on with another.
func (f *File) Read(p []byte) (int, error) {
	if f.pos >= f.Size() {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for try := 1; ; try++ {
		n, err := f.read(p)
		f.pos += int64(n)
		f.bodyAt = f.pos
		switch {
		case n > 0, err == nil:
			return n, nil
		case try == attempts, f.ctx.Err() != nil, errors.Is(err, mios.ErrConflict), errors.Is(err, mios.ErrNotFound):
			return 0, fmt.Errorf("S3: read %s%s: %w", f.bucket, f.object.Name, err)
		}
		f.Close() // and again
	}
}

// read reads once, from a connection at the right place.
func (f *File) read(p []byte) (int, error) {
	if f.body != nil && f.bodyAt != f.pos {
		f.Close()
	}
	if f.body == nil {
		res, err := f.bucket.get(f.ctx, f.object.Name, f.pos, -1, f.object.ETag)
		if err != nil {
			return 0, err
		}
		f.body, f.bodyAt = res.Body, f.pos
	}
	n, err := f.body.Read(p[:min(int64(len(p)), f.Size()-f.pos)])
	if err == io.EOF && f.pos+int64(n) < f.Size() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// ReadAt implements [io.ReaderAt]: one request each.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("S3: %s: %w: read at %d", f.object.Name, mios.ErrInvalid, off)
	}
	n := min(int64(len(p)), max(0, f.Size()-off))
	if n > 0 {
		if err := f.readAt(p[:n], off); err != nil {
			return 0, fmt.Errorf("S3: read %s%s: %w", f.bucket, f.object.Name, err)
		}
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (f *File) readAt(p []byte, off int64) error {
	var last error
	for try := 1; try <= attempts; try++ {
		res, err := f.bucket.get(f.ctx, f.object.Name, off, int64(len(p)), f.object.ETag)
		if err != nil {
			return err
		}
		_, last = io.ReadFull(res.Body, p)
		res.Body.Close()
		if last == nil || f.ctx.Err() != nil {
			break
		}
	}
	return last
}
