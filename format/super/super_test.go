package super_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mios/format/super"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// disk is a partition in memory.
type disk []byte

func (d disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d).ReadAt(p, off) }

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(d)) {
		return 0, fmt.Errorf("write of %d bytes at %d of %d", len(p), off, len(d))
	}
	return copy(d[off:], p), nil
}

const size = 8 << 20

var spec = super.Spec{
	Size: size, MetadataMaxSize: 4096, Slots: 2,
	Groups: []super.Group{{Name: "mios_a", MaxSize: 3 << 20}, {Name: "mios_b", MaxSize: 3 << 20}},
	Partitions: []super.PartitionSpec{
		{Name: "system_a", Group: "mios_a", Attributes: super.AttrReadonly, Size: 2<<20 + 1},
		{Name: "system_b", Group: "mios_b", Attributes: super.AttrReadonly, Size: 3 << 20},
		{Name: "empty"},
	},
}

func build(tb testing.TB) (*super.Image, disk) {
	tb.Helper()
	img, err := super.Build(spec)
	if err != nil {
		tb.Fatal(err)
	}
	d := make(disk, size)
	if err := img.WriteDisk(d); err != nil {
		tb.Fatal(err)
	}
	return img, d
}

// TestGolden builds a super partition and compares a dump of what is read back
// with testdata.
func TestGolden(t *testing.T) {
	img, d := build(t)
	got, damage, err := super.Read(d)
	if err != nil || damage != nil {
		t.Fatalf("Read = %v, %v", damage, err)
	}
	if !reflect.DeepEqual(got, img) {
		t.Errorf("Read = %+v, want %+v", got, img)
	}
	text, err := json.MarshalIndent(got, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "super.golden")
	if *update {
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("dump:\n%s\nwant:\n%s", text, want)
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, tt := range []struct {
		change func(*super.Spec)
		want   string
	}{
		{func(s *super.Spec) { s.Size = 4 << 20 }, "make super larger"},
		{func(s *super.Spec) { s.Groups[1].MaxSize = 2 << 20 }, "make the group larger"},
		{func(s *super.Spec) { s.Partitions[0].Group = "nobody" }, `no group "nobody"`},
		{func(s *super.Spec) { s.Partitions[1].Name = "system_a" }, "must be there once"},
		{func(s *super.Spec) { s.MetadataMaxSize = 512 }, "a slot holds 512"},
		{func(s *super.Spec) { s.BlockSize = 100 }, "block of 100 bytes"},
	} {
		s := spec
		s.Groups = append([]super.Group(nil), spec.Groups...)
		s.Partitions = append([]super.PartitionSpec(nil), spec.Partitions...)
		tt.change(&s)
		if _, err := super.Build(s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Build(%+v) = %v, want %q", s, err, tt.want)
		}
	}
}

// TestLongNames: a name that does not fit its field is not cut off.
func TestLongNames(t *testing.T) {
	for _, n := range []int{36, 37, 40, 43} {
		s := spec
		s.Partitions = append([]super.PartitionSpec{{Name: strings.Repeat("x", n)}}, s.Partitions...)
		s.Groups = append([]super.Group{{Name: strings.Repeat("g", n)}}, s.Groups...)
		if _, err := super.Build(s); (err == nil) != (n <= 36) {
			t.Errorf("Build with names of %d bytes = %v", n, err)
		}
	}
}

// TestDamage flips a byte of each copy: the other one must do, and both
// together must be refused.
func TestDamage(t *testing.T) {
	img, good := build(t)
	for _, tt := range []struct {
		name string
		offs [2]int
	}{
		{"geometry", [2]int{4096 + 45, 8192 + 8}},
		{"geometry's block", [2]int{8191, 8192 + 4095}},
		{"slot 0 header", [2]int{12288 + 100, 12288 + 2*4096 + 3}},
		{"slot 1 tables", [2]int{12288 + 4096 + 200, 12288 + 3*4096 + 300}},
		{"slot 1 end", [2]int{12288 + 2*4096 - 1, 12288 + 4*4096 - 1}},
	} {
		for i, off := range tt.offs {
			d := disk(bytes.Clone(good))
			d[off] ^= 0x40
			got, damage, err := super.Read(d)
			if err != nil || len(damage) != 1 || !reflect.DeepEqual(got, img) {
				t.Errorf("%s, copy %d: damage %v, %v", tt.name, i, damage, err)
			}
		}
		d := disk(bytes.Clone(good))
		d[tt.offs[0]] ^= 0x40
		d[tt.offs[1]] ^= 0x40
		_, _, err := super.Read(d)
		if _, ok := errors.AsType[*super.FormatError](err); !ok {
			t.Errorf("%s, both copies: %v, want a FormatError", tt.name, err)
		}
	}
	for i := range 2 {
		if m, err := super.ReadSlot(good, i); err != nil || !reflect.DeepEqual(m, img.Slots[i]) {
			t.Errorf("ReadSlot(%d) = %+v, %v", i, m, err)
		}
	}
	if _, err := super.ReadSlot(good, 2); err == nil {
		t.Error("slot 2 of 2 was read")
	}
}

// TestWriteSlot cuts the writing of a slot after each step: the old metadata
// or the new must be whole.
func TestWriteSlot(t *testing.T) {
	img, good := build(t)
	old := img.Slots[1]
	now := *old
	now.Minor, now.Flags = 2, super.FlagVirtualAB
	broken := errors.New("cut")
	for cut := range 3 {
		d, syncs := disk(bytes.Clone(good)), 0
		err := super.WriteSlot(d, 1, &now, func() error {
			if syncs++; syncs > cut {
				return broken
			}
			return nil
		})
		if cut < 2 && !errors.Is(err, broken) || cut == 2 && err != nil {
			t.Errorf("cut %d: %v", cut, err)
		}
		if m, err := super.ReadSlot(d, 1); err != nil || !reflect.DeepEqual(m, &now) {
			t.Errorf("cut %d: slot 1 = %+v, %v", cut, m, err)
		}
		if m, err := super.ReadSlot(d, 0); err != nil || !reflect.DeepEqual(m, old) {
			t.Errorf("cut %d: slot 0 = %+v, %v", cut, m, err)
		}
	}
}

func TestVolume(t *testing.T) {
	m := &super.Metadata{
		Groups:  []super.Group{{Name: "default"}},
		Devices: []super.Device{{Name: "super", Size: 64 << 10, FirstSector: 40}, {Name: "other", Size: 64 << 10}},
		Partitions: []super.Partition{
			{Name: "p", Group: "default", Extents: []super.Extent{{Sectors: 2, Physical: 100}, {Sectors: 1, Zero: true}, {Sectors: 3, Physical: 50}}},
			{Name: "q", Group: "default", Extents: []super.Extent{{Sectors: 1, Device: 1}}},
		},
	}
	dev := make(disk, 64<<10)
	for i := range dev {
		dev[i] = byte(i / 512)
	}
	v, err := m.Open("p", dev)
	if err != nil || v.Size() != 6*512 {
		t.Fatalf("Open = %v, size %d", err, v.Size())
	}
	all := make([]byte, 6*512)
	if n, err := v.ReadAt(all, 0); n != len(all) || err != nil {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	for i, want := range []byte{100, 101, 0, 50, 51, 52} {
		if all[i*512] != want || all[i*512+511] != want {
			t.Errorf("sector %d is of %d, want %d", i, all[i*512], want)
		}
	}
	for off := range 6 * 512 { // every way to straddle a border
		got := make([]byte, 700)
		n, err := v.ReadAt(got, int64(off))
		want := all[off:min(off+700, len(all))]
		if !bytes.Equal(got[:n], want) || (err == io.EOF) != (len(want) < 700) {
			t.Fatalf("ReadAt(%d) = %d, %v", off, n, err)
		}
	}
	if n, err := v.WriteAt(bytes.Repeat([]byte{7}, 600), 3*512+100); n != 600 || err != nil {
		t.Errorf("WriteAt = %d, %v", n, err)
	}
	if dev[50*512+99] != 50 || dev[50*512+100] != 7 || dev[51*512+187] != 7 || dev[51*512+188] != 51 {
		t.Error("WriteAt wrote elsewhere")
	}
	if n, err := v.WriteAt(make([]byte, 1024), 512); err == nil || n != 512 {
		t.Errorf("a write to zeros = %d, %v", n, err)
	}
	if _, err := v.WriteAt(make([]byte, 2), 6*512-1); err == nil {
		t.Error("a write past the end succeeded")
	}
	if _, err := m.Open("q", dev); err == nil {
		t.Error("an extent on another device was mapped")
	}
	if _, err := m.Open("r", dev); err == nil {
		t.Error("a missing partition was opened")
	}
}

// FuzzRead reads the metadata area of a whole partition.
func FuzzRead(f *testing.F) {
	img, d := build(f)
	f.Add([]byte(d[:img.Geometry.MetadataSize()]))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, damage, err := super.Read(disk(in))
		if err != nil || len(damage) > 0 {
			return
		}
		out := make(disk, m.Geometry.MetadataSize())
		if err := m.WriteDisk(out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out[super.ReservedSize:], in[super.ReservedSize:len(out)]) {
			t.Error("WriteDisk does not write what Read read")
		}
	})
}

// FuzzReadEmpty checks that nothing makes the parser panic, and that what it
// accepts has one encoding. Checksums are put right first, or the fuzzer would
// never get past them.
func FuzzReadEmpty(f *testing.F) {
	img, _ := build(f)
	for _, minor := range []uint16{0, 2} {
		m := *img.Slots[0]
		m.Minor = minor
		var b bytes.Buffer
		if err := super.WriteEmpty(&b, img.Geometry, &m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		in = bytes.Clone(in)
		super.FixChecksums(in)
		g, m, err := super.ReadEmpty(in)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := super.WriteEmpty(&out, g, m); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), in) {
			t.Errorf("WriteEmpty wrote %x, ReadEmpty read %x", out.Bytes(), in)
		}
	})
}
