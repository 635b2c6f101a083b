package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mios"
	"mios/publish/app/check"
	"mios/publish/app/worker"
	"mios/storage/record"
)

// A Submission is an upload that was taken.
type Submission struct {
	ID          string          `json:"id"`
	Package     string          `json:"package"`
	VersionCode int64           `json:"version_code"`
	VersionName string          `json:"version_name"`
	Label       string          `json:"label"`
	State       State           `json:"state"`
	By          string          `json:"by"`
	At          time.Time       `json:"at"`
	Note        string          `json:"note,omitempty"`
	Files       []File          `json:"files"` // the base first
	Signers     []mios.Digest   `json:"signers"`
	Lineage     []mios.Digest   `json:"lineage,omitempty"`  // earlier signers, the oldest first
	First       bool            `json:"first,omitempty"`    // of its package: approval claims it
	Alike       []Alike         `json:"alike,omitempty"`    // apps that it may be taken for
	Domain      string          `json:"domain,omitempty"`   // why the domain in its name does not vouch for it, where that was asked
	Findings    []check.Finding `json:"findings"`           // the worst first
	LeftOut     []string        `json:"left_out,omitempty"` // of the listing's folder, a sentence each
	Verdict     *Verdict        `json:"verdict,omitempty"`
}

// An Alike is another app that a person may take a new one for.
type Alike struct {
	Package string `json:"package"`
	Label   string `json:"label"`
	Why     string `json:"why"`
}

// maxFiles bounds an upload, in files.
const maxFiles = 512

// Submit takes an upload: it looks at the files in a worker, checks them, and
// keeps them for review. What it refuses leaves nothing behind, blobs that were
// named by their digests included. The error of a refusal wraps
// [mios.ErrInvalid], [mios.ErrDenied] or [mios.ErrConflict] and says what to do.
//
// An upload that was taken already, by the same developer and not rejected
// since, is the same submission: who did not hear the answer may ask again.
func (s *Store) Submit(ctx context.Context, who string, u Upload) (*Submission, error) {
	if err := checkUpload(who, &u); err != nil {
		var named []mios.Digest
		for _, f := range u.Files {
			if f.Content == nil {
				named = append(named, f.Digest)
			}
		}
		return nil, s.refused(ctx, named, err)
	}
	files, err := s.ingest(ctx, u.Files)
	var l *Listing
	var notes []string
	if err == nil && u.Listing != nil {
		l, notes, err = s.readListing(ctx, u.Listing)
	}
	if err != nil {
		return nil, s.refused(ctx, append(digests(files), l.blobs()...), err)
	}
	row := &submissionRow{
		Submission: Submission{State: Checking, By: who, Note: u.Note, Files: []File{}, Findings: []check.Finding{}, LeftOut: notes},
		Attempt:    rand.Text(), Uploaded: files, Packages: u.Packages, Listing: l,
	}
	id, err := s.take(ctx, row)
	if err != nil {
		return nil, s.refused(ctx, append(digests(files), l.blobs()...), err)
	}
	return s.examine(ctx, id)
}

// checkUpload says what is wrong with an upload before anything of it is read.
func checkUpload(who string, u *Upload) error {
	if err := plain("developer's name", who, maxWho); err != nil {
		return err
	}
	if err := plain("note", u.Note, maxNote); err != nil {
		return err
	}
	switch {
	case who == "":
		return fmt.Errorf("submit: nobody does it: %w: say who", mios.ErrInvalid)
	case len(u.Files) == 0:
		return fmt.Errorf("submit: no file: %w: name an APK, or a base package and its splits", mios.ErrInvalid)
	case len(u.Files) > maxFiles:
		return fmt.Errorf("submit: %d files: %w: a set has at most %d", len(u.Files), mios.ErrInvalid, maxFiles)
	}
	seen := map[string]bool{}
	for i := range u.Files {
		f := &u.Files[i]
		if f.Name == "" {
			f.Name = fmt.Sprintf("file %d", i+1)
		}
		if err := plain("file name", f.Name, maxName); err != nil {
			return err
		}
		if strings.ContainsAny(f.Name, "/\\\n\t") || path.Clean(f.Name) != f.Name || f.Name == ".." || f.Name == "." {
			return fmt.Errorf("file name %q: %w: name the file without its folder", f.Name, mios.ErrInvalid)
		}
		if seen[f.Name] {
			return fmt.Errorf("file name %q: %w: two files have it", f.Name, mios.ErrInvalid)
		}
		seen[f.Name] = true
	}
	return nil
}

