package repo

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"mios"
	"mios/api/repo"
	"mios/format/tuf"
	"mios/storage/tree"
)

// A view is what the tree says now.
type view struct {
	docs      map[string]*document
	raw       map[string][]byte // the files of docs and the snapshot's, by role
	snapshot  *snapshotMeta
	timestamp *timestampMeta
	pointer   []byte           // timestamp.json as it is
	used      map[string]int64 // the highest version of each role that has a file
}

func (v *view) root() *rootMeta {
	if d := v.docs[tuf.RoleRoot]; d != nil {
		return d.root
	}
	return nil
}

// view reads the tree. A tree that has no root yet is empty, save for the
// versions that are used up.
func (r *Repo) view(ctx context.Context) (*view, error) {
	v := &view{docs: map[string]*document{}, raw: map[string][]byte{}, used: map[string]int64{}}
	names, err := r.tree.List(ctx, "metadata")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		version, role, ok := strings.Cut(path.Base(name), ".")
		n, err := strconv.ParseInt(version, 10, 64)
		if role, json := strings.CutSuffix(role, ".json"); ok && json && err == nil {
			v.used[role] = max(v.used[role], n)
		}
	}
	if v.pointer, err = tree.ReadAll(ctx, r.tree, repo.MetadataPath(tuf.RoleTimestamp, 0), repo.MaxTimestamp); err == nil {
		if v.timestamp, err = tuf.Parse[tuf.Timestamp](v.pointer); err != nil {
			return nil, fmt.Errorf("timestamp: %v: %w", err, mios.ErrInvalid)
		}
	} else if !errors.Is(err, mios.ErrNotFound) {
		return nil, err
	}
	if v.used[tuf.RoleRoot] == 0 {
		return v, nil
	}
	if v.timestamp == nil {
		return nil, fmt.Errorf("the repository has a root and no timestamp: %w", mios.ErrInvalid)
	}
	if err := r.load(ctx, v, tuf.RoleRoot, v.used[tuf.RoleRoot]); err != nil {
		return nil, err
	}
	return v, r.loadSnapshot(ctx, v)
}

func (r *Repo) loadSnapshot(ctx context.Context, v *view) error {
	f := v.timestamp.Signed.Meta["snapshot.json"]
	if f == nil {
		return fmt.Errorf("timestamp: it names no snapshot: %w", mios.ErrInvalid)
	}
	b, err := tree.ReadAll(ctx, r.tree, repo.MetadataPath(tuf.RoleSnapshot, f.Version), repo.MaxMetadata)
	if err != nil {
		return err
	}
	if v.snapshot, err = tuf.Parse[tuf.Snapshot](b); err != nil {
		return fmt.Errorf("snapshot: %v: %w", err, mios.ErrInvalid)
	}
	v.raw[tuf.RoleSnapshot] = b
	for name, f := range v.snapshot.Signed.Meta {
		if err := r.load(ctx, v, strings.TrimSuffix(name, ".json"), f.Version); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) load(ctx context.Context, v *view, role string, version int64) error {
	b, err := tree.ReadAll(ctx, r.tree, repo.MetadataPath(role, version), repo.MaxMetadata)
	if err != nil {
		return err
	}
	d, err := parseDocument(role, b)
	if err != nil {
		return err
	}
	v.docs[role], v.raw[role] = d, b
	return nil
}
