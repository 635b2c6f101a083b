// Package s3 keeps blobs in a bucket: blobs/aabb… for each, by its digest, and
// below uploads/ what is not complete.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"mios"
	"mios/storage/blob"
	"mios/storage/s3"
)

// A Store is a [blob.Store] in a bucket, of blobs of up to [s3.MaxObject] bytes.
type Store struct{ blobs, uploads *s3.Bucket }

// New returns the store in a bucket.
func New(bucket *s3.Bucket) *Store {
	return &Store{bucket.Sub("blobs"), bucket.Sub("uploads")}
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, r io.Reader, want mios.Digest) (mios.Digest, int64, error) {
	d, n, err := s.put(ctx, r, want)
	if err != nil {
		return mios.Digest{}, 0, fmt.Errorf("store blob: %w", err)
	}
	return d, n, nil
}

func (s *Store) put(ctx context.Context, r io.Reader, want mios.Digest) (d mios.Digest, n int64, err error) {
	body, err := s3.Spool(ctx, r)
	if err != nil {
		return d, 0, err
	}
	defer body.Close()
	if err := blob.Verify(body.Digest, want); err != nil {
		return d, 0, err
	}
	return body.Digest, body.Size, s.blobs.Put(ctx, body.Digest.String(), body, s3.Condition{}, true)
}

// Open implements [blob.Store]. The file can be read while ctx lasts.
func (s *Store) Open(ctx context.Context, d mios.Digest) (blob.File, error) {
	f, err := s.blobs.Open(ctx, d.String())
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return f, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, d mios.Digest) error {
	return s.blobs.Delete(ctx, d.String())
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for o, err := range s.blobs.List(ctx, "") {
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			d, err := mios.ParseDigest(o.Name)
			if errors.Is(err, mios.ErrInvalid) {
				continue // no blob of ours
			}
			if !yield(blob.Info{Digest: d, Size: o.Size, Modified: o.Modified}, nil) {
				return
			}
		}
	}
}

// Uploads implements [blob.Store].
func (s *Store) Uploads() blob.Uploads { return uploads{s} }

var _ blob.Store = (*Store)(nil)
