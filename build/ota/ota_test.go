package ota

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"io"
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
		f, m, err := FromBuild(dir)
		if err != nil {
			t.Fatal(err)
		}
		if m.Version != "2" {
			t.Errorf("version is %q", m.Version)
		}
		f.Signers, f.Workers = []crypto.Signer{testkit.RSA(0)}, i+1
		out := filepath.Join(t.TempDir(), "new")
		props, err := f.WriteDir(context.Background(), out)
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
		edit func(f *Full)
		want string
	}{
		{"no signer", func(f *Full) { f.Signers = nil }, "no signer"},
		{"no timestamp", func(f *Full) { f.Timestamp = 0 }, "build timestamp 0"},
		{"no partition", func(f *Full) { f.Partitions = nil }, "no partition"},
		{"missing image", func(f *Full) { f.Partitions[1].Path += "x" }, "partition vbmeta: open"},
		{"changed image", func(f *Full) { f.Partitions[0].SHA256[0] ^= 1 }, "boot.img is not what was built"},
		{"too large", func(f *Full) { f.GroupSize = 4096 }, "logical partitions: 491520 bytes, and group mios of super has 4096"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, _ := build(t)
			f, _, err := FromBuild(dir)
			if err != nil {
				t.Fatal(err)
			}
			f.Signers = []crypto.Signer{testkit.RSA(0)}
			tc.edit(f)
			out := t.TempDir()
			if _, err := f.WriteDir(context.Background(), out); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("WriteDir = %v, want %q", err, tc.want)
			}
			if names, _ := os.ReadDir(out); len(names) != 0 {
				t.Errorf("folder holds %v after a failure", names)
			}
		})
	}
	if _, _, err := FromBuild(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("FromBuild of an empty folder = %v", err)
	}
}
