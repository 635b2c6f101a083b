// Package storage opens what a URL names. Which kinds there are and what each
// guarantees stands in docs/storage.md.
package storage

import (
	"context"
	"fmt"
	"strings"

	"mios"
	"mios/storage/blob"
	blobdir "mios/storage/blob/dir"
	blobs3 "mios/storage/blob/s3"
	"mios/storage/record"
	"mios/storage/s3"
	"mios/storage/tree"
	treedir "mios/storage/tree/dir"
	trees3 "mios/storage/tree/s3"
)

// Records opens the database at a URL: see [record.Open].
func Records(ctx context.Context, url string) (*record.DB, error) { return record.Open(ctx, url) }

// Blobs opens the blobs at a URL: a folder, as "file:PATH" or a path, or
// "s3://KEY:SECRET@HOST/BUCKET/PREFIX?region=R&tls=0", where KEY:SECRET and the
// region may come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN and AWS_REGION instead, and tls=0 speaks plain HTTP.
func Blobs(ctx context.Context, url string) (blob.Store, error) {
	path, bucket, err := parse(url)
	switch {
	case err != nil:
		return nil, err
	case bucket != nil:
		return blobs3.New(bucket), nil
	}
	return blobdir.New(path), nil
}

// Tree opens the tree at a URL of the same kinds as [Blobs].
func Tree(ctx context.Context, url string) (tree.Tree, error) {
	path, bucket, err := parse(url)
	switch {
	case err != nil:
		return nil, err
	case bucket != nil:
		return trees3.New(bucket), nil
	}
	return treedir.New(path), nil
}

// parse returns the folder or the bucket that a URL names.
func parse(url string) (path string, bucket *s3.Bucket, err error) {
	scheme, rest, ok := strings.Cut(url, ":")
	switch {
	case ok && scheme == "s3":
		bucket, err = s3.Parse(url)
		return "", bucket, err
	case ok && scheme == "file":
		path = strings.TrimPrefix(rest, "//")
	case !strings.Contains(scheme, "://") && !(ok && strings.HasPrefix(rest, "//")):
		path = url
	}
	if path == "" {
		return "", nil, fmt.Errorf("storage %.20q: %w: want a folder, file:PATH or s3://KEY:SECRET@HOST/BUCKET/PREFIX", scheme+":", mios.ErrInvalid)
	}
	return path, nil, nil
}
