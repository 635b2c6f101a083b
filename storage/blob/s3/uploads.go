package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/internal/ctxio"
	"mios/storage/blob"
	"mios/storage/s3"
)

// An upload is ID/info.json, a blob.UploadOptions, and its bytes in objects
// ID/OFFSET, of which none is put twice: so of several who append at one place
// one does.
const infoName = "info.json"

// partSize is the most bytes that one object has.
const partSize = 8 << 20

type uploads struct{ s *Store }

func (u uploads) bucket() *s3.Bucket { return u.s.uploads }

func partName(id string, offset int64) string { return fmt.Sprintf("%s/%020d", id, offset) }

// Create implements [blob.Uploads].
func (u uploads) Create(ctx context.Context, o blob.UploadOptions) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	info, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	id := blob.NewID()
	if err := u.bucket().Put(ctx, id+"/"+infoName, s3.Bytes(info), s3.Condition{}, false); err != nil {
		return "", fmt.Errorf("begin upload: %w", err)
	}
	return id, nil
}

// Get implements [blob.Uploads].
func (u uploads) Get(ctx context.Context, id string) (*blob.Upload, error) {
	up, _, err := u.read(ctx, id)
	return up, err
}

// read returns an upload and the names of its parts, in order.
func (u uploads) read(ctx context.Context, id string) (*blob.Upload, []s3.Object, error) {
	if err := blob.CheckID(id); err != nil {
		return nil, nil, err
	}
	up, err := u.info(ctx, id)
	if err == nil {
		err = up.Live(time.Now())
	}
	if err != nil {
		return nil, nil, err
	}
	var parts []s3.Object
	for o, err := range u.bucket().List(ctx, id+"/0") {
		if err != nil {
			return nil, nil, fmt.Errorf("upload %s: %w", id, err)
		}
		parts = append(parts, o)
	}
	slices.SortFunc(parts, func(a, b s3.Object) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range parts {
		if p.Name != partName(id, up.Offset) {
			return nil, nil, fmt.Errorf("upload %s: %w: no part at %d: begin another upload", id, mios.ErrInvalid, up.Offset)
		}
		up.Offset += p.Size
	}
	return up, parts, nil
}

// info returns an upload without its offset.
func (u uploads) info(ctx context.Context, id string) (*blob.Upload, error) {
	up := &blob.Upload{ID: id}
	f, err := u.bucket().Open(ctx, id+"/"+infoName)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, fmt.Errorf("upload %s: %w", id, mios.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, &up.UploadOptions)
	}
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	return up, nil
}

// Append implements [blob.Uploads].
func (u uploads) Append(ctx context.Context, id string, offset int64, r io.Reader) (int64, error) {
	up, err := u.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	if up.Offset != offset {
		return up.Offset, fmt.Errorf("upload %s: %w: it is at %d, not at %d", id, mios.ErrConflict, up.Offset, offset)
	}
	r = ctxio.Reader(ctx, r)
	buf := make([]byte, min(partSize, up.Limit()-offset))
	for offset < up.Limit() {
		n, errRead := io.ReadFull(r, buf[:min(partSize, up.Limit()-offset)])
		if n > 0 {
			if err := u.part(ctx, id, offset, buf[:n]); err != nil {
				return offset, fmt.Errorf("upload %s: %w", id, err)
			}
			offset += int64(n)
		}
		switch errRead {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return offset, nil
		default:
			return offset, errRead
		}
	}
	return offset, blob.AtEnd(r, up.Limit())
}

// part stores bytes of an upload. They are stored although their sender has
// gone, so that it can go on behind them.
func (u uploads) part(ctx context.Context, id string, offset int64, b []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return u.bucket().Put(ctx, partName(id, offset), s3.Bytes(b), s3.Condition{Absent: true}, false)
}

// Finish implements [blob.Uploads]. Who is killed in it can finish again.
func (u uploads) Finish(ctx context.Context, id string, want mios.Digest) (mios.Digest, int64, error) {
	up, parts, err := u.read(ctx, id)
	if err == nil {
		err = up.Complete()
	}
	if err != nil {
		return mios.Digest{}, 0, err
	}
	d, n, err := u.s.put(ctx, &joined{ctx: ctx, bucket: u.bucket(), parts: parts}, want)
	if err != nil {
		return mios.Digest{}, 0, fmt.Errorf("upload %s: %w", id, err)
	}
	return d, n, u.Remove(ctx, id)
}

// joined reads parts one after the other.
type joined struct {
	ctx    context.Context
	bucket *s3.Bucket
	parts  []s3.Object
	f      *s3.File
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.f == nil {
			if len(j.parts) == 0 {
				return 0, io.EOF
			}
			f, err := j.bucket.Open(j.ctx, j.parts[0].Name)
			if err != nil {
				return 0, err
			}
			j.f, j.parts = f, j.parts[1:]
		}
		n, err := j.f.Read(p)
		if err == io.EOF {
			err = j.f.Close()
			j.f = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Remove implements [blob.Uploads]: first what makes it an upload, then the
// parts, which Sweep finds otherwise.
func (u uploads) Remove(ctx context.Context, id string) error {
	if blob.CheckID(id) != nil {
		return nil
	}
	if err := u.bucket().Delete(ctx, id+"/"+infoName); err != nil {
		return fmt.Errorf("upload %s: %w", id, err)
	}
	for o, err := range u.bucket().List(ctx, id+"/") {
		if err == nil {
			err = u.bucket().Delete(ctx, o.Name)
		}
		if err != nil {
			return fmt.Errorf("upload %s: %w", id, err)
		}
	}
	return nil
}

// leftover is how old parts without an upload must be to be removed.
const leftover = 24 * time.Hour

// Sweep implements [blob.Uploads].
func (u uploads) Sweep(ctx context.Context) (int, error) {
	newest := map[string]time.Time{} // by ID
	for o, err := range u.bucket().List(ctx, "") {
		if err != nil {
			return 0, err
		}
		if id, _, _ := strings.Cut(o.Name, "/"); blob.CheckID(id) == nil && newest[id].Before(o.Modified) {
			newest[id] = o.Modified
		}
	}
	n := 0
	for id, modified := range newest {
		up, err := u.info(ctx, id)
		switch {
		case errors.Is(err, mios.ErrNotFound) && time.Since(modified) < leftover, err == nil && up.Live(time.Now()) == nil:
			continue
		case err != nil && !errors.Is(err, mios.ErrNotFound):
			return n, err
		}
		if err := u.Remove(ctx, id); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
