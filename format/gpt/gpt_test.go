package gpt_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/gpt"
	"mios/internal/conformance"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// disk is a disk in memory.
type disk []byte

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(d)) {
		return 0, fmt.Errorf("write of %d bytes at %d on a disk of %d", len(p), off, len(d))
	}
	return copy(d[off:], p), nil
}

const diskSize = 16 << 20

var parts = []gpt.Spec{
	{Name: "misc", Size: 1 << 20},
	{Name: "rpmb", Size: 64 << 10},
	{Name: "boot_a", Size: 4 << 20, Attributes: 1 << 2},
	{Name: "userdata"},
}

func write(t testing.TB, size int64, parts []gpt.Spec) disk {
	t.Helper()
	table, err := gpt.New("seed", size, parts)
	if err != nil {
		t.Fatal(err)
	}
	d := make(disk, size)
	if err := table.WriteDisk(d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestGolden lays a disk out and compares a dump of it with testdata.
func TestGolden(t *testing.T) {
	d := write(t, diskSize, parts)
	table, copies, err := gpt.Read(bytes.NewReader(d), diskSize)
	if err != nil || copies != (gpt.Copies{}) {
		t.Fatalf("Read = %v, %v", copies, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "disk %v: %d sectors, %d to %d usable\n", table.Disk, table.Sectors, table.First, table.Last)
	for _, p := range table.Partitions {
		fmt.Fprintf(&b, "%s %v type %v at %d size %d attributes %#x\n", p.Name, p.ID, p.Type, p.Offset(), p.Size(), p.Attributes)
	}
	golden := filepath.Join("testdata", "disk.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("dump:\n%s\nwant:\n%s", b.String(), want)
	}
	if !bytes.Equal(d, write(t, diskSize, parts)) {
		t.Error("the same arguments gave other bytes")
	}
	p, ok := table.Find("boot_a")
	if !ok || p.Offset()%gpt.Align != 0 || p.Size() != 4<<20 {
		t.Errorf("Find(boot_a) = %+v, %v", p, ok)
	}
	if _, ok := table.Find("boot"); ok {
		t.Error("Find(boot) found something")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		size  int64
		parts []gpt.Spec
		want  string
	}{
		{1000, nil, "disk of 1000 bytes"},
		{4 << 20, []gpt.Spec{{Name: "x", Size: 4 << 20}}, "make the disk larger"},
		{4 << 20, []gpt.Spec{{Name: "x", Size: 100}}, "not a multiple"},
		{4 << 20, []gpt.Spec{{Name: "x"}, {Name: "y", Size: 512}}, "only the last"},
		{4 << 20, []gpt.Spec{{Name: "x", Size: 512}, {Name: "x", Size: 512}}, "two partitions"},
		{4 << 20, []gpt.Spec{{Name: strings.Repeat("x", 37), Size: 512}}, "UTF-16"},
	} {
		if _, err := gpt.New("", tt.size, tt.parts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%d, %v) = %v, want %q", tt.size, tt.parts, err, tt.want)
		}
	}
}

// TestBroken breaks each part of the table; the other copy must do.
func TestBroken(t *testing.T) {
	good := write(t, diskSize, parts)
	intact, _, err := gpt.Read(bytes.NewReader(good), diskSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name                 string
		offs                 []int
		mbr, primary, backup bool
	}{
		{"mbr", []int{510}, true, false, false},
		{"mbr type", []int{450}, true, false, false},
		{"primary header", []int{512 + 56}, false, true, false},
		{"primary header's end", []int{1023}, false, true, false},
		{"primary entries", []int{1024 + 60}, false, true, false},
		{"backup header", []int{diskSize - 512}, false, false, true},
		{"backup entries", []int{diskSize - 33*512}, false, false, true},
		{"both", []int{512, diskSize - 512}, false, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := bytes.Clone(good)
			for _, off := range tt.offs {
				d[off] ^= 1
			}
			table, c, err := gpt.Read(bytes.NewReader(d), diskSize)
			if (c.MBR != nil) != tt.mbr || (c.Primary != nil) != tt.primary || (c.Backup != nil) != tt.backup {
				t.Errorf("Copies = %+v", c)
			}
			if tt.primary && tt.backup {
				if _, ok := errors.AsType[*gpt.FormatError](err); !ok || table != nil {
					t.Errorf("Read = %v, %v; want a FormatError", table, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.mbr {
				return
			}
			repaired := disk(bytes.Clone(d))
			if err := table.WriteDisk(repaired); err != nil || !bytes.Equal(repaired, good) {
				t.Errorf("what was read does not repair the disk: %v", err)
			}
			if fmt.Sprint(table.Partitions) != fmt.Sprint(intact.Partitions) {
				t.Errorf("partitions = %v, want %v", table.Partitions, intact.Partitions)
			}
		})
	}
}

// TestCopiesDiffer takes the primary copy when both are whole and differ.
func TestCopiesDiffer(t *testing.T) {
	old := write(t, diskSize, parts)
	now := write(t, diskSize, parts[:2])
	copy(old[:34*512], now) // a cut after the primary copy was written
	table, c, err := gpt.Read(bytes.NewReader(old), diskSize)
	if err != nil || c.Backup == nil || c.Primary != nil || len(table.Partitions) != 2 {
		t.Errorf("Read = %+v, %+v, %v; want the primary copy", table, c, err)
	}
}

func TestGUID(t *testing.T) {
	const s = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
	if gpt.LinuxData.String() != s {
		t.Errorf("String = %s, want %s", gpt.LinuxData, s)
	}
	if g, err := gpt.ParseGUID(strings.ToLower(s)); err != nil || g != gpt.LinuxData {
		t.Errorf("ParseGUID = %v, %v", g, err)
	}
	for _, s := range []string{"", "0FC63DAF", "0FC63DAF-8483-4772-8E79-3D69D8477DEX", s + "0"} {
		if _, err := gpt.ParseGUID(s); err == nil {
			t.Errorf("ParseGUID(%q) succeeded", s)
		}
	}
}

func TestSgdisk(t *testing.T) {
	sgdisk, err := exec.LookPath("sgdisk")
	if err != nil {
		if sgdisk, err = exec.LookPath("/usr/sbin/sgdisk"); err != nil {
			t.Fatal("sgdisk is not installed: install the Debian package gdisk")
		}
	}
	file := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(file, write(t, diskSize, parts), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sgdisk, "-v", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") || strings.Contains(string(out), "Warning") {
		t.Errorf("sgdisk -v: %v\n%s", err, out)
	}
	out, err = exec.Command(sgdisk, "-i", "3", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Partition name: 'boot_a'") || !strings.Contains(string(out), "Attribute flags: 0000000000000004") {
		t.Errorf("sgdisk -i 3: %v\n%s", err, out)
	}
}

func TestConformance(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(conformance.Dir(t, "bootloader"), "libstorage", "test", "gpt_*.bin"))
	tally := conformance.New(t, "libstorage GPT disks")
	for i, name := range files {
		want := [][]string{{"boot_a 34 49", "boot_b 50 73"}, {"vendor_boot_a 34 41", "vendor_boot_b 42 53"}}[i]
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		table, c, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil || c != (gpt.Copies{}) {
			t.Errorf("%s: %+v, %v", name, c, err)
			tally.Case(false)
			continue
		}
		var got []string
		for _, p := range table.Partitions {
			got = append(got, fmt.Sprint(p.Name, " ", p.First, " ", p.Last))
		}
		out := disk(bytes.Clone(b))
		for _, r := range [][2]int{{0, 34 * 512}, {len(b) - 33*512, len(b)}} {
			clear(out[r[0]:r[1]])
		}
		if err := table.WriteDisk(out); err != nil {
			t.Error(err)
		}
		ok := fmt.Sprint(got) == fmt.Sprint(want) && bytes.Equal(out, b)
		if !ok {
			t.Errorf("%s: partitions %q, want %q; or not the same bytes again", name, got, want)
		}
		tally.Case(ok)
	}
}

// FuzzRead checks that nothing makes Read panic, and that an intact table is
// written as it was read. The seed's middle is left out: a fuzzer needs small
// inputs.
func FuzzRead(f *testing.F) {
	table, err := gpt.New("seed", 4<<20, []gpt.Spec{{Name: "x", Size: 512}, {Name: "y", Size: 4096}})
	if err != nil {
		f.Fatal(err)
	}
	table.Sectors, table.BackupLBA, table.Last = 80, 80-33, 46
	table.Partitions[0].First, table.Partitions[0].Last = 34, 35
	table.Partitions[1].First, table.Partitions[1].Last = 40, 46
	d := make(disk, 80*512)
	if err := table.WriteDisk(d); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(d))
	f.Fuzz(func(t *testing.T, in []byte) {
		table, c, err := gpt.Read(bytes.NewReader(in), int64(len(in)))
		if err != nil || c != (gpt.Copies{}) {
			return
		}
		out := disk(bytes.Clone(in))
		if err := table.WriteDisk(out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, in) {
			t.Error("an intact table was not written as it was read")
		}
	})
}
