// Package ota publishes OS releases: a payload becomes a release of its
// product, and a rollout says how far it goes.
package ota

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"

	"mios"
	api "mios/api/repo"
	"mios/format/payload"
	"mios/publish/repo"
)

// A Release is what a vendor says of a payload. Everything else is read from
// the payload.
type Release struct {
	Product   string
	Arch      mios.Arch
	Version   string
	BuildTime int64    // seconds since 1970; the payload's max_timestamp
	Channels  []string // at least one
	Regions   []string // none means everywhere
	MaxShare  api.Share
	Notes     string
	// Keys, if any, must have signed the payload, one of them, and every delta.
	Keys []*rsa.PublicKey
	// Deltas are files of incremental payloads to the same build.
	Deltas []string
	// Chunks is a folder with the build's chunks, as build/ota/adaptive writes
	// them, or "".
	Chunks string
}

// Publish makes the payload in the file at path a release, with the given
// share of devices today. A payload of another build is refused with an error
// that wraps [mios.ErrInvalid].
func Publish(ctx context.Context, r *repo.Repo, rel Release, path string, share api.Share) (*api.OSRelease, *repo.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	out, meta, err := describe(rel, f)
	if err != nil {
		return nil, nil, fmt.Errorf("payload %s: %w", path, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	files, done, err := rel.ways(out, meta.Manifest)
	defer done()
	if err != nil {
		return nil, nil, err
	}
	res, err := r.PublishOS(ctx, out, f, share, files...)
	return out, res, err
}

// describe reads the payload and compares it with what is said of it.
func describe(rel Release, f *os.File) (*api.OSRelease, *payload.Metadata, error) {
	meta, err := rel.read(f)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, nil, err
	}
	sum := mios.Digest(h.Sum(nil))
	hash, b64 := meta.Hash(), base64.StdEncoding.EncodeToString
	return &api.OSRelease{
		Target:  api.Target{Path: api.OSPath(rel.Product, rel.Arch, rel.Version, rel.BuildTime), Length: size, SHA256: sum},
		Product: rel.Product, Arch: rel.Arch, Version: rel.Version, BuildTime: rel.BuildTime,
		Channels: rel.Channels, Regions: rel.Regions, MaxShare: rel.MaxShare, Salt: salt(sum),
		SecurityPatch: meta.Manifest.SecurityPatch, Notes: rel.Notes,
		Properties: map[string]string{
			"FILE_HASH": b64(sum[:]), "FILE_SIZE": strconv.FormatInt(size, 10),
			"METADATA_HASH": b64(hash[:]), "METADATA_SIZE": strconv.FormatInt(meta.SignedSize(), 10),
		},
	}, meta, nil
}

// read reads the metadata of a payload, full or delta, and compares it with the
// release and with the file's size.
func (rel *Release) read(f *os.File) (*payload.Metadata, error) {
	meta, err := payload.ReadMetadata(f)
	if err != nil {
		return nil, err
	}
	if got := meta.Manifest.MaxTimestamp; got != rel.BuildTime {
		return nil, fmt.Errorf("it is of the build of %d, and the release of %d: %w: name the build that it was made from", got, rel.BuildTime, mios.ErrInvalid)
	}
	if len(rel.Keys) > 0 {
		if err := meta.Verify(rel.Keys); err != nil {
			return nil, fmt.Errorf("%w: sign it with the ota key that the devices trust", err)
		}
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if want := meta.PayloadSize(); st.Size() != want {
		return nil, fmt.Errorf("%d bytes, want %d: %w", st.Size(), want, mios.ErrInvalid)
	}
	return meta, nil
}

// salt is a release's own, so that the devices that come first differ from
// release to release, and the same for the same payload.
func salt(payload mios.Digest) string {
	sum := sha256.Sum256(append([]byte("share "), payload[:]...))
	return hex.EncodeToString(sum[:8])
}