// refused drops the blobs of an upload whose error is its own, and returns that
// error. After any other error they stay: the same may be tried again.
func (s *Store) refused(ctx context.Context, blobs []mios.Digest, why error) error {
	if !isRefusal(why) {
		return why
	}
	if err := s.drop(context.WithoutCancel(ctx), blobs); err != nil {
		s.cfg.Log.Error("remove a refused upload", "err", err)
	}
	return why
}

// isRefusal tells what a person asked for in vain from what went wrong here.
func isRefusal(err error) bool {
	return errors.Is(err, mios.ErrInvalid) || errors.Is(err, mios.ErrDenied) || errors.Is(err, mios.ErrConflict) || errors.Is(err, mios.ErrNotFound)
}

// take makes the upload a submission that is to be looked at: from here on it
// is not lost.
func (s *Store) take(ctx context.Context, row *submissionRow) (string, error) {
	unlock, err := s.cfg.DB.Lock(ctx, blobLock)
	if err != nil {
		return "", err
	}
	defer unlock()
	blobs := append(digests(row.Uploaded), row.Listing.blobs()...)
	if err := s.have(ctx, blobs); err != nil {
		return "", err
	}
	err = s.change(ctx, row.By, func(c *change) error {
		n := c.count + 1
		row.ID, row.At = strconv.FormatInt(n, 10), c.at
		text, err := encode(row)
		if err != nil {
			return err
		}
		if _, err := c.Exec(`UPDATE store_head SET submission = ? WHERE id = 1`, n); err != nil {
			return err
		}
		if _, err := c.Exec(`INSERT INTO store_submissions (id, package, version_code, state, who, time, data, facts) VALUES (?, '', 0, ?, ?, ?, ?, '')`,
			n, Checking, row.By, c.at.Unix(), text); err != nil {
			return err
		}
		return c.hold(submissionHolder(row.ID), blobs)
	})
	return row.ID, err
}

func submissionHolder(id string) string { return "submission " + id }

// examine looks at a submission's files and decides whether it is taken for
// review. It may be called for the same submission twice, at once even.
func (s *Store) examine(ctx context.Context, id string) (*Submission, error) {
	var row *submissionRow
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		row, err = loadSubmission(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if row.State != Checking {
		return &row.Submission, nil
	}
	f, err := s.inspect(ctx, row)
	var same string
	if err == nil {
		same, err = s.admit(ctx, row, f)
	}
	switch {
	case err == nil && same == "" && row.State == Checking:
		return s.decided(ctx, row)
	case err == nil && same == "":
		return &row.Submission, nil
	case err != nil && !isRefusal(err):
		return nil, err
	}
	if left := s.discard(context.WithoutCancel(ctx), row); left != nil {
		s.cfg.Log.Error("remove a refused submission", "id", id, "err", left)
	}
	if err != nil {
		return nil, err
	}
	return s.Submission(ctx, same)
}

// decided returns what another process has made of a submission meanwhile.
func (s *Store) decided(ctx context.Context, row *submissionRow) (*Submission, error) {
	var now *submissionRow
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		now, err = loadSubmission(tx, row.ID)
		return err
	})
	if err == nil && now.Attempt != row.Attempt {
		err = notFound("submission", row.ID, "it was refused meanwhile: submit it again to hear why")
	}
	if err != nil {
		return nil, err
	}
	return &now.Submission, nil
}

// inspect reads a submission's files in a worker, and fills the row with what
// is known of them.
func (s *Store) inspect(ctx context.Context, row *submissionRow) (*check.Facts, error) {
	var files []worker.File
	for _, u := range row.Uploaded {
		f, err := s.cfg.Blobs.Open(ctx, u.Digest)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files = append(files, worker.File{ReaderAt: f, Name: u.Name, Size: u.Size})
	}
	f, err := s.cfg.Parser.Inspect(ctx, files)
	if err != nil {
		return nil, err
	}
	if err := row.describe(f); err != nil {
		return nil, err
	}
	return f, s.drawIcon(ctx, row, f)
}

