package app

import (
	"context"
	"fmt"
	"io"
	"slices"

	"mios"
	"mios/api/repo"
)

// A Repository knows which apps there are. *repo.Client is one.
type Repository interface {
	Refresh(ctx context.Context) error
	CheckFresh() error
	AppVersions(ctx context.Context, pkg string) ([]repo.AppRelease, error)
}

// A Fetcher brings files of the repository. *fetch.Client is one.
type Fetcher interface {
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
}

// RepoSource is a [Source] out of the repository that the device trusts.
type RepoSource struct {
	Repository Repository
	Fetcher    Fetcher
}

// Open implements [Source]: the newest release that runs here, on metadata
// that is fresh enough to install from.
func (s *RepoSource) Open(ctx context.Context, pkg string, sdk int, abi string) (*Release, io.ReadCloser, error) {
	if err := s.Repository.Refresh(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.Repository.CheckFresh(); err != nil {
		return nil, nil, err
	}
	versions, err := s.Repository.AppVersions(ctx, pkg)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(versions, func(r repo.AppRelease) bool {
		return r.MinSDK <= sdk && (len(r.ABIs) == 0 || slices.Contains(r.ABIs, abi))
	})
	if i < 0 {
		return nil, nil, fmt.Errorf("none of %d releases is for SDK version %d and %s: %w", len(versions), sdk, abi, mios.ErrNotFound)
	}
	r := versions[i]
	body, err := s.Fetcher.Open(ctx, r.Target.File(), 0, r.Target.Length)
	if err != nil {
		return nil, nil, err
	}
	return &Release{
		Package: r.Package, VersionCode: r.VersionCode, Signers: r.Signers, Size: r.Target.Length, SHA256: r.Target.SHA256,
	}, body, nil
}
