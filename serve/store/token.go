package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"

	"mios"
	"mios/storage/record"
)

// A Scope is something that a token allows.
type Scope string

// The scopes. Who may upload sees what they have uploaded.
const (
	Upload  Scope = "upload"  // hand in versions and listings
	Review  Scope = "review"  // approve and reject
	Release Scope = "release" // release, and change releases
	Read    Scope = "read"    // see everything
	Admin   Scope = "admin"   // all of these, tokens and developers
)

// Scopes are all of them.
var Scopes = []Scope{Upload, Review, Release, Read, Admin}

// A Token lets somebody use the API. Its secret is known only to whom it was
// given.
type Token struct {
	ID       string     `json:"id" doc:"names the token, and is no secret"`
	Who      string     `json:"who" doc:"the name that the history tells of what is done with it"`
	Scopes   []Scope    `json:"scopes" enum:"upload,review,release,read,admin"`
	Packages []string   `json:"packages,omitempty" doc:"the only packages that it is for; none: all"`
	Note     string     `json:"note,omitempty"`
	By       string     `json:"by" doc:"who made it"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires,omitempty"`
	Used     *time.Time `json:"used,omitempty" doc:"when it was used last, within a minute"`
	Revoked  *time.Time `json:"revoked,omitempty"`
}

// May tells whether the token allows a scope.
func (t *Token) May(s Scope) bool {
	return slices.Contains(t.Scopes, s) || slices.Contains(t.Scopes, Admin)
}

// For tells whether the token is for a package.
func (t *Token) For(pkg string) bool {
	return len(t.Packages) == 0 || slices.Contains(t.Packages, pkg)
}

// Tokens keeps tokens in a database. Its methods may be called concurrently,
// and by several processes.
type Tokens struct {
	db  *record.DB
	now func() time.Time
}

//go:embed migrations/*.sql
var migrations embed.FS

// OpenTokens returns the tokens in a database, whose tables it makes or brings
// up to date.
func OpenTokens(ctx context.Context, db *record.DB) (*Tokens, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return &Tokens{db, time.Now}, db.Migrate(ctx, "api", files)
}

// A TokenSpec is what a new token is to be.
type TokenSpec struct {
	Who      string        // whom the history names
	Scopes   []Scope       // at least one
	Packages []string      // none: all
	Note     string        // for whom it is, for people
	TTL      time.Duration // 0: it does not expire
}

// prefix begins every secret, so that a scanner for secrets knows it.
const prefix = "mios_"

