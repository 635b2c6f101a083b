package tree

import (
	"context"
	"errors"
	"fmt"
)

// Remove removes files that nothing names any more. One that is not there is no
// error. Trees of this module have a method of that name; of another, nothing is
// removed, and the error wraps [errors.ErrUnsupported].
func Remove(ctx context.Context, t Tree, names ...string) error {
	r, ok := t.(interface {
		Remove(ctx context.Context, names ...string) error
	})
	if !ok {
		return fmt.Errorf("tree: remove %d files: %w", len(names), errors.ErrUnsupported)
	}
	return r.Remove(ctx, names...)
}
