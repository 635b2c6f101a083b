package emulator_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/emulator"
	"mios/emulator/nbd"
	"mios/internal/tool"
)

// image makes a base image of n sectors that each hold their number's low byte.
func image(t *testing.T, n int) string {
	t.Helper()
	var b []byte
	for i := range n {
		b = append(b, bytes.Repeat([]byte{byte(i)}, emulator.Sector)...)
	}
	path := filepath.Join(t.TempDir(), "base.img")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, base, overlay string) *emulator.Disk {
	t.Helper()
	d, err := emulator.OpenDisk(base, overlay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// do fails the test on an error.
func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDiskAgainstMemory does random things to a disk and to a slice of bytes.
func TestDiskAgainstMemory(t *testing.T) {
	const sectors = 64
	base := image(t, sectors)
	want, err := os.ReadFile(base)
	do(t, err)
	path := filepath.Join(t.TempDir(), "overlay")
	d := open(t, base, path)
	rng := rand.New(rand.NewPCG(1, 2))
	for step := range 3000 {
		s := rng.IntN(sectors)
		n := 1 + rng.IntN(min(8, sectors-s))
		off, size := int64(s*emulator.Sector), n*emulator.Sector
		switch rng.IntN(9) {
		case 0, 1, 2:
			p := bytes.Repeat([]byte{byte(step)}, size)
			do(t, d.WriteAt(p, off, rng.IntN(4) == 0))
			copy(want[off:], p)
		case 3:
			do(t, d.Zero(off, int64(size), false))
			clear(want[off : int(off)+size])
		case 4:
			do(t, d.Flush())
		case 5:
			if step%50 == 0 { // opened again, it is the same
				do(t, d.Close())
				d = open(t, base, path)
			}
		case 6:
			at := rng.IntN(sectors*emulator.Sector - 40)
			p := bytes.Repeat([]byte{byte(step)}, rng.IntN(40))
			do(t, d.Patch(p, int64(at)))
			copy(want[at:], p)
		default:
			at := rng.IntN(sectors * emulator.Sector)
			got := make([]byte, rng.IntN(sectors*emulator.Sector-at))
			if _, err := d.ReadAt(got, int64(at)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want[at:at+len(got)]) {
				t.Fatalf("step %d: %d bytes at %d differ", step, len(got), at)
			}
		}
	}
}

// TestPowerCutKeepsWhatWasFlushed: after a cut each sector holds what was
// flushed, or something that was written to it since; with FUA nothing older.
func TestPowerCutKeepsWhatWasFlushed(t *testing.T) {
	const sectors = 32
	base := image(t, sectors)
	var total emulator.Damage
	for seed := range uint64(200) {
		d := open(t, base, "")
		rng := rand.New(rand.NewPCG(seed, 3))
		may := make([]map[byte]bool, sectors)
		for i := range may {
			may[i] = map[byte]bool{byte(i): true}
		}
		now := make([]byte, sectors)
		for i := range now {
			now[i] = byte(i)
		}
		for step := range 40 {
			if rng.IntN(10) == 0 {
				do(t, d.Flush())
				for i := range may {
					may[i] = map[byte]bool{now[i]: true}
				}
				continue
			}
			s, fua := rng.IntN(sectors), rng.IntN(8) == 0
			n := 1 + rng.IntN(min(6, sectors-s))
			b := byte(100 + step)
			do(t, d.WriteAt(bytes.Repeat([]byte{b}, n*emulator.Sector), int64(s*emulator.Sector), fua))
			for i := s; i < s+n; i++ {
				if fua {
					may[i] = map[byte]bool{}
				}
				may[i][b], now[i] = true, b
			}
		}
		dmg, err := d.PowerCut(seed)
		do(t, err)
		total.Kept, total.Dropped, total.Torn = total.Kept+dmg.Kept, total.Dropped+dmg.Dropped, total.Torn+dmg.Torn
		got := make([]byte, sectors*emulator.Sector)
		if _, err := d.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		for i := range may {
			sector := got[i*emulator.Sector : (i+1)*emulator.Sector]
			if !may[i][sector[0]] || !bytes.Equal(sector, bytes.Repeat(sector[:1], emulator.Sector)) {
				t.Fatalf("seed %d: sector %d holds %d, may hold %v", seed, i, sector[0], may[i])
			}
		}
	}
	if total.Kept < 100 || total.Dropped < 100 || total.Torn < 100 {
		t.Errorf("%v: want more than 100 of each", total)
	}
}

// TestPowerCutIsSeeded: one seed, one outcome; other seeds, others.
func TestPowerCutIsSeeded(t *testing.T) {
	base := image(t, 256)
	outcome := func(seed uint64) string {
		d := open(t, base, "")
		for i := range int64(32) {
			do(t, d.WriteAt(bytes.Repeat([]byte{0xee}, 8*emulator.Sector), i*8*emulator.Sector, false))
		}
		_, err := d.PowerCut(seed)
		do(t, err)
		got := make([]byte, d.Size())
		if _, err := d.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	all := make(map[string]bool)
	for seed := range uint64(10) {
		first, again := outcome(seed), outcome(seed)
		if first != again {
			t.Errorf("seed %d has two outcomes", seed)
		}
		all[first] = true
	}
	if len(all) < 9 {
		t.Errorf("10 seeds have %d outcomes", len(all))
	}
}

func TestSnapshot(t *testing.T) {
	for _, overlay := range []string{"", filepath.Join(t.TempDir(), "overlay")} {
		d := open(t, image(t, 1<<14), overlay)
		snapshot := filepath.Join(t.TempDir(), "snapshot")
		do(t, d.Patch([]byte("before"), 1000))
		do(t, d.WriteAt(make([]byte, 512), 4096, false)) // not flushed, and part of it
		do(t, d.Snapshot(snapshot))
		do(t, d.Patch([]byte("after!"), 1000))
		do(t, d.WriteAt(bytes.Repeat([]byte{9}, 512), 8192, false))
		for range 2 {
			do(t, d.Restore(snapshot))
			got := make([]byte, 6)
			if _, err := d.ReadAt(got, 1000); err != nil || string(got) != "before" {
				t.Errorf("restored disk holds %q, %v", got, err)
			}
			checkSectors(t, d, 8, 1, 0)
			checkSectors(t, d, 16, 1, 16)
			do(t, d.Patch([]byte("again!"), 1000))
		}
		if fi, err := os.Stat(snapshot); err != nil || blocks(t, snapshot) > fi.Size()/8 {
			t.Errorf("the snapshot takes %d bytes of %v: want a sparse file", blocks(t, snapshot), fi)
		}
	}
}

// TestCacheIsBounded writes more than the cache holds.
func TestCacheIsBounded(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base.img")
	do(t, os.WriteFile(base, nil, 0o644))
	do(t, os.Truncate(base, 256<<20))
	d := open(t, base, "")
	p := bytes.Repeat([]byte{3}, 1<<20)
	for i := range int64(200) {
		do(t, d.WriteAt(p, i<<20, false))
	}
	do(t, d.Zero(0, 100<<20, false))
	checkSectors(t, d, 0, 8, 0)
	checkSectors(t, d, 199<<11, 8, 3)
	dmg, err := d.PowerCut(1)
	do(t, err)
	if n := dmg.Kept + dmg.Dropped + dmg.Torn; n > 64 {
		t.Errorf("%d MiB were not flushed, want at most 64", n)
	}
}

func TestOpenDiskRefuses(t *testing.T) {
	base, other := image(t, 8), image(t, 16)
	dir := t.TempDir()
	overlay := filepath.Join(dir, "overlay")
	do(t, open(t, base, overlay).Close())
	odd := filepath.Join(dir, "odd")
	do(t, os.WriteFile(odd, []byte("odd"), 0o644))
	for _, test := range []struct{ base, overlay, want string }{
		{other, overlay, "belongs to another image: remove it"},
		{base, odd, "belongs to another image"},
		{odd, "", "3 bytes are not a number of sectors"},
		{filepath.Join(dir, "none"), "", "no such file"},
	} {
		if d, err := emulator.OpenDisk(test.base, test.overlay); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("OpenDisk(%s, %s) = %v, %v; want %q", test.base, test.overlay, d, err, test.want)
		}
	}
	open(t, base, overlay)
	if d, err := emulator.OpenDisk(base, overlay); err == nil || !strings.Contains(err.Error(), "another device runs with it") {
		t.Errorf("OpenDisk of an overlay that is open = %v, %v", d, err)
	}
	d := open(t, base, "")
	if err := d.Restore(overlay + ".none"); err == nil {
		t.Error("Restore of nothing succeeded")
	}
	if err := d.WriteAt(make([]byte, 512), 8*512, false); err == nil {
		t.Error("WriteAt past the end succeeded")
	}
	if err := d.WriteAt(make([]byte, 100), 0, false); err == nil {
		t.Error("WriteAt of part of a sector succeeded")
	}
}

// TestDiskOverNBD: QEMU's client flushes, and a cut loses what it did not.
func TestDiskOverNBD(t *testing.T) {
	qemuIO, err := tool.Look("qemu-io")
	do(t, err)
	d := open(t, image(t, 1<<15), "")
	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	do(t, err)
	done := make(chan struct{})
	go func() { nbd.Serve(t.Context(), l, d, func(err error) { t.Error(err) }); close(done) }()
	run := func(commands ...string) {
		t.Helper()
		args := []string{"-f", "raw", "-t", "none"}
		for _, c := range commands {
			args = append(args, "-c", c)
		}
		if out, err := exec.Command(qemuIO, append(args, "nbd+unix:///?socket="+sock)...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-io: %v: %s", err, out)
		}
	}
	run("write -P 0x11 0 64k", "write -P 0x12 64k 64k", "flush")
	if dmg, err := d.PowerCut(5); err != nil || dmg != (emulator.Damage{}) {
		t.Errorf("PowerCut after a flush: %v, %v; want no damage", dmg, err)
	}
	checkSectors(t, d, 0, 128, 0x11)
	checkSectors(t, d, 128, 128, 0x12)
	l.Close()
	<-done
}

// blocks returns the room that a file takes, in bytes.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	out, err := exec.Command("du", "-B1", path).Output()
	do(t, err)
	var n int64
	if _, err := fmt.Sscan(string(out), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDiskWatch(t *testing.T) {
	d := open(t, image(t, 4), "")
	var got []string
	d.Watch(func(a emulator.Access) {
		got = append(got, fmt.Sprintf("%d %d+%d %d bytes, %d unflushed", a.Op, a.Off, a.N, len(a.Data), a.Unflushed))
	})
	sector := make([]byte, emulator.Sector)
	do(t, d.WriteAt(sector, 512, false))
	do(t, d.WriteAt(sector, 1024, true))
	if _, err := d.ReadAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	do(t, d.Trim(0, emulator.Sector))
	do(t, d.Flush())
	do(t, d.Flush())
	d.Watch(nil)
	do(t, d.Flush())
	want := []string{"2 512+512 512 bytes, 0 unflushed", "2 1024+512 512 bytes, 1 unflushed", "1 0+512 0 bytes, 1 unflushed",
		"2 0+512 512 bytes, 1 unflushed", "3 0+0 0 bytes, 2 unflushed", "3 0+0 0 bytes, 0 unflushed"}
	if !slices.Equal(got, want) {
		t.Errorf("watched %q, want %q", got, want)
	}
}
