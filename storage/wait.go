package storage

import (
	"context"
	"errors"

	"mios/storage/blob"
	"mios/storage/tree"
)

func openBlobs(ctx context.Context, url string) (blob.Store, error) {
	return nil, errors.New("storage: blobs follow")
}

func openTree(ctx context.Context, url string) (tree.Tree, error) {
	return nil, errors.New("storage: trees follow")
}
