package desk

import (
	"context"
	"crypto"
	"os"
	"path/filepath"

	api "mios/api/repo"
	buildota "mios/build/ota"
	"mios/build/ota/adaptive"
	"mios/build/ota/delta"
	"mios/build/ota/input"
	"mios/key"
	"mios/publish/ota"
	"mios/publish/repo"
)

// Ways are what a release has beside its full payload.
type Ways struct {
	From   []string // folders of builds that there is a delta from
	Chunks bool     // for updates from any build
}

// PublishWays publishes a build with its payload and further ways to it, unless
// a release of it with as many ways is published already.
func (d *Desk) PublishWays(ctx context.Context, r *repo.Repo, build string, w Ways, progress func(done, total int64)) (out *api.OSRelease, reused bool, err error) {
	rel, file, err := d.release(ctx, build, progress)
	if err != nil {
		return nil, false, err
	}
	st, err := r.Status(ctx)
	if err != nil {
		return nil, false, err
	}
	for i := range st.Releases {
		old := &st.Releases[i]
		if old.Product == rel.Product && old.Arch == rel.Arch && old.Version == rel.Version && old.BuildTime == rel.BuildTime &&
			len(old.Deltas) >= len(w.From) && (old.Adaptive != nil || !w.Chunks) {
			return old, true, nil
		}
	}
	for _, from := range w.From {
		name, err := d.Delta(ctx, from, build)
		if err != nil {
			return nil, false, err
		}
		rel.Deltas = append(rel.Deltas, name)
	}
	if w.Chunks {
		if rel.Chunks, err = d.Chunks(ctx, build); err != nil {
			return nil, false, err
		}
	}
	out, _, err = ota.Publish(ctx, r, rel, file, api.Everyone)
	return out, false, err
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
	name := filepath.Join(dir, buildota.PayloadFile)
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
