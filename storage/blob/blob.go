// Package blob keeps bytes by their SHA-256, and uploads that go on after the
// connection or the process that brought them has broken off.
package blob

import (
	"context"
	"io"
	"iter"
	"time"

	"mios"
	"mios/storage/tree"
)

// A Store keeps bytes by their digest. Its methods may be called concurrently,
// and by several processes.
type Store interface {
	// Put stores what r yields and returns once it is durable. Unless want is
	// the zero digest, bytes that have another one are refused, with an error
	// that wraps [mios.ErrInvalid], and nothing is stored. Bytes that are there
	// already are no error.
	Put(ctx context.Context, r io.Reader, want mios.Digest) (mios.Digest, int64, error)

	// Open returns bytes, for the caller to close. The error wraps
	// [mios.ErrNotFound] where there are none with that digest.
	Open(ctx context.Context, d mios.Digest) (File, error)

	// Delete removes bytes; that there are none is no error. Who has them open
	// may or may not read on.
	Delete(ctx context.Context, d mios.Digest) error

	// List yields all that is stored, sorted by digest. It ends after an error.
	List(ctx context.Context) iter.Seq2[Info, error]

	// Uploads returns the uploads that are to become blobs of the store.
	Uploads() Uploads
}

// A File is an open blob.
type File = tree.File

// Info tells of one blob.
type Info struct {
	Digest   mios.Digest
	Size     int64
	Modified time.Time // when it was stored
}

// Uploads are bytes on their way into a [Store], which any process may carry on
// with. The errors wrap [mios.ErrNotFound] for an ID that is not there or has
// expired.
type Uploads interface {
	// Create begins an upload and returns its ID, which cannot be guessed.
	Create(ctx context.Context, o UploadOptions) (id string, err error)

	// Get returns how far an upload is.
	Get(ctx context.Context, id string) (*Upload, error)

	// Append adds what r yields at an offset, which must be where the upload
	// is, else the error wraps [mios.ErrConflict]; bytes beyond its limit are
	// refused with [mios.ErrInvalid], and what was within stays. When r fails,
	// what it has yielded stays too. It returns where the upload is now, once
	// that is durable, with an error also.
	Append(ctx context.Context, id string, offset int64, r io.Reader) (int64, error)

	// Finish makes the upload a blob and ends it. The error wraps
	// [mios.ErrInvalid] when it is shorter than its size or, unless want is
	// zero, has another digest; then it is still there.
	Finish(ctx context.Context, id string, want mios.Digest) (mios.Digest, int64, error)

	// Remove ends an upload without a blob; that there is none is no error.
	Remove(ctx context.Context, id string) error

	// Sweep removes uploads that have expired and what writers that were
	// killed have left behind over a day ago, and returns how many these were.
	Sweep(ctx context.Context) (int, error)
}

// UploadOptions are what is known of an upload before it starts.
type UploadOptions struct {
	Size    int64             // bytes that it will have; -1: not known yet
	Max     int64             // the most bytes that it may have
	Expires time.Time         // when it ends unless it is finished before
	Meta    map[string]string // whatever the caller wants to find again, of at most 16 KiB
}

// An Upload is the state of an upload.
type Upload struct {
	UploadOptions
	ID     string
	Offset int64 // bytes that it has
}
