package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"mios"
	api "mios/api/repo"
	"mios/format/apkdelta"
	"mios/storage/blob"
	"mios/storage/record"
)

const (
	deltaFrom  = 3       // versions before the newest that devices may have
	deltaMost  = 60      // per cent of the APK: a larger delta is not offered
	deltaLimit = 1 << 30 // bytes of an APK: larger ones have no deltas
)

// A pair is a delta that may be worth making.
type pair struct {
	pkg        string
	old, new   api.Target
	newVersion int64
}

// MakeDeltas compares the newest versions with those that devices may have, and
// offers the deltas that are small. What it makes has to be compiled after. It
// takes long for large packages, and may be ended and begun again at any time.
func (s *Store) MakeDeltas(ctx context.Context, tell func(what string)) error {
	todo, err := s.jobs(ctx, workDelta)
	if err != nil || len(todo) == 0 {
		return err
	}
	unlock, err := s.cfg.DB.Lock(ctx, deltaLock)
	if err != nil {
		return err
	}
	defer unlock()
	if todo, err = s.jobs(ctx, workDelta); err != nil {
		return err
	}
	var first error
	for _, j := range todo {
		if err := s.deltasOf(ctx, j, tell); err != nil {
			if ctx.Err() != nil {
				return err
			}
			first = errors.Join(first, fmt.Errorf("deltas of %s: %w", j.pkg, err))
		}
	}
	return first
}

func (s *Store) deltasOf(ctx context.Context, j job, tell func(string)) error {
	var pairs []pair
	err := s.cfg.DB.View(ctx, func(tx *record.Tx) (err error) {
		pairs, err = missing(tx, j.pkg)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range pairs {
		tell(fmt.Sprintf("%s %d from %.8s", p.pkg, p.newVersion, p.old.SHA256))
		if err := s.makeDelta(ctx, p); err != nil {
			return err
		}
	}
	return s.cfg.DB.Tx(ctx, func(tx *record.Tx) error { return j.done(tx) })
}

// missing returns the deltas of a package that nobody has tried to make: from
// each of the last versions to the newest of each track.
func missing(tx *record.Tx, pkg string) ([]pair, error) {
	v, err := load(tx, pkg)
	if err != nil || v == nil {
		return nil, err
	}
	var list []pair
	for _, track := range api.Tracks {
		var to *api.AppRelease
		from := 0
		for i := range v.releases {
			r := &v.releases[i]
			switch {
			case to == nil && (r.Withdrawn || r.Tracks[0] != track):
			case to == nil:
				to = r
			case r.Target.SHA256 != to.Target.SHA256 && from < deltaFrom:
				from++
				p := pair{pkg, r.Target, to.Target, to.VersionCode}
				has, err := knows(tx, p)
				if err != nil {
					return nil, err
				}
				if !has && max(p.old.Length, p.new.Length) < deltaLimit {
					list = append(list, p)
				}
			}
		}
	}
	return list, nil
}

func knows(tx *record.Tx, p pair) (bool, error) {
	var n int64
	err := tx.QueryRow(`SELECT COUNT(*) FROM store_deltas WHERE target = ? AND source = ?`, p.new.SHA256, p.old.SHA256).Scan(&n)
	return n > 0, err
}

// makeDelta makes one delta and keeps it if it is small, or that it is not.
func (s *Store) makeDelta(ctx context.Context, p pair) error {
	tmp, err := os.CreateTemp("", "mios-delta-")
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err := os.Remove(tmp.Name()); err != nil {
		return err
	}
	if err := s.compare(ctx, p, tmp); err != nil {
		return err
	}
	size, err := tmp.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if size*100 >= p.new.Length*deltaMost {
		return s.cfg.DB.Tx(ctx, func(tx *record.Tx) error { return p.keep(tx, "", size) })
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	unlock, err := s.cfg.DB.Lock(ctx, blobLock)
	if err != nil {
		return err
	}
	defer unlock()
	d, _, err := s.cfg.Blobs.Put(ctx, tmp, mios.Digest{})
	if err != nil {
		return err
	}
	return s.change(ctx, "store", func(c *change) error {
		if err := c.hold("delta "+p.new.SHA256.String(), []mios.Digest{d}); err != nil {
			return err
		}
		if err := p.keep(c.Tx, d.String(), size); err != nil {
			return err
		}
		return c.later(workTree, p.pkg)
	})
}

func (p pair) keep(tx *record.Tx, digest string, size int64) error {
	_, err := tx.Exec(`INSERT INTO store_deltas (target, source, sha256, size) VALUES (?, ?, ?, ?) ON CONFLICT (target, source) DO NOTHING`,
		p.new.SHA256, p.old.SHA256, digest, size)
	return err
}

// deltaMemory bounds what comparing two APKs takes beside them, in bytes.
const deltaMemory = 512 << 20

// compare writes the delta between the two.
func (s *Store) compare(ctx context.Context, p pair, w io.Writer) error {
	var files [2]blob.File
	for i, t := range []api.Target{p.old, p.new} {
		f, err := s.cfg.Blobs.Open(ctx, t.SHA256)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	_, err := apkdelta.Make(ctx, files[0], p.old.Length, files[1], p.new.Length, w, apkdelta.Options{Memory: deltaMemory})
	return err
}

// loadDeltas returns what devices may fetch instead of a release's base APK.
func loadDeltas(tx *record.Tx, r *api.AppRelease) ([]api.AppDelta, error) {
	rows, err := tx.Query(`SELECT source, sha256, size FROM store_deltas WHERE target = ? AND sha256 <> '' ORDER BY source`, r.Target.SHA256)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []api.AppDelta
	for rows.Next() && len(list) < api.MaxAppDeltas {
		var from, digest string
		d := api.AppDelta{}
		if err := rows.Scan(&from, &digest, &d.Target.Length); err != nil {
			return nil, err
		}
		if d.From, err = mios.ParseDigest(from); err != nil {
			return nil, err
		}
		if d.Target.SHA256, err = mios.ParseDigest(digest); err != nil {
			return nil, err
		}
		d.Target.Path = api.DeltaPath(r.Package, r.VersionCode, d.From)
		list = append(list, d)
	}
	return list, rows.Err()
}