// Create makes a token. The secret is returned this once.
func (ts *Tokens) Create(ctx context.Context, by string, spec TokenSpec) (t *Token, secret string, err error) {
	if err := spec.check(); err != nil {
		return nil, "", err
	}
	t = &Token{ID: random(6), Who: spec.Who, Scopes: spec.Scopes, Packages: spec.Packages, Note: spec.Note, By: by, Created: ts.now().UTC().Truncate(time.Second)}
	var expires int64
	if spec.TTL > 0 {
		at := t.Created.Add(spec.TTL)
		t.Expires, expires = &at, at.Unix()
	}
	secret = prefix + t.ID + "_" + random(32)
	err = ts.db.Tx(ctx, func(tx *record.Tx) error {
		_, err := tx.Exec(`INSERT INTO api_tokens (id, hash, who, scopes, packages, note, made_by, created, expires, used, revoked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
			t.ID, hashOf(secret), t.Who, joinScopes(t.Scopes), strings.Join(t.Packages, " "), t.Note, by, t.Created.Unix(), expires)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("make a token: %w", err)
	}
	return t, secret, nil
}

func (spec *TokenSpec) check() error {
	switch {
	case spec.Who == "" || len(spec.Who) > 200 || strings.ContainsFunc(spec.Who, odd):
		return fmt.Errorf("token for %q: %w: name whom it is for, as alice or alice@example.org", spec.Who, mios.ErrInvalid)
	case len(spec.Note) > 200 || strings.ContainsFunc(spec.Note, odd):
		return fmt.Errorf("note of a token: %w: want at most 200 bytes of plain text", mios.ErrInvalid)
	case len(spec.Scopes) == 0:
		return fmt.Errorf("token without a scope: %w: give one or more of %s", mios.ErrInvalid, joinScopes(Scopes))
	case spec.TTL < 0:
		return fmt.Errorf("token that has expired: %w", mios.ErrInvalid)
	}
	for _, s := range spec.Scopes {
		if !slices.Contains(Scopes, s) {
			return fmt.Errorf("scope %q: %w: want %s", s, mios.ErrInvalid, joinScopes(Scopes))
		}
	}
	for _, p := range spec.Packages {
		if p == "" || len(p) > 255 || strings.ContainsFunc(p, func(r rune) bool {
			return !(r == '.' || r == '_' || r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)))
		}) {
			return fmt.Errorf("package %q: %w: want a name as org.example.app", p, mios.ErrInvalid)
		}
	}
	return nil
}

// odd tells whether a character is none of a name's.
func odd(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`<>&"`, r) }

func joinScopes(list []Scope) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, " ")
}

// random returns n random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// hashOf is what is kept of a secret, which has enough randomness to need
// neither salt nor a slow function.
func hashOf(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

const tokenColumns = `SELECT id, hash, who, scopes, packages, note, made_by, created, expires, used, revoked FROM api_tokens`

func scanToken(scan func(...any) error) (t *Token, hash string, err error) {
	var scopes, packages string
	var created, expires, used, revoked int64
	t = new(Token)
	if err := scan(&t.ID, &hash, &t.Who, &scopes, &packages, &t.Note, &t.By, &created, &expires, &used, &revoked); err != nil {
		return nil, "", err
	}
	for s := range strings.FieldsSeq(scopes) {
		t.Scopes = append(t.Scopes, Scope(s))
	}
	t.Packages = strings.Fields(packages)
	t.Created = time.Unix(created, 0).UTC()
	t.Expires, t.Used, t.Revoked = instant(expires), instant(used), instant(revoked)
	return t, hash, nil
}

func instant(sec int64) *time.Time {
	if sec == 0 {
		return nil
	}
	t := time.Unix(sec, 0).UTC()
	return &t
}

// List returns all tokens that there ever were, sorted by ID.
func (ts *Tokens) List(ctx context.Context) (list []Token, err error) {
	err = ts.db.View(ctx, func(tx *record.Tx) error {
		list = []Token{}
		rows, err := tx.Query(tokenColumns + ` ORDER BY id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			t, _, err := scanToken(rows.Scan)
			if err != nil {
				return err
			}
			list = append(list, *t)
		}
		return rows.Err()
	})
	return list, err
}

// Revoke ends a token at once, for all processes. One that was revoked before
// is no error.
func (ts *Tokens) Revoke(ctx context.Context, id string) error {
	return ts.db.Tx(ctx, func(tx *record.Tx) error {
		var was int64
		if err := tx.QueryRow(`SELECT revoked FROM api_tokens WHERE id = ?`, id).Scan(&was); err != nil {
			if errors.Is(err, mios.ErrNotFound) {
				return fmt.Errorf("token %q: %w: mios store token list tells which there are", id, mios.ErrNotFound)
			}
			return err
		}
		if was != 0 {
			return nil
		}
		_, err := tx.Exec(`UPDATE api_tokens SET revoked = ? WHERE id = ?`, ts.now().Unix(), id)
		return err
	})
}

// errToken is why a secret is not taken, with what a person may do about it.
type errToken string

func (e errToken) Error() string { return string(e) }

// Check returns the token of a secret. The error is an [errToken] where it is
// not good.
func (ts *Tokens) Check(ctx context.Context, secret string) (*Token, error) {
	const unknown = errToken("the token is not known here: ask the store's operator for one")
	rest, ok := strings.CutPrefix(secret, prefix)
	id, _, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || len(secret) > 200 {
		return nil, unknown
	}
	var t *Token
	var hash string
	err := ts.db.View(ctx, func(tx *record.Tx) (err error) {
		t, hash, err = scanToken(tx.QueryRow(tokenColumns+` WHERE id = ?`, id).Scan)
		return err
	})
	switch {
	case errors.Is(err, mios.ErrNotFound):
		return nil, unknown
	case err != nil:
		return nil, err
	case subtle.ConstantTimeCompare([]byte(hash), []byte(hashOf(secret))) != 1:
		return nil, unknown
	case t.Revoked != nil:
		return nil, errToken("the token was revoked: ask the store's operator for a new one")
	case t.Expires != nil && !ts.now().Before(*t.Expires):
		return nil, errToken("the token expired on " + t.Expires.Format(time.RFC3339) + ": ask the store's operator for a new one")
	}
	return t, ts.use(ctx, t)
}

// use notes that a token was used, once a minute.
func (ts *Tokens) use(ctx context.Context, t *Token) error {
	now := ts.now().UTC().Truncate(time.Second)
	if t.Used != nil && now.Sub(*t.Used) < time.Minute {
		return nil
	}
	t.Used = &now
	return ts.db.Tx(ctx, func(tx *record.Tx) error {
		_, err := tx.Exec(`UPDATE api_tokens SET used = ? WHERE id = ?`, now.Unix(), t.ID)
		return err
	})
}
