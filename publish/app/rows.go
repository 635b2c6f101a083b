package app

import (
	"errors"
	"fmt"
	"strconv"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/check"
	"mios/publish/app/fdroid"
	"mios/publish/app/listing"
	"mios/storage/record"
)

// A submissionRow is what the database keeps of a submission beside its facts.
type submissionRow struct {
	Submission
	// Attempt is of this upload alone: another may get the number of one that was
	// refused.
	Attempt  string   `json:"attempt,omitempty"`
	Uploaded []stored `json:"uploaded"`
	// Packages are those that it may be a version of; none: any.
	Packages []string `json:"packages,omitempty"`
	// Template is what every release of it begins as.
	Template api.AppRelease `json:"template"`
	// Version is what F-Droid's clients are told of it.
	Version fdroid.Version `json:"version"`
	// Listing is what was handed in with it, or nil.
	Listing *Listing          `json:"listing,omitempty"`
	Icon    []listing.Picture `json:"icon,omitempty"` // drawn from the package
}

// isStill tells whether a submission that was loaded anew is this one, and nobody
// has decided on it.
func (row *submissionRow) isStill(now *submissionRow) bool {
	return now.State == Checking && now.Attempt == row.Attempt
}

// number is the submission's ID as the database has it.
func (row *submissionRow) number() int64 {
	n, _ := strconv.ParseInt(row.ID, 10, 64)
	return n
}

func notFound(what, name, next string) error {
	return fmt.Errorf("%s %s: %w: %s", what, name, mios.ErrNotFound, next)
}

func parseID(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 1 {
		return 0, notFound("submission", strconv.Quote(id), "mios store list tells which there are")
	}
	return n, nil
}

func loadSubmission(tx *record.Tx, id string) (*submissionRow, error) {
	n, err := parseID(id)
	if err != nil {
		return nil, err
	}
	var text string
	err = tx.QueryRow(`SELECT data FROM store_submissions WHERE id = ?`, n).Scan(&text)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, notFound("submission", id, "mios store list tells which there are")
	}
	if err != nil {
		return nil, err
	}
	row := new(submissionRow)
	return row, decode("submission "+id, text, row)
}

// save writes a submission over what it was.
func (c *change) save(row *submissionRow) error {
	text, err := encode(row)
	if err != nil {
		return err
	}
	_, err = c.Exec(`UPDATE store_submissions SET package = ?, version_code = ?, state = ?, data = ? WHERE id = ?`,
		row.Package, row.VersionCode, row.State, text, row.number())
	return err
}

func loadFacts(tx *record.Tx, id string) (*check.Facts, error) {
	n, err := parseID(id)
	if err != nil {
		return nil, err
	}
	var text string
	if err := tx.QueryRow(`SELECT facts FROM store_submissions WHERE id = ?`, n).Scan(&text); err != nil || text == "" {
		return nil, err
	}
	f := new(check.Facts)
	return f, decode("facts of submission "+id, text, f)
}

// loadApp returns an app without its releases, or nil if nothing of the package
// was approved yet.
func loadApp(tx *record.Tx, pkg string) (*App, error) {
	var claim, text string
	err := tx.QueryRow(`SELECT claim, data FROM store_apps WHERE package = ?`, pkg).Scan(&claim, &text)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := &App{}
	if err := decode("app "+pkg, text, a); err != nil {
		return nil, err
	}
	a.Claim = ClaimState(claim)
	return a, nil
}

// wantApp is loadApp where there has to be one.
func wantApp(tx *record.Tx, pkg string) (*App, error) {
	a, err := loadApp(tx, pkg)
	if err == nil && a == nil {
		err = notFound("app", pkg, "no version of it is approved yet; mios store list tells what there is")
	}
	return a, err
}

func (c *change) saveApp(a *App) error {
	stored := *a
	stored.Releases, stored.Pending = nil, false
	text, err := encode(&stored)
	if err != nil {
		return err
	}
	_, err = c.Exec(`INSERT INTO store_apps (package, label, claim, data, listing) VALUES (?, ?, ?, ?, '')
		ON CONFLICT (package) DO UPDATE SET label = excluded.label, claim = excluded.claim, data = excluded.data`,
		a.Package, a.Label, a.Claim, text)
	return err
}

// loadReleases returns a package's releases, the newest first.
func loadReleases(tx *record.Tx, pkg string) ([]Release, error) {
	return queryReleases(tx, `SELECT data FROM store_releases WHERE package = ? ORDER BY number DESC`, pkg)
}

func queryReleases(tx *record.Tx, query string, args ...any) ([]Release, error) {
	texts, err := column(tx, query, args...)
	if err != nil {
		return nil, err
	}
	list := make([]Release, len(texts))
	for i, text := range texts {
		if err := decode("release", text, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// column reads rows of one text.
func column(tx *record.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []string{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}

func (c *change) saveRelease(r *Release) error {
	var next int64
	if r.Schedule != nil && !r.Halted && !r.Withdrawn {
		next = r.Schedule.Next.Unix()
	}
	text, err := encode(r)
	if err != nil {
		return err
	}
	_, err = c.Exec(`INSERT INTO store_releases (package, number, next, data) VALUES (?, ?, ?, ?)
		ON CONFLICT (package, number) DO UPDATE SET next = excluded.next, data = excluded.data`, r.Package, r.Number, next, text)
	return err
}

// releaseEvent is what the history keeps of a release.
type releaseEvent struct {
	Number      int64     `json:"number"`
	Submission  string    `json:"submission"`
	VersionCode int64     `json:"version_code"`
	Track       string    `json:"track"`
	Share       api.Share `json:"share"`
	Regions     []string  `json:"regions,omitempty"`
	Classes     []string  `json:"classes,omitempty"`
	Schedule    *Schedule `json:"schedule,omitempty"`
}

func (r *Release) event() releaseEvent {
	return releaseEvent{r.Number, r.Submission, r.VersionCode, r.Track, r.Share, r.Regions, r.Classes, r.Schedule}
}
