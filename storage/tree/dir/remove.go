package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Remove is what [mios/storage/tree.Remove] calls. It is not durable at once:
// after a power cut a file may be there again, which harms nobody.
func (t *Tree) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		path, err := t.path(name)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
