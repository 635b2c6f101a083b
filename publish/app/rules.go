package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"mios"
	api "mios/api/repo"
	"mios/publish/app/check"
	"mios/publish/app/lookalike"
	"mios/storage/record"
)

// claimOf returns what the repository says of who owns a package, or nil.
func (s *Store) claimOf(ctx context.Context, pkg string) (*api.Claim, error) {
	c, _, err := s.cfg.Repo.ClaimOf(ctx, pkg)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, nil
	}
	return &c, err
}

// rules says why a submission may not become a version of its package, and
// whether it is the first.
func (s *Store) rules(tx *record.Tx, row *submissionRow, claim *api.Claim) error {
	a, err := loadApp(tx, row.Package)
	if err != nil {
		return err
	}
	row.First = a == nil
	if a == nil {
		err = rulesFirst(tx, row, claim)
	} else {
		err = rulesNext(a, row)
	}
	if err != nil {
		return err
	}
	others, err := column(tx, `SELECT data FROM store_submissions WHERE package = ? AND state <> ? AND id <> ? ORDER BY version_code DESC LIMIT 1`,
		row.Package, Rejected, row.number())
	if err != nil || len(others) == 0 {
		return err
	}
	var highest Submission
	if err := decode("submission", others[0], &highest); err != nil {
		return err
	}
	if row.VersionCode <= highest.VersionCode {
		return fmt.Errorf("%s: version code %d is not above %d, which is submission %s: %w: raise the version code",
			row.Package, row.VersionCode, highest.VersionCode, highest.ID, mios.ErrConflict)
	}
	return nil
}

// rulesFirst are those for a package that nothing is approved of.
func rulesFirst(tx *record.Tx, row *submissionRow, claim *api.Claim) error {
	if claim != nil && !claim.Owns(&row.Template) {
		return fmt.Errorf("%s: the repository has the package for another signer, %s: %w: sign it with that key, or take another package name",
			row.Package, short(claim.Signers), mios.ErrDenied)
	}
	others, err := column(tx, `SELECT data FROM store_submissions WHERE package = ? AND state <> ? AND id <> ? LIMIT 1`, row.Package, Rejected, row.number())
	if err != nil || len(others) == 0 {
		return err
	}
	var other Submission
	if err := decode("submission", others[0], &other); err != nil {
		return err
	}
	if other.By != row.By || !sameSigners(other.Signers, row.Signers) {
		return fmt.Errorf("%s: somebody else's first version of the package waits for review: %w: take another package name, or ask the store's operator",
			row.Package, mios.ErrConflict)
	}
	return nil
}

// rulesNext are those for a package that is there.
func rulesNext(a *App, row *submissionRow) error {
	if err := a.CheckDeveloper(row.By); err != nil {
		return err
	}
	owner := api.Claim{Package: a.Package, Signers: a.Owner}
	if !sameSigners(a.Signers, row.Signers) && !succeeds(row, a.Signers) || !owner.Owns(&row.Template) {
		return fmt.Errorf("%s: it is signed by %s, and the versions before by %s: %w: sign it with that key, or with a lineage from it to the new one (mios app lineage create)",
			row.Package, short(row.Signers), short(a.Signers), mios.ErrDenied)
	}
	return nil
}

// CheckDeveloper is nil if who is one of the app's developers. Else the error
// wraps [mios.ErrDenied] and says what adds them.
func (a *App) CheckDeveloper(who string) error {
	if slices.Contains(a.Developers, who) {
		return nil
	}
	var names strings.Builder
	for _, name := range append(slices.Clone(a.Developers), who) {
		if strings.ContainsFunc(name, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("@%+=:,./-_", r)
		}) {
			name = strconv.Quote(name)
		}
		names.WriteString(" " + name)
	}
	return fmt.Errorf("%s: the package is another developer's: %w: take another package name, or ask %s; the store's operator adds you with mios store developers %s%s",
		a.Package, mios.ErrDenied, a.Developers[0], a.Package, names.String())
}

// succeeds tells whether the submission's v3 lineage goes on from the signers
// of the version before.
func succeeds(row *submissionRow, before []mios.Digest) bool {
	return len(row.Signers) == 1 && len(before) == 1 && slices.Contains(row.Lineage, before[0])
}

func sameSigners(a, b []mios.Digest) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(d mios.Digest) bool { return !slices.Contains(b, d) })
}

// short names certificates for a person.
func short(list []mios.Digest) string {
	var names []string
	for _, d := range list {
		names = append(names, d.String()[:16])
	}
	return strings.Join(names, ", ")
}

// previousFacts are those of the newest approved version, or nil.
func previousFacts(tx *record.Tx, row *submissionRow) (*check.Facts, error) {
	ids, err := column(tx, `SELECT id FROM store_submissions WHERE package = ? AND state = ? ORDER BY version_code DESC LIMIT 1`, row.Package, Approved)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return loadFacts(tx, ids[0])
}

// pointOut finds the apps of others that a first version may be taken for.
func (s *Store) pointOut(tx *record.Tx, row *submissionRow) error {
	row.Alike = nil
	if !row.First {
		return nil
	}
	rows, err := tx.Query(`SELECT package, label FROM store_apps WHERE package <> ? ORDER BY package`, row.Package)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() && len(row.Alike) < 20 {
		var pkg, label string
		if err := rows.Scan(&pkg, &label); err != nil {
			return err
		}
		if why := lookalike.Like(row.Package, pkg); why != "" {
			row.Alike = append(row.Alike, Alike{pkg, label, "the package's name " + why})
		} else if label == row.Label {
			row.Alike = append(row.Alike, Alike{pkg, label, "the name is the same"})
		} else if why := lookalike.Like(row.Label, label); why != "" {
			row.Alike = append(row.Alike, Alike{pkg, label, "the name " + why})
		}
	}
	return rows.Err()
}

// askDomain asks the domain in the name of a package that nothing is approved
// of, for the reviewer to see.
func (s *Store) askDomain(ctx context.Context, row *submissionRow) error {
	var a *App
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		a, err = loadApp(tx, row.Package)
		return err
	})
	if err != nil || a != nil {
		return err
	}
	row.Domain = ""
	if err := s.proveDomain(ctx, row); err != nil {
		row.Domain = err.Error()
	}
	return ctx.Err()
}

func (s *Store) proveDomain(ctx context.Context, row *submissionRow) error {
	if s.cfg.Prover == nil {
		return fmt.Errorf("package %s: the store is to ask its domain, and has nothing to ask with: %w", row.Package, mios.ErrDenied)
	}
	return s.cfg.Prover.Prove(ctx, row.Package, row.Signers)
}
