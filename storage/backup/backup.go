// Package backup copies all that a store keeps, its records, blobs, public tree
// and the repository's own state, as of one moment and while it runs, into one
// tar file, and brings it back into an empty store, of the same or of another
// kind of storage. Uploads that are not finished, and keys, are not in it.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mios"
	"mios/storage/blob"
	"mios/storage/record"
	"mios/storage/tree"
)

// A Set is what is backed up, or where a backup goes. What is nil is left out.
type Set struct {
	Records *record.DB
	Blobs   blob.Store
	Tree    tree.Tree // the public tree
	State   tree.Tree // files beside it that StateHas tells of

	StateHas func(name string) bool // nil: all files
	Moves    func(name string) bool // the public tree's pointers, which are restored last; nil: none
}

// has tells whether a file of the state belongs to the set.
func (s *Set) has(name string) bool { return s.StateHas == nil || s.StateHas(name) }

// A Summary is what a backup has.
type Summary struct {
	Time  time.Time `json:"time"`  // when it was made
	Rows  int64     `json:"rows"`  // of all tables
	Blobs int       `json:"blobs"` // by digest
	Files int       `json:"files"` // of the public tree
	State int       `json:"state"` // files of the repository's own
	Bytes int64     `json:"bytes"` // of the backup; what is there twice is kept once
}

// A backup is a tar file of entries data/SHA256, each once, and, as the last
// one, the manifest.
const (
	format       = "mios backup 1"
	dataPrefix   = "data/"
	manifestName = "manifest.json"
	maxManifest  = 1 << 30
)

// manifest says what the data is.
type manifest struct {
	Format  string     `json:"format"`
	Time    time.Time  `json:"time"`
	Records *content   `json:"records,omitempty"` // as record.DB.Dump writes them
	Rows    int64      `json:"rows"`
	Blobs   []content  `json:"blobs"`
	Tree    []fileItem `json:"tree"`
	State   []fileItem `json:"state"`
}

type content struct {
	SHA256 mios.Digest `json:"sha256"`
	Size   int64       `json:"size"`
}

type fileItem struct {
	Name string `json:"name"`
	content
}

func (m *manifest) summary(size int64) *Summary {
	return &Summary{m.Time, m.Rows, len(m.Blobs), len(m.Tree), len(m.State), size}
}

// digest returns the digest and the size of what r yields.
func digest(ctx context.Context, r io.Reader) (content, error) {
	h := newHash(ctx, r)
	n, err := io.Copy(io.Discard, h)
	return content{h.sum(), n}, err
}

// busy is how often all is looked at before a store that keeps changing is
// given up.
const busy = 25

var errBusy = fmt.Errorf("%w: the store has changed each of the %d times that all of it was looked at: try again when less is published", mios.ErrConflict, busy)

// gone tells of a file that was there a moment ago.
func gone(err error) bool { return errors.Is(err, mios.ErrNotFound) }
