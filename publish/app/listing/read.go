package listing

import (
	"context"
	"errors"
	"io/fs"
)

// Read reads the listing in a folder that has one subfolder a locale:
// metadata/android of a project. Pictures are made by convert. What is wrong
// stands in the problems, and is left out of the listing; the error is of a
// folder that cannot be read at all.
func Read(ctx context.Context, dir fs.FS, convert Converter) (*Listing, []Problem, error) {
	return nil, nil, errors.New("listing: not written yet")
}

// Convert checks a picture in this process and makes of it what clients get. It
// is a [Converter].
func Convert(ctx context.Context, in []byte, kind Kind) ([]Picture, error) {
	return nil, errors.New("picture: not written yet")
}

// Icons makes icons of all sizes of one that was drawn from a package.
func Icons(png []byte) ([]Picture, error) {
	return nil, errors.New("icons: not written yet")
}
