package worker

import (
	"context"
	"errors"

	"mios/publish/app/check"
	"mios/publish/app/listing"
)

// Main becomes a worker and does not return, if this process was started as
// one. It is to be called before anything else happens.
func Main() {}

// Inspect is [check.Inspect] in a child. What the files are to blame for, a
// child that died over them included, wraps mios.ErrInvalid.
func (w *Worker) Inspect(ctx context.Context, files []File) (*check.Facts, error) {
	return nil, errors.New("worker: not written yet")
}

// Convert is [listing.Convert] in a child. It is a [listing.Converter].
func (w *Worker) Convert(ctx context.Context, in []byte, kind listing.Kind) ([]listing.Picture, error) {
	return nil, errors.New("worker: not written yet")
}
