package super_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"mios/format/sparse"
	"mios/format/super"
)

// randomSpec returns a specification and contents.
func randomSpec(r *rand.Rand) (super.Spec, map[string][]byte) {
	aligns := []uint32{0, 4096, 8192, 64 << 10}
	s := super.Spec{MetadataMaxSize: 4096, Slots: 1 + uint32(r.IntN(3)), VirtualAB: r.IntN(2) == 0, SlotSuffixed: r.IntN(3) == 0}
	for i := range 1 + r.IntN(3) {
		name := "super"
		if i > 0 {
			name = fmt.Sprintf("other%d", i)
		}
		s.Devices = append(s.Devices, super.Device{Name: name, Size: uint64(256+r.IntN(256)) * 4096, Alignment: aligns[r.IntN(len(aligns))]})
	}
	r.Shuffle(len(s.Devices), func(i, j int) { s.Devices[i], s.Devices[j] = s.Devices[j], s.Devices[i] })
	contents := map[string][]byte{}
	for i := range 1 + r.IntN(6) {
		name := fmt.Sprintf("part%d", i)
		b := make([]byte, r.IntN(300<<10))
		for off := 0; off < len(b); off += 4096 { // some blocks of zeros, some that repeat, some of noise
			block := b[off:min(off+4096, len(b))]
			switch r.IntN(3) {
			case 0:
				for i := range block {
					block[i] = byte(r.Uint32())
				}
			case 1:
				copy(block, bytes.Repeat([]byte{1, 2, 3, byte(r.IntN(3))}, 1024))
			}
		}
		s.Partitions = append(s.Partitions, super.PartitionSpec{Name: name, Size: int64(len(b) + r.IntN(2)*5000)})
		contents[name] = b
	}
	return s, contents
}

