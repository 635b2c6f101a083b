// Package storage opens what a URL names. Which kinds there are and what each
// guarantees stands in docs/storage.md.
package storage

import (
	"context"

	"mios/storage/blob"
	"mios/storage/record"
	"mios/storage/tree"
)

// Records opens the database at a URL: see [record.Open].
func Records(ctx context.Context, url string) (*record.DB, error) { return record.Open(ctx, url) }

// Blobs opens the blobs at a URL: a folder, as "file:PATH" or a path, or
// "s3://KEY:SECRET@HOST/BUCKET/PREFIX?region=R&tls=0", where KEY:SECRET may come
// from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead.
func Blobs(ctx context.Context, url string) (blob.Store, error) { return openBlobs(ctx, url) }

// Tree opens the tree at a URL of the same kinds as [Blobs].
func Tree(ctx context.Context, url string) (tree.Tree, error) { return openTree(ctx, url) }
