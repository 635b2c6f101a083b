package ota

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"mios"
	api "mios/api/repo"
	"mios/format/chunks"
	"mios/format/payload"
	"mios/internal/digest"
	"mios/publish/repo"
)

// ways describes the release's deltas and chunks in out, and opens their files.
// The caller calls done also after an error. full is the manifest of the
// payload: whatever way a device takes, it comes to the same partitions.
func (rel *Release) ways(out *api.OSRelease, full *payload.Manifest) (files []repo.File, done func(), err error) {
	var open []io.Closer
	done = func() {
		for _, f := range open {
			f.Close()
		}
	}
	add := func(name string, t api.Target) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		open = append(open, f)
		files = append(files, repo.File{Target: t, Content: f})
		return nil
	}
	dir := path.Dir(out.Target.Path)
	for _, name := range rel.Deltas {
		d, err := rel.delta(name, dir, full)
		if err != nil {
			return nil, done, fmt.Errorf("delta %s: %w", name, err)
		}
		out.Deltas = append(out.Deltas, *d)
		if err := add(name, d.Target); err != nil {
			return nil, done, err
		}
	}
	if rel.Chunks == "" {
		return files, done, nil
	}
	a, err := describeChunks(rel.Chunks, dir, full)
	if err != nil {
		return nil, done, fmt.Errorf("chunks in %s: %w", rel.Chunks, err)
	}
	out.Adaptive = a
	for _, t := range []api.Target{a.Index, a.Pack} {
		if err := add(filepath.Join(rel.Chunks, path.Base(t.Path)), t); err != nil {
			return nil, done, err
		}
	}
	return files, done, nil
}

// delta reads a delta and compares it with the release.
func (rel *Release) delta(name, dir string, full *payload.Manifest) (*api.Delta, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	meta, err := rel.read(f)
	if err != nil {
		return nil, err
	}
	d := new(api.Delta)
	for i := range meta.Manifest.Partitions {
		p := &meta.Manifest.Partitions[i]
		if p.Name == "vbmeta" && p.OldInfo != nil {
			if len(p.OldInfo.Hash) != len(d.From) {
				return nil, fmt.Errorf("old hash of partition vbmeta has %d bytes: %w", len(p.OldInfo.Hash), mios.ErrInvalid)
			}
			d.From, d.FromSize = mios.Digest(p.OldInfo.Hash), int64(p.OldInfo.Size)
		}
	}
	if d.FromSize == 0 {
		return nil, fmt.Errorf("it does not say which vbmeta partition it is from: %w: a device could not tell that it is for it; make it from whole builds", mios.ErrInvalid)
	}
	if err := samePartitions(full, meta.Manifest); err != nil {
		return nil, err
	}
	d.Target, err = target(path.Join(dir, api.DeltaFile(d.From)), name)
	return d, err
}

// samePartitions compares what two payloads make.
func samePartitions(full, other *payload.Manifest) error {
	want := map[string]*payload.PartitionInfo{}
	for i := range full.Partitions {
		want[full.Partitions[i].Name] = full.Partitions[i].NewInfo
	}
	for i := range other.Partitions {
		p := &other.Partitions[i]
		w := want[p.Name]
		if w == nil || p.NewInfo == nil || w.Size != p.NewInfo.Size || string(w.Hash) != string(p.NewInfo.Hash) {
			return fmt.Errorf("it makes another partition %s than the payload: %w: make both from the same build", p.Name, mios.ErrInvalid)
		}
		delete(want, p.Name)
	}
	for name := range want {
		return fmt.Errorf("it does not make partition %s: %w: make it from whole builds", name, mios.ErrInvalid)
	}
	return nil
}

// describeChunks reads an index and compares it with the release.
func describeChunks(from, dir string, full *payload.Manifest) (*api.Adaptive, error) {
	name := filepath.Join(from, chunks.IndexFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	root, size, err := chunks.ReadRoot(b)
	if err != nil {
		return nil, err
	}
	if err := sameRoot(full, root); err != nil {
		return nil, err
	}
	if want := root.IndexSize(); int64(len(b)) != want {
		return nil, fmt.Errorf("index of %d bytes, want %d: %w: make them again", len(b), want, mios.ErrInvalid)
	}
	a := &api.Adaptive{Root: mios.Sum(b[:size]), RootSize: int64(size)}
	if a.Index, err = target(path.Join(dir, chunks.IndexFile), name); err != nil {
		return nil, err
	}
	if a.Pack, err = target(path.Join(dir, chunks.PackFile), filepath.Join(from, chunks.PackFile)); err != nil {
		return nil, err
	}
	if a.Pack.Length != root.PackSize {
		return nil, fmt.Errorf("pack of %d bytes, want %d: %w: make them again", a.Pack.Length, root.PackSize, mios.ErrInvalid)
	}
	return a, nil
}

// sameRoot compares what an index makes with what a payload makes.
func sameRoot(full *payload.Manifest, root *chunks.Root) error {
	if len(root.Partitions) != len(full.Partitions) {
		return fmt.Errorf("%d partitions, and the payload has %d: %w: make both from the same build", len(root.Partitions), len(full.Partitions), mios.ErrInvalid)
	}
	m := new(payload.Manifest)
	for i := range root.Partitions {
		p := &root.Partitions[i]
		m.Partitions = append(m.Partitions, payload.Partition{Name: p.Name, NewInfo: &payload.PartitionInfo{Size: uint64(p.Size), Hash: p.SHA256[:]}})
	}
	return samePartitions(full, m)
}

// target describes a file.
func target(path, name string) (api.Target, error) {
	st, err := os.Stat(name)
	if err != nil {
		return api.Target{}, err
	}
	sum, err := digest.File(name)
	return api.Target{Path: path, Length: st.Size(), SHA256: sum}, err
}
