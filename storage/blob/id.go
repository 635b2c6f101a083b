package blob

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"mios"
)

// maxMeta bounds [UploadOptions.Meta], keys and values, in bytes.
const maxMeta = 16 << 10

// NewID returns a new upload's ID: 130 random bits, as letters and digits.
func NewID() string { return strings.ToLower(rand.Text()) }

// CheckID refuses what [NewID] does not make, so that an ID may be part of a
// path.
func CheckID(id string) error {
	if len(id) != 26 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return fmt.Errorf("upload %.40q: %w", id, mios.ErrNotFound)
	}
	return nil
}

// Check refuses options that no upload can have.
func (o *UploadOptions) Check() error {
	meta := 0
	for k, v := range o.Meta {
		meta += len(k) + len(v)
	}
	switch {
	case o.Max <= 0, o.Size < -1:
		return fmt.Errorf("upload: %w: size %d, at most %d", mios.ErrInvalid, o.Size, o.Max)
	case o.Size > o.Max:
		return fmt.Errorf("upload: %w: %d bytes, and at most %d are taken", mios.ErrInvalid, o.Size, o.Max)
	case o.Expires.IsZero():
		return fmt.Errorf("upload: %w: it never expires", mios.ErrInvalid)
	case meta > maxMeta:
		return fmt.Errorf("upload: %w: %d bytes of metadata, and at most %d are taken", mios.ErrInvalid, meta, maxMeta)
	}
	return nil
}

// Limit returns how many bytes the upload may have.
func (o *UploadOptions) Limit() int64 {
	if o.Size >= 0 {
		return o.Size
	}
	return o.Max
}

// Complete refuses an upload that has not all of its bytes.
func (u *Upload) Complete() error {
	if u.Size >= 0 && u.Offset != u.Size {
		return fmt.Errorf("upload: %w: it has %d of %d bytes: go on at %d", mios.ErrInvalid, u.Offset, u.Size, u.Offset)
	}
	return nil
}

// Live returns an error that wraps [mios.ErrNotFound] if the upload has expired.
func (u *Upload) Live(now time.Time) error {
	if !now.Before(u.Expires) {
		return fmt.Errorf("upload %s: %w: it has expired", u.ID, mios.ErrNotFound)
	}
	return nil
}

// Verify refuses bytes that have another digest than is wanted; the zero digest
// wants none.
func Verify(got, want mios.Digest) error {
	if want != (mios.Digest{}) && got != want {
		return fmt.Errorf("%w: the bytes have the digest %s, want %s: send them again", mios.ErrInvalid, got, want)
	}
	return nil
}

// AtEnd refuses an upload of which there is more than its limit.
func AtEnd(r io.Reader, limit int64) error {
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("upload: %w: more than its %d bytes", mios.ErrInvalid, limit)
	case err != io.EOF:
		return err
	}
	return nil
}
