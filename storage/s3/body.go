package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"mios"
	"mios/internal/ctxio"
)

// A Body is what is put: bytes that may be read again when a request has to be
// sent again, and whose digest is signed.
type Body struct {
	io.ReaderAt
	Size   int64
	Digest mios.Digest
	close  func() error
}

// Bytes returns a body that is in memory.
func Bytes(b []byte) *Body {
	return &Body{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Digest: mios.Sum(b)}
}

// inMemory is up to where a body needs no file.
const inMemory = 1 << 20

// Spool reads all of r, into memory or a temporary file, which is gone after
// Close or the end of the process.
func Spool(ctx context.Context, r io.Reader) (*Body, error) {
	r = ctxio.Reader(ctx, r)
	first, err := io.ReadAll(io.LimitReader(r, inMemory))
	if err != nil {
		return nil, err
	}
	if len(first) < inMemory {
		return Bytes(first), nil
	}
	f, err := os.CreateTemp("", "mios-spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil { // it lives as long as it is open
		return nil, errors.Join(err, f.Close())
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.MultiReader(bytes.NewReader(first), r))
	if err == nil && n > MaxObject {
		err = fmt.Errorf("%w: %d bytes, and S3 takes at most %d", mios.ErrInvalid, n, int64(MaxObject))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Body{ReaderAt: f, Size: n, Digest: mios.Digest(h.Sum(nil)), close: f.Close}, nil
}

// Close frees what the body needs.
func (b *Body) Close() error {
	if b.close == nil {
		return nil
	}
	return b.close()
}
