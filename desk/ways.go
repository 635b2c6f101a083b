package desk

import (
	"context"
	"crypto"
	"os"
	"path/filepath"

	api "mios/api/repo"
	"mios/build/ota"
	"mios/build/ota/adaptive"
	"mios/build/ota/delta"
	"mios/build/ota/input"
	"mios/key"
	"mios/publish/repo"
)

// Ways are what a release has beside its full payload.
type Ways struct {
	From   []string // folders of builds that there is a delta from
	Chunks bool     // for updates from any build
}

// PublishWays is Publish, of a release with further ways. It publishes what it
// makes anew, also for a release that is there already.
func (d *Desk) PublishWays(ctx context.Context, r *repo.Repo, build string, w Ways, progress func(done, total int64)) (*api.OSRelease, error) {
	rel, file, err := d.release(ctx, build, progress)
	if err != nil {
		return nil, err
	}
	for _, from := range w.From {
		name, err := d.Delta(ctx, from, build)
		if err != nil {
			return nil, err
		}
		rel.Deltas = append(rel.Deltas, name)
	}
	if w.Chunks {
		if rel.Chunks, err = d.Chunks(ctx, build); err != nil {
			return nil, err
		}
	}
	return publish(ctx, r, rel, file)
}

// Delta returns the file of the payload that leads from one build to another.
func (d *Desk) Delta(ctx context.Context, from, to string) (string, error) {
	signer, err := d.keys.Signer(key.OTA)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(to, "ota", "from-"+filepath.Base(from))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	old, err := input.Open(from, dir)
	if err != nil {
		return "", err
	}
	defer old.Close()
	new, err := input.Open(to, dir)
	if err != nil {
		return "", err
	}
	defer new.Close()
	p, err := delta.Between(old, new, delta.Options{Signers: []crypto.Signer{signer}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, ota.PayloadFile)
	_, _, err = p.WriteFile(ctx, name, false, nil)
	return name, err
}

// Chunks returns the folder of a build's chunks.
func (d *Desk) Chunks(ctx context.Context, build string) (string, error) {
	dir := filepath.Join(build, "ota")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	in, err := input.Open(build, dir)
	if err != nil {
		return "", err
	}
	defer in.Close()
	r := adaptive.Release{Partitions: in.Partitions}
	_, err = r.WriteDir(ctx, dir)
	return dir, err
}