// admit judges a submission whose files are read, and takes it for review. It
// returns the ID of the one that is the same, if there is one.
func (s *Store) admit(ctx context.Context, row *submissionRow, f *check.Facts) (same string, err error) {
	if len(row.Packages) > 0 && !slices.Contains(row.Packages, row.Package) {
		return "", fmt.Errorf("%s: %s may submit %s only: %w: ask the store's operator for a token for the package", row.Package, row.By, strings.Join(row.Packages, ", "), mios.ErrDenied)
	}
	if s.cfg.Policy.ProveDomain {
		if err := s.askDomain(ctx, row); err != nil {
			return "", err
		}
	}
	claim, err := s.claimOf(ctx, row.Package)
	if err != nil {
		return "", err
	}
	unlock, err := s.cfg.DB.Lock(ctx, blobLock)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := s.have(ctx, pictures(row.Icon)); err != nil {
		return "", fmt.Errorf("icon: %v", err) // removed meanwhile: the next try draws it again
	}
	err = s.change(ctx, row.By, func(c *change) error {
		if now, err := loadSubmission(c.Tx, row.ID); err != nil || !row.isStill(now) {
			return err // another process has done it
		}
		same, err = sameUpload(c.Tx, row)
		if err != nil || same != "" {
			return err
		}
		if err := s.rules(c.Tx, row, claim); err != nil {
			return err
		}
		previous, err := previousFacts(c.Tx, row)
		if err != nil {
			return err
		}
		row.Findings = append([]check.Finding{}, check.Judge(f, previous, s.checks)...)
		if err := refusal(row); err != nil {
			return err
		}
		row.State = Review
		if err := s.pointOut(c.Tx, row); err != nil {
			return err
		}
		return s.admitted(c, row, f)
	})
	return same, err
}

// admitted writes that a submission is taken for review.
func (s *Store) admitted(c *change, row *submissionRow, f *check.Facts) error {
	if err := c.save(row); err != nil {
		return err
	}
	kept := *f
	kept.Icon = nil // it is a blob
	text, err := encode(&kept)
	if err != nil {
		return err
	}
	if _, err := c.Exec(`UPDATE store_submissions SET facts = ? WHERE id = ?`, text, row.number()); err != nil {
		return err
	}
	if err := c.hold(submissionHolder(row.ID), pictures(row.Icon)); err != nil {
		return err
	}
	return c.event("submit", row.Package, row.Note, struct {
		Submission  string `json:"submission"`
		VersionCode int64  `json:"version_code"`
		Files       []File `json:"files"`
	}{row.ID, row.VersionCode, row.Files})
}

// refusal is the error of a submission that the checks refuse, or nil.
func refusal(row *submissionRow) error {
	var why []string
	for _, f := range row.Findings {
		if f.Severity != check.Refuse {
			continue
		}
		why = append(why, strings.TrimSpace(f.Detail+" "+f.Advice))
	}
	if len(why) == 0 {
		return nil
	}
	if more := len(why) - 5; more > 0 {
		why = append(why[:5], fmt.Sprintf("And %d more.", more))
	}
	return fmt.Errorf("%s %s: refused: %w: %s", row.Package, row.VersionName, mios.ErrInvalid, strings.Join(why, " "))
}

// discard removes a submission that was not taken, with all that only it holds,
// and gives its number back: nothing has told of it.
func (s *Store) discard(ctx context.Context, row *submissionRow) error {
	var blobs []mios.Digest
	err := s.change(ctx, "store", func(c *change) error {
		now, err := loadSubmission(c.Tx, row.ID)
		if errors.Is(err, mios.ErrNotFound) || err == nil && !row.isStill(now) {
			return nil // another process has done it
		}
		if err != nil {
			return err
		}
		if _, err := c.Exec(`DELETE FROM store_submissions WHERE id = ?`, row.number()); err != nil {
			return err
		}
		if _, err := c.Exec(`UPDATE store_head SET submission = (SELECT COALESCE(MAX(id), 0) FROM store_submissions) WHERE id = 1`); err != nil {
			return err
		}
		if blobs, err = heldBy(c.Tx, submissionHolder(row.ID)); err != nil {
			return err
		}
		_, err = c.Exec(`DELETE FROM store_blobs WHERE holder = ?`, submissionHolder(row.ID))
		return err
	})
	if err != nil {
		return err
	}
	return s.drop(ctx, blobs)
}

func heldBy(tx *record.Tx, holder string) ([]mios.Digest, error) {
	texts, err := column(tx, `SELECT sha256 FROM store_blobs WHERE holder = ?`, holder)
	if err != nil {
		return nil, err
	}
	list := make([]mios.Digest, len(texts))
	for i, text := range texts {
		if list[i], err = mios.ParseDigest(text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// sameUpload returns the ID of a submission of the same files by the same
// developer.
func sameUpload(tx *record.Tx, row *submissionRow) (string, error) {
	ids, err := column(tx, `SELECT id FROM store_submissions WHERE package = ? AND version_code = ? AND state <> ? AND id <> ?`,
		row.Package, row.VersionCode, Rejected, row.number())
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		other, err := loadSubmission(tx, id)
		if err != nil {
			return "", err
		}
		if other.By == row.By && slices.Equal(other.Files, row.Files) {
			return id, nil
		}
	}
	return "", nil
}
