package avb

import (
	"context"

	"mios/internal/pieces"
)

// parallel is [pieces.Items] of what does not end before it is done.
func parallel(n int, newWork func() (work func(i int) error)) error {
	return pieces.Items(context.Background(), n, newWork)
}
