package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mios"
	"mios/storage/record"
)

// blobLock is held while blobs begin or end to be needed, so that nobody
// removes what somebody else begins to need.
const blobLock = "store-blobs"

// hold says that a holder needs blobs, which must be there.
func (c *change) hold(holder string, list []mios.Digest) error {
	for _, d := range list {
		if _, err := c.Exec(`INSERT INTO store_blobs (sha256, holder) VALUES (?, ?) ON CONFLICT (sha256, holder) DO NOTHING`, d, holder); err != nil {
			return err
		}
	}
	return nil
}

// have fails if a blob is not there.
func (s *Store) have(ctx context.Context, list []mios.Digest) error {
	for _, d := range list {
		f, err := s.cfg.Blobs.Open(ctx, d)
		if errors.Is(err, mios.ErrNotFound) {
			return fmt.Errorf("file %s: it was never uploaded, or too long ago: %w: upload it again", d, mios.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// drop removes those blobs that nobody holds.
func (s *Store) drop(ctx context.Context, list []mios.Digest) error {
	if len(list) == 0 {
		return nil
	}
	unlock, err := s.cfg.DB.Lock(ctx, blobLock)
	if err != nil {
		return err
	}
	defer unlock()
	var free []mios.Digest
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		free = nil
		for _, d := range list {
			var n int64
			if err := tx.QueryRow(`SELECT COUNT(*) FROM store_blobs WHERE sha256 = ?`, d).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				free = append(free, d)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range free {
		if err := s.cfg.Blobs.Delete(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes blobs that are older than a duration and that nothing needs,
// which killed processes leave behind, and uploads that have expired. It
// returns how many these were.
func (s *Store) Sweep(ctx context.Context, older time.Duration) (int, error) {
	held := map[mios.Digest]bool{}
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		list, err := column(tx, `SELECT DISTINCT sha256 FROM store_blobs`)
		if err != nil {
			return err
		}
		for _, text := range list {
			d, err := mios.ParseDigest(text)
			if err != nil {
				return err
			}
			held[d] = true
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var free []mios.Digest
	for info, err := range s.cfg.Blobs.List(ctx) {
		if err != nil {
			return 0, err
		}
		if !held[info.Digest] && s.cfg.Now().Sub(info.Modified) >= older {
			free = append(free, info.Digest)
		}
	}
	if err := s.drop(ctx, free); err != nil {
		return 0, err
	}
	n, err := s.cfg.Blobs.Uploads().Sweep(ctx)
	return n + len(free), err
}

// ingest brings the files of an upload into the blobs and returns their digests
// and sizes.
func (s *Store) ingest(ctx context.Context, files []UploadFile) (list []stored, err error) {
	left := s.cfg.Policy.MaxUpload
	for _, f := range files {
		in := stored{Name: f.Name, Digest: f.Digest}
		if f.Content != nil {
			limited := &limitedReader{r: f.Content, left: left, most: s.cfg.Policy.MaxUpload}
			in.Digest, in.Size, err = s.cfg.Blobs.Put(ctx, limited, f.Digest)
			in.ours = err == nil
		} else {
			in.Size, err = s.size(ctx, f.Digest)
		}
		left -= in.Size
		if err == nil && left < 0 {
			err = tooLarge(s.cfg.Policy.MaxUpload)
		}
		if !(err != nil && in.Digest == mios.Digest{}) {
			list = append(list, in)
		}
		if err != nil {
			return list, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return list, nil
}

// A stored is a file of an upload that is a blob.
type stored struct {
	Name   string      `json:"name"`
	Digest mios.Digest `json:"sha256"`
	Size   int64       `json:"size"`
	ours   bool        // it came with the upload
}

func digests(list []stored) []mios.Digest {
	out := make([]mios.Digest, len(list))
	for i, f := range list {
		out[i] = f.Digest
	}
	slices.SortFunc(out, func(a, b mios.Digest) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

func (s *Store) size(ctx context.Context, d mios.Digest) (int64, error) {
	f, err := s.cfg.Blobs.Open(ctx, d)
	if errors.Is(err, mios.ErrNotFound) {
		return 0, fmt.Errorf("it was never uploaded, or too long ago: %w: upload it again", mios.ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	return f.Size(), f.Close()
}

func tooLarge(most int64) error {
	return fmt.Errorf("the upload has more than the %d bytes that this store takes: %w: make it smaller, or split it by ABI", most, mios.ErrInvalid)
}

// A limitedReader fails where a [io.LimitedReader] would end.
type limitedReader struct {
	r          io.Reader
	left, most int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, tooLarge(l.most)
	}
	return n, err
}
