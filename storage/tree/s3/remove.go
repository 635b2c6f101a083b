package s3

import (
	"context"
	"errors"
	"fmt"

	"mios"
	"mios/storage/tree"
)

// Remove is what [tree.Remove] calls.
func (t *Tree) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		err := tree.CheckName(name)
		if err == nil {
			err = t.bucket.Delete(ctx, name)
		}
		if err != nil && !errors.Is(err, mios.ErrNotFound) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
