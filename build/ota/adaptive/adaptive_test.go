package adaptive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mios"
	"mios/build/image/avbtool"
	"mios/build/ota/input"
	"mios/format/chunks"
)

// builds writes a folder of a build's images: one with a hash tree and FEC, and
// a plain one.
func builds(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	content := make([]byte, 2<<20)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(content); i++ {
		content[i] = byte(r.Uint32())
	}
	for name, b := range map[string][]byte{"system.img": content, "boot.img": content[:300<<10]} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := avbtool.AddHashtree(t.Context(), filepath.Join(dir, "system.img"), avbtool.FooterOptions{
		PartitionName: "system", HashAlgorithm: "sha256", Salt: []byte("salt"), FECRoots: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A disk is memory that a partition is made in.
type disk struct{ b []byte }

func (d *disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d.b).ReadAt(p, off) }

func (d *disk) WriteAt(p []byte, off int64) (int, error) { return copy(d.b[off:], p), nil }

// TestWriteDir makes the partitions again of what was written.
func TestWriteDir(t *testing.T) {
	in, err := input.Open(builds(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	dir := filepath.Join(t.TempDir(), "ota")
	r := Release{Partitions: in.Partitions}
	s, err := r.WriteDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range []string{chunks.IndexFile, chunks.PackFile} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, n, err := chunks.ReadRoot(files[chunks.IndexFile])
	if err != nil || int64(n) != s.RootSize || root.IndexSize() != s.IndexSize || root.PackSize != int64(len(files[chunks.PackFile])) || s.Computed == 0 {
		t.Fatalf("ReadRoot = %d bytes, %v; the summary is %+v", n, err, s)
	}
	open := func(name string) chunks.Opener {
		return func(_ context.Context, off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(files[name][off : off+n])), nil
		}
	}
	plan, err := root.Plan(t.Context(), nil, nil, open(chunks.IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	disks := map[string]*disk{}
	for _, p := range root.Partitions {
		disks[p.Name] = &disk{make([]byte, p.Size)}
	}
	a := &chunks.Assembler{Plan: plan, Pack: open(chunks.PackFile), Target: func(name string) (chunks.Target, error) { return disks[name], nil }}
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range root.Partitions {
		p := &root.Partitions[i]
		image, err := io.ReadAll(io.NewSectionReader(in.Find(p.Name), 0, p.Size))
		if err != nil {
			t.Fatal(err)
		}
		if was, made := mios.Sum(image), mios.Sum(disks[p.Name].b); was != p.SHA256 || made != p.SHA256 {
			t.Errorf("partition %s had SHA-256 %v, has %v, want %v", p.Name, was, made, p.SHA256)
		}
	}
}

// TestOtherTree has no area where a tree is not what a device would compute.
func TestOtherTree(t *testing.T) {
	if testing.Short() {
		t.Skip("two more releases")
	}
	dir := builds(t)
	f, err := os.OpenFile(filepath.Join(dir, "system.img"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("no hash"), 2<<20+4096); err != nil {
		t.Fatal(err)
	}
	in, err := input.Open(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := Release{Partitions: in.Partitions}
	if s, err := r.WriteDir(t.Context(), t.TempDir()); err != nil || s.Computed != 0 {
		t.Errorf("WriteDir = %+v, %v; want nothing computed", s, err)
	}
	in.Find("boot").SHA256 = mios.Sum([]byte("another"))
	if _, err := r.WriteDir(t.Context(), t.TempDir()); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("an image that is not what was built: %v, want invalid", err)
	}
	if _, err := new(Release).WriteDir(t.Context(), t.TempDir()); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("no partition: %v, want invalid", err)
	}
}