// TestMakeUnpack makes random layouts, plain and sparse, and reads what went in.
func TestMakeUnpack(t *testing.T) {
	made := 0
	for seed := range uint64(60) {
		s, contents := randomSpec(rand.New(rand.NewPCG(seed, 1)))
		img, err := super.Build(s)
		if err != nil {
			continue // too much for its devices
		}
		made++
		in := map[string]super.Content{}
		for name, b := range contents {
			in[name] = super.Content{R: bytes.NewReader(b), Size: int64(len(b))}
		}
		disks, err := img.Disks(in)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := checkDisks(t, img, disks, contents); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if made < 20 {
		t.Errorf("only %d layouts were made", made)
	}
}

func checkDisks(t *testing.T, img *super.Image, disks []*super.Disk, contents map[string][]byte) error {
	var plain, expanded []disk
	for _, d := range disks {
		raw := make(disk, d.Size)
		if err := d.WriteRaw(t.Context(), raw, nil); err != nil {
			return err
		}
		m, err := d.Sparse(t.Context(), 4096, nil)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			return err
		}
		if m, err = sparse.Parse(bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil {
			return err
		}
		back := make(disk, m.Size())
		if err := m.Expand(t.Context(), back, nil); err != nil {
			return err
		}
		plain, expanded = append(plain, raw), append(expanded, back)
	}
	if !reflect.DeepEqual(plain, expanded) {
		return errors.New("the sparse image holds something else than the plain one")
	}
	got, damage, err := super.Read(plain[0])
	if err != nil || damage != nil || !reflect.DeepEqual(got, img) {
		return fmt.Errorf("Read = %v, %v", damage, err)
	}
	for _, p := range got.Slots[0].Partitions {
		r, err := got.Slots[0].Reader(p.Name, readers(plain)...)
		if err != nil {
			return err
		}
		out := make(disk, r.Size())
		if err := super.CopyData(t.Context(), out, r, r.Size(), nil); err != nil {
			return err
		}
		want := append(bytes.Clone(contents[p.Name]), make([]byte, len(out)-len(contents[p.Name]))...)
		if !bytes.Equal(out, want) {
			return fmt.Errorf("%s: other bytes than went in", p.Name)
		}
	}
	return nil
}

// TestSparseLikeLibsparse expands a sparse image with Debian's simg2img.
func TestSparseLikeLibsparse(t *testing.T) {
	simg2img, err := exec.LookPath("simg2img")
	if err != nil {
		t.Fatal("simg2img is not installed: install the Debian package android-sdk-libsparse-utils")
	}
	img, _ := build(t)
	b := bytes.Repeat([]byte("some text here. "), 70<<10)
	disks, err := img.Disks(map[string]super.Content{"system_a": {R: bytes.NewReader(b), Size: int64(len(b))}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := disks[0].Sparse(t.Context(), 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var enc bytes.Buffer
	if _, err := m.WriteTo(&enc); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "s"), enc.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(simg2img, filepath.Join(dir, "s"), filepath.Join(dir, "r")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "r"))
	want := make(disk, disks[0].Size)
	if err := errors.Join(err, disks[0].WriteRaw(t.Context(), want, nil)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("simg2img made something else than WriteRaw")
	}
}

// TestChange changes metadata at random; after each change it must be what can
// be written, and a change that fails must change nothing.
func TestChange(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	img, _ := build(t)
	m, g := img.Slots[0].Clone(), img.Geometry
	failed := 0
	for i := range 2000 {
		before, name := m.Clone(), fmt.Sprintf("p%d", r.IntN(5))
		size := int64(r.IntN(3 << 20))
		var err error
		switch r.IntN(5) {
		case 0:
			err = m.Add(super.Partition{Name: name, Group: []string{"default", "mios_a", "mios_b", "none"}[r.IntN(4)]})
		case 1:
			err = m.Remove(name)
		default:
			if err = m.Resize(name, size, g); err == nil && m.Find(name).Size() != (size+4095)/4096*4096 {
				t.Fatalf("step %d: %s has %d bytes, want %d", i, name, m.Find(name).Size(), size)
			}
		}
		if err != nil {
			failed++
			if !reflect.DeepEqual(m, before) {
				t.Fatalf("step %d: %v, and it changed something", i, err)
			}
		}
		if err := super.WriteEmpty(new(bytes.Buffer), g, m); err != nil {
			t.Fatalf("step %d: %v\n%+v", i, err, m)
		}
	}
	if failed == 0 || failed == 2000 {
		t.Errorf("%d of 2000 changes failed", failed)
	}
}

// TestResizeKeepsPlace: a partition grows where it ends, if there is room, and
// does not take what it must avoid.
func TestResizeKeepsPlace(t *testing.T) {
	img, _ := build(t)
	m, g := img.Slots[0].Clone(), img.Geometry
	old := m.Find("system_a").Extents[0]
	if err := m.Resize("system_a", 2<<20+500<<10, g); err != nil {
		t.Fatal(err)
	}
	if e := m.Find("system_a").Extents; len(e) != 1 || e[0].Physical != old.Physical {
		t.Errorf("extents %+v, want one from %d on", e, old.Physical)
	}
	next := super.Extent{Sectors: 8, Physical: old.Physical + old.Sectors}
	m = img.Slots[0].Clone()
	if err := m.Resize("system_a", 2<<20+500<<10, g, next); err != nil {
		t.Fatal(err)
	}
	for _, e := range m.Find("system_a").Extents {
		if e.Physical < next.Physical+next.Sectors && next.Physical < e.Physical+e.Sectors {
			t.Errorf("%+v takes what was to be avoided", e)
		}
	}
	if err := m.SetGroup("mios_a", 1<<20); err == nil {
		t.Error("a group became smaller than its partitions")
	}
	if err := m.RemoveGroup("mios_a"); err == nil {
		t.Error("a group with partitions was removed")
	}
	if err := errors.Join(m.SetGroup("new", 5), m.SetGroup("new", 6), m.RemoveGroup("new")); err != nil {
		t.Error(err)
	}
}
