package storage

import (
	"context"
	"fmt"
	"strings"

	"mios"
	"mios/storage/blob"
	blobdir "mios/storage/blob/dir"
	"mios/storage/tree"
	treedir "mios/storage/tree/dir"
)

func openBlobs(ctx context.Context, url string) (blob.Store, error) {
	path, err := folder(url)
	return blobdir.New(path), err
}

func openTree(ctx context.Context, url string) (tree.Tree, error) {
	path, err := folder(url)
	return treedir.New(path), err
}

// folder returns the folder that a URL names.
func folder(url string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(url, "file:"), "//")
	if path == "" || strings.Contains(path, "://") {
		return "", fmt.Errorf("storage: %w: want a folder", mios.ErrInvalid)
	}
	return path, nil
}
