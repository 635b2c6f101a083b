package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"mios"
	"mios/storage/record"
)

// An upload is a file on its way, or complete.
type upload struct {
	ID       string
	Who      string
	Name     string // of the file
	Size     int64
	Offset   int64
	Expires  time.Time
	Digest   mios.Digest // once it is complete
	Metadata string      // as the client sent it

	want mios.Digest // that the client said; zero: none
}

func (u *upload) done() bool { return u.Digest != mios.Digest{} }

// check checks what the client says of its file. sha256 is in hexadecimal, or
// the 32 bytes.
func (u *upload) check(sum string) (err error) {
	if len(u.Name) > 200 || strings.ContainsAny(u.Name, "/\\<>\x00\r\n\t") || u.Name == "." || u.Name == ".." {
		return badRequest("the file name %.100q: send a name without folders, of at most 200 bytes", u.Name)
	}
	switch len(sum) {
	case 0:
		return nil
	case len(u.want):
		sum = hex.EncodeToString([]byte(sum))
	}
	if u.want, err = mios.ParseDigest(sum); err != nil {
		return badRequest("sha256 in Upload-Metadata: want 64 hexadecimal digits, in Base64 as all values")
	}
	return nil
}

// quota refuses an upload by who has too much that is not submitted.
func (s *Service) quota(ctx context.Context, t *Token, size int64) error {
	var count, total int64
	err := s.DB.View(ctx, func(tx *record.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*), COALESCE(SUM(size), 0) FROM api_files WHERE who = ? AND expires > ?`, t.Who, time.Now().Unix()).Scan(&count, &total)
	})
	if err == nil && (count >= 2*maxUploadFiles || total+size > 4*s.MaxUpload) {
		return &Problem{Status: http.StatusTooManyRequests, Title: "Too much uploaded", after: int(uploadAge / time.Second),
			Detail: fmt.Sprintf("%d uploads with %d bytes of yours wait to be submitted: submit them, or end them by DELETE", count, total)}
	}
	return err
}

func (s *Service) saveUpload(ctx context.Context, u *upload) error {
	sum := ""
	if u.done() {
		sum = u.Digest.String()
	}
	return s.DB.Tx(ctx, func(tx *record.Tx) error {
		_, err := tx.Exec(`INSERT INTO api_files (upload, who, name, sha256, size, expires) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (upload) DO UPDATE SET sha256 = excluded.sha256`, u.ID, u.Who, u.Name, sum, u.Size, u.Expires.Unix())
		return err
	})
}

// loadUpload returns an upload of the token's owner. To others it is not there.
func (s *Service) loadUpload(ctx context.Context, t *Token, id string) (*upload, error) {
	gone := &Problem{Status: http.StatusNotFound, Title: "Not found", Detail: fmt.Sprintf("no upload of yours is called %.100q, or it is too old: begin it anew", id)}
	u := &upload{ID: id}
	var sum string
	var expires int64
	err := s.DB.View(ctx, func(tx *record.Tx) error {
		return tx.QueryRow(`SELECT who, name, sha256, size, expires FROM api_files WHERE upload = ?`, id).Scan(&u.Who, &u.Name, &sum, &u.Size, &expires)
	})
	u.Expires = time.Unix(expires, 0)
	switch {
	case isNotFound(err), err == nil && (u.Who != t.Who || time.Now().After(u.Expires)):
		return nil, gone
	case err != nil:
		return nil, err
	case sum != "":
		u.Offset = u.Size
		u.Digest, err = mios.ParseDigest(sum)
		return u, err
	}
	part, err := s.App.Blobs().Uploads().Get(ctx, id)
	if isNotFound(err) {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	u.Offset, u.Metadata = part.Offset, part.Meta["metadata"]
	return u, u.check(part.Meta["sha256"])
}

// finish makes a complete upload a blob.
func (s *Service) finish(ctx context.Context, u *upload) error {
	d, _, err := s.App.Blobs().Uploads().Finish(ctx, u.ID, u.want)
	if errors.Is(err, mios.ErrInvalid) {
		if err := s.removeUpload(ctx, u); err != nil {
			return err
		}
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "Other bytes", cause: err,
			Detail: "the file that came has another SHA-256 than you said: it was removed; upload it again"}
	}
	if err != nil {
		return err
	}
	u.Digest = d
	return s.saveUpload(ctx, u)
}

// removeUpload ends an upload. A blob that it became goes when the store looks
// for what nobody needs: it may be of a submission.
func (s *Service) removeUpload(ctx context.Context, u *upload) error {
	if !u.done() {
		if err := s.App.Blobs().Uploads().Remove(ctx, u.ID); err != nil {
			return err
		}
	}
	return s.forgetUploads(ctx, []*upload{u})
}

func (s *Service) forgetUploads(ctx context.Context, list []*upload) error {
	return s.DB.Tx(ctx, func(tx *record.Tx) error {
		for _, u := range list {
			if _, err := tx.Exec(`DELETE FROM api_files WHERE upload = ?`, u.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// complete returns uploads by their IDs or addresses, all of which must be
// complete.
func (s *Service) complete(ctx context.Context, t *Token, ids []string) ([]*upload, error) {
	var list []*upload
	for _, id := range ids {
		id = id[strings.LastIndexByte(id, '/')+1:]
		u, err := s.loadUpload(ctx, t, id)
		if err != nil {
			return nil, err
		}
		if !u.done() {
			return nil, &Problem{Status: http.StatusConflict, Title: "Not complete", Detail: fmt.Sprintf("upload %s has %d of %d bytes: send the rest by PATCH", id, u.Offset, u.Size)}
		}
		list = append(list, u)
	}
	return list, nil
}
