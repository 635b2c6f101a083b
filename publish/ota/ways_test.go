package ota_test

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	api "mios/api/repo"
	"mios/build/ota/adaptive"
	"mios/build/ota/input"
	"mios/format/chunks"
	"mios/format/payload"
	"mios/key"
	"mios/publish/ota"
	"mios/publish/ota/otatest"
	"mios/publish/repo"
	"mios/publish/repotest"
	"mios/storage/tree"
)

// chunksOf returns the folder of a build's chunks.
func chunksOf(t *testing.T, b *otatest.Build) string {
	t.Helper()
	var r adaptive.Release
	for _, name := range []string{"boot", "vbmeta"} {
		image := b.Images[name]
		r.Partitions = append(r.Partitions, input.Partition{
			Header: payload.Partition{Name: name}, ReaderAt: bytes.NewReader(image), Size: int64(len(image)),
		})
	}
	dir := t.TempDir()
	if _, err := r.WriteDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func releaseOf(b *otatest.Build) ota.Release {
	return ota.Release{
		Product: otatest.Product, Arch: otatest.Arch, Version: b.Incremental, BuildTime: b.Time, Channels: []string{"stable"},
		MaxShare: api.Everyone, Keys: []*rsa.PublicKey{&otatest.Key().PublicKey},
	}
}

// TestWays gives a release one way after the other.
func TestWays(t *testing.T) {
	one, other, two := otatest.NewBuild("1", 1_800_000_000), otatest.NewBuild("1b", 1_800_000_500), otatest.NewBuild("2", 1_800_001_000)
	r := repotest.New(t, repotest.Keys(t), otatest.Product)
	full := two.Full(t)
	publish := func(change func(rel *ota.Release)) *api.OSRelease {
		t.Helper()
		rel := releaseOf(two)
		change(&rel)
		out, _, err := ota.Publish(t.Context(), r, rel, full, repo.SameShare)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := publish(func(*ota.Release) {})
	if first.Ways() != "full" {
		t.Errorf("ways are %s, want full", first.Ways())
	}
	if _, err := r.SetRollout(t.Context(), otatest.Product, first.Target.SHA256, api.Narrow{Share: 500, Halted: true}); err != nil {
		t.Fatal(err)
	}
	publish(func(rel *ota.Release) { rel.Deltas = []string{two.Delta(t, one)} })
	publish(func(rel *ota.Release) { rel.Chunks = chunksOf(t, two) })
	publish(func(rel *ota.Release) { rel.Deltas = []string{two.Delta(t, other)} })
	last := publish(func(rel *ota.Release) { rel.Deltas = []string{two.Delta(t, one)} }) // again
	if last.Ways() != "full, adaptive, 2 deltas" {
		t.Errorf("ways are %s, want full, adaptive, 2 deltas", last.Ways())
	}
	st, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(st.Releases, func(o api.OSRelease) bool { return o.Target.SHA256 == first.Target.SHA256 })
	if got := st.Releases[i]; !got.Halted || got.Share != 500 || len(got.Deltas) != 2 || got.Adaptive == nil {
		t.Errorf("the release is %+v, want it halted at 5 %% with all its ways", got)
	}
	files := []api.Target{last.Deltas[0].Target, last.Deltas[1].Target, last.Adaptive.Index, last.Adaptive.Pack}
	for _, f := range files {
		b, err := tree.ReadAll(t.Context(), r.Tree(), f.File(), 16<<20)
		if err != nil || f.Check(b) != nil {
			t.Errorf("%s: %v, %v", f.Path, err, f.Check(b))
		}
	}
	for i, from := range []*otatest.Build{one, other} {
		want := mios.Sum(from.Images["vbmeta"])
		if !slices.ContainsFunc(last.Deltas, func(d api.Delta) bool {
			return d.From == want && d.FromSize == int64(len(from.Images["vbmeta"]))
		}) {
			t.Errorf("no delta of %+v is from build %d, whose vbmeta is %v", last.Deltas, i, want)
		}
	}
}

// TestWaysRefuses gives a release ways that do not lead to it.
func TestWaysRefuses(t *testing.T) {
	one, two, three := otatest.NewBuild("1", 1_800_000_000), otatest.NewBuild("2", 1_800_001_000), otatest.NewBuild("3", 1_800_002_000)
	r := repotest.New(t, repotest.Keys(t), otatest.Product)
	full := two.Full(t)
	stranger, err := key.Generate(key.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(dir, name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		fi, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, fi.Size()-1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, tt := range []struct {
		name   string
		change func(rel *ota.Release)
		want   string
	}{
		{"a delta to another build", func(rel *ota.Release) { rel.Deltas = []string{three.Delta(t, one)} }, "it is of the build of 1800002000"},
		{"a full payload as a delta", func(rel *ota.Release) { rel.Deltas = []string{full} }, "which vbmeta partition it is from"},
		{"a stranger's delta", func(rel *ota.Release) {
			rel.Deltas = []string{two.Delta(t, one)}
			rel.Keys = []*rsa.PublicKey{stranger.Public().(*rsa.PublicKey)}
		}, "sign it with the ota key"},
		{"no such delta", func(rel *ota.Release) { rel.Deltas = []string{"none.bin"} }, "no such file"},
		{"chunks of another build", func(rel *ota.Release) { rel.Chunks = chunksOf(t, three) }, "make both from the same build"},
		{"a cut index", func(rel *ota.Release) { rel.Chunks = cut(chunksOf(t, two), chunks.IndexFile) }, "index of"},
		{"a cut pack", func(rel *ota.Release) { rel.Chunks = cut(chunksOf(t, two), chunks.PackFile) }, "pack of"},
		{"no chunks", func(rel *ota.Release) { rel.Chunks = t.TempDir() }, "no such file"},
	} {
		rel := releaseOf(two)
		tt.change(&rel)
		if _, _, err := ota.Publish(t.Context(), r, rel, full, repo.SameShare); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if st, err := r.Status(t.Context()); err != nil || len(st.Releases) > 0 {
		t.Errorf("after refusals there are releases %+v, %v", st.Releases, err)
	}
	if _, _, err := ota.Publish(t.Context(), r, releaseOf(one), full, repo.SameShare); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("the payload of another build: %v, want invalid", err)
	}
}
