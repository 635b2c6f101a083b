package kexec

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"mios/format/fdt"
)

// bzImage returns the smallest header that the 64-bit protocol wants.
func bzImage() []byte {
	k := make([]byte, 5*setupSect)
	copy(k[hdrMagic:], "HdrS")
	k[bpHeader], k[hdrJump] = 3, 0x6c
	binary.LittleEndian.PutUint16(k[hdrVersion:], 0x20f)
	k[hdrXLoadFlags] = 1
	binary.LittleEndian.PutUint32(k[hdrCmdlineMax:], 2047)
	binary.LittleEndian.PutUint32(k[hdrAlign:], 2<<20)
	k[hdrRelocate] = 1
	binary.LittleEndian.PutUint64(k[hdrPrefAddr:], 16<<20)
	binary.LittleEndian.PutUint32(k[hdrInitSize:], 48<<20)
	return k
}

func TestLayoutAMD64(t *testing.T) {
	ram := []e820{{region{0, 640 << 10}, e820RAM}, {region{1 << 20, 256 << 20}, e820RAM}, {region{0xfe000000, 1 << 32}, 2}}
	segs, entry, err := layoutAMD64(bzImage(), make([]byte, 5000), "console=ttyS0", ram, 0)
	if err != nil {
		t.Fatal(err)
	}
	checkSegments(t, segs, entry)
	bp := segs[1].data
	if got := binary.LittleEndian.Uint32(bp[hdrRamdisk:]); uint64(got) != segs[4].addr {
		t.Errorf("ramdisk_image = %#x, want %#x", got, segs[4].addr)
	}
	if got := binary.LittleEndian.Uint32(bp[hdrRamdiskLen:]); got != 5000 {
		t.Errorf("ramdisk_size = %d, want 5000", got)
	}
	if got := binary.LittleEndian.Uint32(bp[hdrCmdline:]); uint64(got) != segs[3].addr || string(segs[3].data) != "console=ttyS0\x00" {
		t.Errorf("command line at %#x: %q", got, segs[3].data)
	}
	if bp[bpE820Entries] != 3 {
		t.Errorf("e820_entries = %d, want 3", bp[bpE820Entries])
	}
	if got := binary.LittleEndian.Uint64(segs[2].data[12:]); got != 16<<20+entry64 {
		t.Errorf("the trampoline jumps to %#x, want %#x", got, 16<<20+entry64)
	}
}

func TestLayoutAMD64Errors(t *testing.T) {
	ram := []e820{{region{1 << 20, 256 << 20}, e820RAM}}
	old, long := bzImage(), strings.Repeat("x", 3000)
	old[hdrXLoadFlags] = 0
	for _, tt := range []struct {
		kernel  []byte
		cmdline string
		m       []e820
		want    string
	}{
		{[]byte("MZ"), "", ram, "is not a bzImage"},
		{old, "", ram, "no 64-bit entry point"},
		{bzImage(), long, ram, "command line of 3000 bytes"},
		{bzImage(), "", []e820{{region{0, 32 << 20}, e820RAM}}, "no RAM at"},
		{bzImage(), "", nil, "0 ranges"},
	} {
		if _, _, err := layoutAMD64(tt.kernel, nil, tt.cmdline, tt.m, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("layoutAMD64 = %v, want %q", err, tt.want)
		}
	}
}

// arm64Image returns the header of an Image of 30 MiB.
func arm64Image() []byte {
	k := make([]byte, 4096)
	binary.LittleEndian.PutUint64(k[16:], 30<<20)
	copy(k[56:], "ARM\x64")
	return k
}

