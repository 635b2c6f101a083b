package check

import (
	"context"
	"errors"

	"mios/publish/app/report"
)

// Inspect reads a base package and its splits, in any order. What is wrong with
// them stands in the facts; an error is of a file that is no package, and wraps
// mios.ErrInvalid.
func Inspect(ctx context.Context, files []report.Package) (*Facts, error) {
	return nil, errors.New("inspect: not written yet")
}
