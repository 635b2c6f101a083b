package fdroid

import (
	"context"
	"crypto"
	"errors"
	"iter"
	"time"

	"mios"
	"mios/storage/tree"
)

// A Config says whose repository it is.
type Config struct {
	Tree        tree.Tree
	Key         crypto.Signer // RSA; key role "fdroid"
	Certificate []byte        // DER, self-signed, of that key; see [Certificate]

	Name        Text
	Description Text
	Icon        []byte   // PNG; nil: none
	Address     string   // URL of the folder: "https://example.org/apps"
	Mirrors     []string // URLs of the same folder elsewhere
	WebBase     string   // URL that a package's name is appended to; "": none

	Categories   map[string]Group // those without one get their own name
	AntiFeatures map[string]Group
	Channels     map[string]Group // release channels
	Install      []string         // packages that clients shall install
	Uninstall    []string         // or remove

	// Time is that of the indexes, and of the files in the jars. One that is
	// not later than that of the indexes in the tree becomes a millisecond
	// later: clients take no index that is not newer than theirs.
	Time time.Time
}

// A Group is something that apps are in.
type Group struct {
	Name, Description Text
	Icon              Images
}

// A Result is what was published.
type Result struct {
	Time     time.Time   // of the newest indexes
	Index    mios.Digest // of index-v2
	Packages int
	Changed  bool // false: all was there already
	Diffs    int
	Stale    []string // names of files that nothing points at any more
}

// Publish writes the indexes of all apps, which come in ascending order of
// their packages, and moves the pointers to them. If nothing has changed since
// the last time, it makes sure that the pointers are where they should be.
// A client sees the old repository or the new one, never half of it. It may be
// called by several processes; the error of one that was overtaken wraps
// [mios.ErrConflict].
//
// It reads apps once. Memory is bounded by the largest app, some hundred bytes
// a package, and the packed index-v1.jar, which moves as one pointer.
func Publish(ctx context.Context, c Config, apps iter.Seq2[*App, error]) (*Result, error) {
	return nil, errors.New("publish the F-Droid repository: not written yet")
}

// Certificate returns the self-signed certificate, DER, of an RSA key for a
// repository of that name: what clients know the repository by. It is the same
// for the same key, name and time. It is to be kept: a new one is a new
// repository to clients.
func Certificate(key crypto.Signer, name string, from time.Time) ([]byte, error) {
	return nil, errors.New("certificate: not written yet")
}