func TestLayoutARM64(t *testing.T) {
	k := arm64Image()
	tree := &fdt.Tree{Root: &fdt.Node{}}
	blob, err := tree.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ram := systemRAM([]byte("09000000-09000fff : pl011\n40000000-401fffff : System RAM\n40400000-5fffffff : System RAM\n  40410000-418fffff : Kernel code\n"))
	segs, entry, err := layoutARM64(k, make([]byte, 5000), "console=ttyAMA0", arm64{tree: blob, ram: ram, seed: randomBytes(seedSize)})
	if err != nil {
		t.Fatal(err)
	}
	checkSegments(t, segs, entry)
	if segs[0].addr != 0x40400000 {
		t.Errorf("kernel at %#x, want the range that has room, %#x", segs[0].addr, 0x40400000)
	}
	got, err := fdt.Parse(segs[2].data)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := got.Node("/chosen").Prop("linux,initrd-end")
	if want := segs[3].addr + 5000; binary.BigEndian.Uint64(end) != want {
		t.Errorf("initrd-end = %x, want %x", end, want)
	}
	for name, want := range map[string]int{"kaslr-seed": 8, "rng-seed": 64} {
		if seed, _ := got.Node("/chosen").Prop(name); len(seed) != want || bytes.Equal(seed, make([]byte, want)) {
			t.Errorf("%s = %x, want %d random bytes", name, seed, want)
		}
	}
	if _, _, err := layoutARM64(k, nil, "", arm64{tree: blob, ram: ram[:1]}); err == nil {
		t.Error("30 MiB fit into 2 MiB of RAM")
	}
}

// TestBehindRunning: the new kernel goes behind the running one if it can be
// moved and there is room, and else to where it wants to be.
func TestBehindRunning(t *testing.T) {
	iomem := []byte("00100000-0fffffff : System RAM\n  01000000-020001ff : Kernel code\n  02200000-038fffff : Kernel bss\n")
	above := runningEnd(iomem)
	if above != 0x3900000 {
		t.Fatalf("the running kernel ends at %#x, want 0x3900000", above)
	}
	fixed, odd := bzImage(), bzImage()
	fixed[hdrRelocate] = 0
	odd[hdrAlign] = 1
	for _, tt := range []struct {
		kernel []byte
		end    uint64
		want   uint64
	}{
		{bzImage(), 256 << 20, 0x3a00000},
		{bzImage(), 100 << 20, 16 << 20}, // no room behind it
		{fixed, 256 << 20, 16 << 20},
		{odd, 256 << 20, 16 << 20},
	} {
		segs, entry, err := layoutAMD64(tt.kernel, make([]byte, 5000), "", []e820{{region{1 << 20, tt.end}, e820RAM}}, above)
		if err != nil {
			t.Fatal(err)
		}
		checkSegments(t, segs, entry)
		if segs[0].addr != tt.want {
			t.Errorf("with RAM to %#x the kernel is at %#x, want %#x", tt.end, segs[0].addr, tt.want)
		}
	}
	k := arm64Image()
	blob, err := (&fdt.Tree{Root: &fdt.Node{}}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for end, want := range map[uint64]uint64{1 << 30: 0x3a00000, 64 << 20: 0} {
		segs, entry, err := layoutARM64(k, make([]byte, 5000), "", arm64{tree: blob, ram: []region{{0, end}}, above: above})
		if err != nil {
			t.Fatal(err)
		}
		checkSegments(t, segs, entry)
		if segs[0].addr != want {
			t.Errorf("with RAM to %#x the kernel is at %#x, want %#x", end, segs[0].addr, want)
		}
	}
}

// checkSegments checks what kexec_load(2) does: page boundaries and no
// overlap; and that the entry is a segment.
func checkSegments(t *testing.T, segs []segment, entry uint64) {
	t.Helper()
	s := slices.Clone(segs)
	slices.SortFunc(s, func(a, b segment) int { return int(int64(a.addr) - int64(b.addr)) })
	for i := range s {
		if s[i].addr%pageSize != 0 {
			t.Errorf("segment at %#x is not on a page boundary", s[i].addr)
		}
		if i > 0 && s[i-1].addr+align(uint64(len(s[i-1].data)), pageSize) > s[i].addr {
			t.Errorf("segments at %#x and %#x overlap", s[i-1].addr, s[i].addr)
		}
	}
	if !slices.ContainsFunc(s, func(s segment) bool { return s.addr == entry }) {
		t.Errorf("the entry %#x is no segment's start", entry)
	}
}
