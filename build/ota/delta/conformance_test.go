package delta

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"io"
	"os"
	"path/filepath"
	"testing"

	"mios/format/payload"
	"mios/internal/conformance"
)

// TestConformance makes the delta of AOSP's sample images again, in every minor
// version: it must make the same images, and be no larger than AOSP's in its
// minor version.
func TestConformance(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	tally := conformance.New(t, "update_engine deltas made again")
	images := samples(t, filepath.Join(dir, "sample_images.tar.bz2"))
	theirs, err := os.ReadFile(filepath.Join(dir, "delta_payload.bin"))
	if err != nil {
		t.Fatal(err)
	}
	md, err := payload.ReadMetadata(bytes.NewReader(theirs))
	if err != nil {
		t.Fatal(err)
	}
	for minor := uint32(MinMinor); minor <= MaxMinor; minor++ {
		d := &Delta{Header: header(minor)}
		for _, p := range []struct{ name, old, new string }{
			{"kernel", "disk_ext2_4k_empty.img", "disk_ext2_4k.img"}, {"root", "disk_sqfs_empty.img", "disk_sqfs_default.img"},
		} {
			if images[p.old] == nil || images[p.new] == nil {
				t.Fatalf("no image %s or %s", p.old, p.new)
			}
			d.Partitions = append(d.Partitions, Partition{Header: payload.Partition{Name: p.name}, Old: image(images[p.old]), New: image(images[p.new])})
		}
		got := generate(t, d)
		ok := true
		for i, p := range got.m.Partitions {
			want := md.Manifest.Partitions[i]
			ok = ok && p.Name == want.Name && bytes.Equal(p.NewInfo.Hash, want.NewInfo.Hash) && bytes.Equal(p.OldInfo.Hash, want.OldInfo.Hash)
		}
		if minor == md.Manifest.MinorVersion && len(got.payload) > len(theirs) {
			t.Errorf("payload of %d bytes, AOSP's has %d", len(got.payload), len(theirs))
			ok = false
		}
		if tally.Case(ok); !ok {
			t.Errorf("minor version %d: not AOSP's partitions, or larger", minor)
		}
	}
}

// samples reads a tar archive of images.
func samples(t *testing.T, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	images := map[string][]byte{}
	for r := tar.NewReader(bzip2.NewReader(f)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return images
		}
		if err != nil {
			t.Fatal(err)
		}
		if images[filepath.Base(h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
