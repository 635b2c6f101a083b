package ota

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/format/payload"
	"mios/internal/testkit"
)

// build writes a folder as image.Build leaves one, and returns the images.
func build(t *testing.T) (dir string, images map[string][]byte) {
	t.Helper()
	dir = t.TempDir()
	images = map[string][]byte{
		"boot":   bytes.Repeat([]byte("kernel"), 5000),
		"vbmeta": []byte("vbmeta of a few bytes"),
		"system": bytes.Repeat([]byte("system image"), 40960),
	}
	manifest := `{"product": "iot", "class": "iot", "arch": "amd64", "variant": "user", "version": "2", "build_time": 1700000000,
	 "channel": "stable", "rollback_index": 1, "avb_key": "` + mios.Sum(nil).String() + `", "super_size": 3145728, "userdata_size": 0, "partitions": [`
	for i, name := range []string{"boot", "vbmeta", "system"} {
		if err := os.WriteFile(filepath.Join(dir, name+".img"), images[name], 0o644); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			manifest += ","
		}
		manifest += `{"name": "` + name + `", "file": "` + name + `.img", "size": 1, "sha256": "` + mios.Sum(images[name]).String() +
			`", "partition_size": 1048576, "logical": ` + map[bool]string{true: "true", false: "false"}[name == "system"] + `}`
	}
	if err := os.WriteFile(filepath.Join(dir, "build.json"), []byte(manifest+"]}"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, images
}

type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.b[off:], p), nil }

func TestWriteDir(t *testing.T) {
	dir, images := build(t)
	var outs [2][]byte
	for i := range outs {
		out := filepath.Join(t.TempDir(), "new")
		props, err := WriteBuild(t.Context(), dir, out, Options{Signers: []crypto.Signer{testkit.RSA(0)}})
		if err != nil {
			t.Fatal(err)
		}
		if outs[i], err = os.ReadFile(filepath.Join(out, PayloadFile)); err != nil {
			t.Fatal(err)
		}
		if got := mios.Sum(outs[i]); got != mios.Digest(props.FileHash) {
			t.Errorf("payload has SHA-256 %v, its properties say %x", got, props.FileHash)
		}
		if b, err := os.ReadFile(filepath.Join(out, PropertiesFile)); err != nil || string(b) != props.String() {
			t.Errorf("properties are %q, %v", b, err)
		}
		if names, _ := os.ReadDir(out); len(names) != 2 {
			t.Errorf("folder holds %v, want two files", names)
		}
	}
	if !bytes.Equal(outs[0], outs[1]) {
		t.Error("the same build gives two payloads")
	}
	r := bytes.NewReader(outs[0])
	md, err := payload.ReadMetadata(r)
	if err != nil {
		t.Fatal(err)
	}
	if md.Manifest.MaxTimestamp != 1700000000 {
		t.Errorf("max_timestamp is %d", md.Manifest.MaxTimestamp)
	}
	if d := md.Manifest.Dynamic; d == nil || len(d.Groups) != 1 || d.Groups[0].Name != "mios" || d.Groups[0].Size != 1<<20 || d.Groups[0].Partitions[0] != "system" {
		t.Errorf("dynamic partitions are %+v", d)
	}
	disk := map[string]*memory{}
	a := payload.Applier{Metadata: md, Keys: []*rsa.PublicKey{&testkit.RSA(0).PublicKey}, Target: func(name string) (io.WriterAt, error) {
		disk[name] = &memory{make([]byte, md.Manifest.Partition(name).NewInfo.Size)}
		return disk[name], nil
	}}
	if _, err := a.Apply(context.Background(), r, md.Start()); err != nil {
		t.Fatal(err)
	}
	for name, want := range images {
		got := disk[name].b
		if !bytes.Equal(got[:len(want)], want) || len(bytes.Trim(got[len(want):], "\x00")) > 0 {
			t.Errorf("partition %s is not its image and zeros", name)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(dir string) error
		want string
	}{
		{"no timestamp", edit(`"build_time": 1700000000`, `"build_time": 0`), "build"},
		{"missing image", func(dir string) error { return os.Remove(filepath.Join(dir, "vbmeta.img")) }, "vbmeta.img: no such file"},
		{"changed image", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "boot.img"), []byte("another"), 0o644)
		}, "boot.img is not what was built"},
		{"changed image of whole blocks", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "system.img"), make([]byte, 40960*12), 0o644)
		}, "partition system: its image is not what was built"},
		{"too large", edit(`"super_size": 3145728`, `"super_size": 1056768`), "logical partitions: 491520 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, _ := build(t)
			if err := tc.edit(dir); err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			if _, err := WriteBuild(t.Context(), dir, out, Options{Signers: []crypto.Signer{testkit.RSA(0)}}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("WriteBuild = %v, want %q", err, tc.want)
			}
			if names, _ := os.ReadDir(out); len(names) != 0 {
				t.Errorf("folder holds %v after a failure", names)
			}
		})
	}
	if _, err := WriteBuild(t.Context(), t.TempDir(), t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "no build") {
		t.Errorf("WriteBuild of an empty folder = %v", err)
	}
}

// edit changes a build's manifest.
func edit(from, to string) func(dir string) error {
	return func(dir string) error {
		name := filepath.Join(dir, "build.json")
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(name, bytes.Replace(b, []byte(from), []byte(to), 1), 0o644)
	}
}

// TestCOW wants an estimate of each logical partition of a build with compressed
// Virtual A/B: what noise and zeros take.
func TestCOW(t *testing.T) {
	noise := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for _, version := range []uint32{2, 3} {
		f := &payload.Full{MaxTimestamp: 1, Dynamic: &payload.DynamicPartitions{SnapshotEnabled: true, VABCEnabled: true, VABCCompressionParam: "lz4",
			CowVersion: version, CompressionFactor: 65536, Groups: []payload.Group{{Name: "g", Size: 1 << 30, Partitions: []string{"system", "vendor"}}}}}
		for name, b := range map[string][]byte{"system": noise, "vendor": make([]byte, 5<<20), "boot": noise} {
			f.Images = append(f.Images, payload.Image{Name: name, Content: bytes.NewReader(b), Size: int64(len(b))})
		}
		var out bytes.Buffer
		if _, err := write(t.Context(), &out, t.TempDir(), f); err != nil {
			t.Fatal(err)
		}
		md, err := payload.ReadMetadata(&out)
		if err != nil {
			t.Fatal(err)
		}
		// Zeros become 23 bytes a block in LZ4, and 264 of 64 KiB.
		want := map[string][2]uint64{"system": {5<<20 + 2<<20, 80}, "vendor": {2<<20 + 80*273, 80}, "boot": {}}
		if version == 2 {
			want["system"] = [2]uint64{5<<20 + 2<<20 + 1280*20, 0}
			want["vendor"] = [2]uint64{2<<20 + 1280*(20+23), 0}
		}
		for name, w := range want {
			p := md.Manifest.Partition(name)
			if p.EstimateOpCountMax != w[1] || p.EstimateCowSize < w[0] || p.EstimateCowSize > w[0]+w[0]/40 {
				t.Errorf("version %d: %s: estimate of %d bytes, %d operations; want %d", version, name, p.EstimateCowSize, p.EstimateOpCountMax, w)
			}
		}
		f.Dynamic.VABCCompressionParam = "tar"
		if _, err := write(t.Context(), io.Discard, t.TempDir(), f); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("compression tar: %v, want invalid", err)
		}
	}
}
