package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/check"
	"mios/publish/app/worker"
	"mios/storage/record"
)

// Submission returns one by its ID.
func (s *Store) Submission(ctx context.Context, id string) (*Submission, error) {
	var row *submissionRow
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		row, err = loadSubmission(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &row.Submission, nil
}

// Facts returns all that was found out about a submission, or nil while it is
// looked at.
func (s *Store) Facts(ctx context.Context, id string) (f *check.Facts, err error) {
	err = s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		if _, err := loadSubmission(tx, id); err != nil {
			return err
		}
		f, err = loadFacts(tx, id)
		return err
	})
	return f, err
}

// Inspect reads a package as a submission's are read, and keeps nothing.
func (s *Store) Inspect(ctx context.Context, f worker.File) (*check.Facts, error) {
	return s.cfg.Parser.Inspect(ctx, []worker.File{f})
}

// A Filter chooses submissions. Empty fields choose all.
type Filter struct {
	Package string
	State   State
	By      string
	Before  string // the ID of the last one of the page before
	Limit   int    // 0: 100
}

// Submissions returns submissions, the newest first.
func (s *Store) Submissions(ctx context.Context, f Filter) ([]Submission, error) {
	query, args := `SELECT data FROM store_submissions WHERE 1 = 1`, []any{}
	for _, part := range []struct{ column, value string }{{"package", f.Package}, {"state", string(f.State)}, {"who", f.By}} {
		if part.value != "" {
			query, args = query+" AND "+part.column+" = ?", append(args, part.value)
		}
	}
	if f.Before != "" {
		n, err := parseID(f.Before)
		if err != nil {
			return nil, err
		}
		query, args = query+" AND id < ?", append(args, n)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	query, args = query+" ORDER BY id DESC LIMIT ?", append(args, f.Limit)
	var list []Submission
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) error {
		texts, err := column(tx, query, args...)
		list = make([]Submission, len(texts))
		for i := range texts {
			if err := decode("submission", texts[i], &list[i]); err != nil {
				return err
			}
		}
		return err
	})
	return list, err
}

// Review approves or rejects a submission in review, with why. The first
// approval of a package claims it for the submission's signer. An approved
// submission that is not released can still be rejected.
func (s *Store) Review(ctx context.Context, who, id string, approve bool, why string) (*Submission, error) {
	sub, err := s.Submission(ctx, id)
	if err != nil {
		return nil, err
	}
	claim, err := s.claimOf(ctx, sub.Package)
	if err != nil {
		return nil, err
	}
	if approve && sub.First && s.cfg.Policy.ProveDomain {
		if err := s.proveDomain(ctx, &submissionRow{Submission: *sub}); err != nil {
			return nil, err
		}
	}
	var base int64
	if sub.First {
		if base, err = s.published(ctx, sub.Package); err != nil {
			return nil, err
		}
	}
	var row *submissionRow
	var free []mios.Digest
	err = s.change(ctx, who, func(c *change) (err error) {
		free = nil
		if row, err = loadSubmission(c.Tx, id); err != nil {
			return err
		}
		if done := row.Verdict != nil && row.Verdict.Approved == approve; done && row.Verdict.By == who {
			return nil // asked again
		}
		row.Verdict = &Verdict{Approved: approve, By: who, At: c.at, Why: why}
		if approve {
			free, err = s.approve(c, row, claim, base)
		} else {
			free, err = s.reject(c, row, why)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &row.Submission, s.drop(ctx, free)
}

func (s *Store) approve(c *change, row *submissionRow, claim *api.Claim, base int64) ([]mios.Digest, error) {
	if row.State != Review {
		return nil, fmt.Errorf("submission %s is %s: %w: only what is in review can be approved", row.ID, row.State.Said(), mios.ErrConflict)
	}
	if s.cfg.Policy.OtherReviewer && row.Verdict.By == row.By {
		return nil, fmt.Errorf("submission %s: %s has submitted it: %w: somebody else has to approve it", row.ID, row.By, mios.ErrDenied)
	}
	if err := s.rulesAgain(c, row, claim); err != nil {
		return nil, err
	}
	row.State = Approved
	if err := c.save(row); err != nil {
		return nil, err
	}
	a, err := loadApp(c.Tx, row.Package)
	if err != nil {
		return nil, err
	}
	first := a == nil
	if first {
		a = &App{Package: row.Package, Developers: []string{row.By}, Owner: row.Signers, Base: base, Added: c.at}
		if claim != nil {
			a.Owner = claim.Signers
		}
	}
	a.Label, a.Signers = row.Label, row.Signers
	if err := c.saveApp(a); err != nil {
		return nil, err
	}
	var free []mios.Digest
	if row.Listing != nil {
		if free, err = c.setListing(row.Package, row.Listing); err != nil {
			return nil, err
		}
	}
	if err := c.event("approve", row.Package, row.Verdict.Why, verdictEvent{row.ID, row.VersionCode, ownerIf(first, a)}); err != nil {
		return nil, err
	}
	return free, c.later(workTree, row.Package)
}

// verdictEvent is what the history keeps of a review.
type verdictEvent struct {
	Submission  string        `json:"submission"`
	VersionCode int64         `json:"version_code"`
	Claims      []mios.Digest `json:"claims,omitempty"` // the package, for these signers
}

func ownerIf(first bool, a *App) []mios.Digest {
	if first {
		return a.Owner
	}
	return nil
}

// rulesAgain are the rules at the time of approval: other versions may have
// been approved since. A version code that was submitted later may be higher.
func (s *Store) rulesAgain(c *change, row *submissionRow, claim *api.Claim) error {
	a, err := loadApp(c.Tx, row.Package)
	if err != nil {
		return err
	}
	if a == nil {
		return rulesFirst(c.Tx, row, claim)
	}
	return rulesNext(a, row)
}

func (s *Store) reject(c *change, row *submissionRow, why string) ([]mios.Digest, error) {
	if why == "" {
		return nil, fmt.Errorf("submission %s: no reason: %w: say why, the developer reads it", row.ID, mios.ErrInvalid)
	}
	if row.State != Review && row.State != Approved {
		return nil, fmt.Errorf("submission %s is %s: %w: only what is in review, or is approved and not released, can be rejected", row.ID, row.State.Said(), mios.ErrConflict)
	}
	releases, err := loadReleases(c.Tx, row.Package)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(releases, func(r Release) bool { return r.Submission == row.ID }) {
		return nil, fmt.Errorf("submission %s: it is released: %w: halt it, or roll back", row.ID, mios.ErrConflict)
	}
	row.State, row.Listing, row.Icon = Rejected, nil, nil
	if err := c.save(row); err != nil {
		return nil, err
	}
	free, err := heldBy(c.Tx, submissionHolder(row.ID))
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(`DELETE FROM store_blobs WHERE holder = ?`, submissionHolder(row.ID)); err != nil {
		return nil, err
	}
	return free, c.event("reject", row.Package, why, verdictEvent{Submission: row.ID, VersionCode: row.VersionCode})
}

// published returns the number of the newest release of a package that the
// repository had before the store knew of it.
func (s *Store) published(ctx context.Context, pkg string) (int64, error) {
	p, err := s.cfg.Repo.Package(ctx, pkg)
	if errors.Is(err, mios.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var n int64
	for _, r := range p.Releases {
		n = max(n, r.Release)
	}
	return n, nil
}
