package ota

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/format/super"
)

// fileDisk makes a disk of files, with what Linux says of it in a folder.
func fileDisk(t *testing.T) BlockDisk {
	t.Helper()
	d := BlockDisk{Sys: t.TempDir(), Dev: t.TempDir()}
	for i, part := range []string{"", "misc", "super", "rpmb", "boot_a", "boot_b", "vbmeta_a", "vbmeta_b"} {
		dev, text, size := fmt.Sprint("vda", i), "", int64(bootSize)
		switch part {
		case "":
			dev = "vda"
		case "super":
			size = 8 << 20
		case "vbmeta_a", "vbmeta_b":
			size = vbmetaSize
		}
		text = "MAJOR=254\nMINOR=1\nDEVNAME=" + dev + "\nDEVTYPE=partition\n"
		if part != "" {
			text += "PARTN=1\nPARTNAME=" + part + "\n"
		}
		if err := errors.Join(os.Mkdir(filepath.Join(d.Sys, dev), 0o755), os.WriteFile(filepath.Join(d.Sys, dev, "uevent"), []byte(text), 0o644),
			os.WriteFile(filepath.Join(d.Dev, dev), make([]byte, size), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := super.Build(super.Spec{Size: 8 << 20, MetadataMaxSize: 4096, Groups: []super.Group{{Name: "mios_a"}, {Name: "mios_b"}},
		Partitions: []super.PartitionSpec{{Name: "system_a", Group: "mios_a", Size: 3 << 20}, {Name: "system_b", Group: "mios_b", Size: systemSize}}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(d.Dev, "vda2"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(img.WriteDisk(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBlockDisk(t *testing.T) {
	d := fileDisk(t)
	for name, size := range map[string]int64{"misc": bootSize, "system_a": 3 << 20, "system_b": systemSize} {
		p, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Size() != size {
			t.Errorf("%s has %d bytes, want %d", name, p.Size(), size)
		}
		want := bytes.Repeat([]byte(name), 100)
		if _, err := p.WriteAt(want, 4096); err != nil {
			t.Error(err)
		}
		if err := errors.Join(p.Sync(), p.Forget()); err != nil {
			t.Error(err)
		}
		got := make([]byte, len(want))
		if _, err := p.ReadAt(got, 4096); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s reads %q, %v", name, got[:20], err)
		}
		if _, err := p.ReadAt(got, size-1); err != io.EOF {
			t.Errorf("%s: read over the end: %v", name, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(d.Dev, "vda2"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("system_bsystem_b")) {
		t.Error("system_b is not in super")
	}
	for _, name := range []string{"boot_c", "system_c", ""} {
		if _, err := d.Open(name); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("Open(%q) = %v, want ErrNotFound", name, err)
		}
	}
}

func TestReadBooted(t *testing.T) {
	w := newWorld(t)
	vbmeta := w.cached["vbmeta_a"]
	size := len(bytes.TrimRight(vbmeta, "\x00"))
	for ; size%64 != 0; size++ {
	}
	sum := sha256.Sum256(vbmeta[:size])
	digest := hex.EncodeToString(sum[:])
	got, err := ReadBooted(w, "_a", digest, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := w.config(one(), nil).AVBKey; !bytes.Equal(got.Key, want) || got.RollbackIndex != 1 || got.Location != 0 {
		t.Errorf("ReadBooted = %+v, want key %x, rollback index 1 at 0", got, want)
	}
	if _, err := ReadBooted(w, "_a", strings.Repeat("0", 64), "sha256"); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("ReadBooted of another boot = %v, want ErrConflict", err)
	}
	if _, err := ReadBooted(w, "_b", digest, ""); err == nil {
		t.Error("ReadBooted of an empty slot succeeds")
	}
}

// TestNoOlder: what runs counts before the loader has stored it.
func TestNoOlder(t *testing.T) {
	b := &Booted{RollbackIndex: 5, Location: 1}
	for _, tt := range []struct {
		location     uint32
		stored, want uint64
	}{{1, 0, 5}, {1, 5, 5}, {1, 7, 7}, {0, 0, 0}, {2, 9, 9}} {
		f := b.NoOlder(func(uint32) (uint64, error) { return tt.stored, nil })
		if got, err := f(tt.location); got != tt.want || err != nil {
			t.Errorf("with %d stored at %d: %d, %v, want %d", tt.stored, tt.location, got, err, tt.want)
		}
	}
	f := b.NoOlder(func(uint32) (uint64, error) { return 0, mios.ErrInvalid })
	if _, err := f(1); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("with an unreadable one: %v, want %v", err, mios.ErrInvalid)
	}
}

func TestDeviceID(t *testing.T) {
	s := Dir(filepath.Join(t.TempDir(), "ota"))
	if id, err := DeviceID(s, "SERIAL"); id != "SERIAL" || err != nil {
		t.Errorf("DeviceID with a serial number = %q, %v", id, err)
	}
	a, err := DeviceID(s, "")
	if err != nil || len(a) < 20 {
		t.Fatalf("DeviceID = %q, %v", a, err)
	}
	if b, err := DeviceID(s, ""); b != a || err != nil {
		t.Errorf("second DeviceID = %q, %v, want %q", b, err, a)
	}
}
