package boot

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/format/gpt"
	"mios/internal/testkit"
)

// memPartition is a partition that can tear a write.
type memPartition struct {
	memFile
	tear int // of the next write only so many bytes reach it; -1 is all
}

func (p *memPartition) Size() int64  { return int64(len(p.data)) }
func (p *memPartition) ID() gpt.GUID { return gpt.GUID{} }

func (p *memPartition) WriteAt(b []byte, off int64) (int, error) {
	if p.tear >= 0 {
		b, p.tear = b[:p.tear], -1
	}
	return p.memFile.WriteAt(b, off)
}

// TestRollbackTorn tears each of three writes in a row at every byte. What was
// stored before must be there, or what was written.
func TestRollbackTorn(t *testing.T) {
	history := []map[uint32]uint64{{0: 3}, {0: 7, 5: 1 << 60}, {5: 1<<60 + 1, 31: 2}}
	size := len((&rollbackCopy{}).bytes())
	for step := range history {
		for n := 0; n <= size; n++ {
			p := &memPartition{memFile: memFile{data: make([]byte, 64<<10)}, tear: -1}
			want := map[uint32]uint64{}
			for i := range step {
				r, err := openRollback(p)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.raise(history[i]); err != nil {
					t.Fatal(err)
				}
				maps.Copy(want, history[i])
			}
			r, err := openRollback(p)
			if err != nil {
				t.Fatal(err)
			}
			p.tear = n
			if err := r.raise(history[step]); err != nil {
				t.Fatal(err)
			}
			after := maps.Clone(want)
			maps.Copy(after, history[step])
			r, err = openRollback(p)
			if err != nil {
				t.Fatalf("write %d torn at %d: %v", step, n, err)
			}
			if n == size {
				want = after
			}
			if !holds(r, want) && !holds(r, after) {
				t.Fatalf("write %d torn at %d: %v, want %v or %v", step, n, r.state.Indexes, want, after)
			}
			if err := r.raise(map[uint32]uint64{9: 9}); err != nil || !holds(r, map[uint32]uint64{9: 9}) {
				t.Fatalf("write %d torn at %d: the next one: %v", step, n, err)
			}
		}
	}
}

func holds(r *rollback, want map[uint32]uint64) bool {
	for loc, v := range want {
		if r.get(loc) != v {
			return false
		}
	}
	return true
}

func TestRollbackNeverLowers(t *testing.T) {
	p := &memPartition{memFile: memFile{data: make([]byte, 64<<10)}, tear: -1}
	r, err := openRollback(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.raise(map[uint32]uint64{2: 8}); err != nil {
		t.Fatal(err)
	}
	syncs := p.syncs
	if err := r.raise(map[uint32]uint64{2: 7}); err != nil || r.get(2) != 8 || p.syncs != syncs {
		t.Errorf("raise to less: %v, index %d, %d writes", err, r.get(2), p.syncs-syncs)
	}
	if err := r.raise(map[uint32]uint64{32: 7}); err == nil {
		t.Error("location 32 was accepted")
	}
}

// FuzzRollback checks that no content of rpmb makes it panic or yield indexes
// without a checksum.
func FuzzRollback(f *testing.F) {
	c := rollbackCopy{Magic: [8]byte([]byte(rollbackMagic)), Sequence: 4}
	c.Sum = c.sum()
	f.Add(c.bytes(), []byte{})
	f.Add([]byte{1}, c.bytes())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		data := make([]byte, 64<<10)
		copy(data[:rollbackSpacing], a)
		copy(data[rollbackSpacing:], b)
		r, err := openRollback(&memPartition{memFile: memFile{data: data}, tear: -1})
		if err == nil && r.state != (rollbackCopy{}) && r.state.sum() != r.state.Sum {
			t.Errorf("took %+v", r.state)
		}
	})
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct{ image, avb, own, want string }{
		{"", "", "", "androidboot.a=1 androidboot.bootreason=r"},
		{"quiet", "androidboot.vbmeta.x=1", "", "quiet androidboot.vbmeta.x=1 androidboot.a=1 androidboot.bootreason=r"},
		{"quiet", "androidboot.y=1", "androidboot.y=2 androidboot.yy=3 init=/bin/sh androidboot", "quiet androidboot.y=1 androidboot.yy=3 androidboot.a=1 androidboot.bootreason=r"},
		{"", "", "androidboot.bootreason=cold androidboot.b=1 androidboot.b=2", "androidboot.bootreason=cold androidboot.b=2 androidboot.a=1"},
		{"androidboot.y=1 androidboot.bootreason=x", "", "androidboot.y=2", "androidboot.y=1 androidboot.bootreason=x androidboot.a=1"},
		{"", "", `androidboot.b="x androidboot.veritymode=y" androidboot.veritymode=z`, `androidboot.b="x androidboot.veritymode=y" androidboot.a=1 androidboot.bootreason=r`},
		{"", "", "androidboot.verifiedbootstate=orange androidboot.slot_suffix=_z androidboot.vbmeta.device_state=unlocked\n", "androidboot.a=1 androidboot.bootreason=r"},
	} {
		got := commandLine(tt.image, tt.avb, tt.own, []option{{"androidboot.a", "1"}, {"androidboot.empty", ""}, {"androidboot.bootreason", "r"}})
		if got != tt.want {
			t.Errorf("commandLine(%q, %q, %q)\n = %q\nwant %q", tt.image, tt.avb, tt.own, got, tt.want)
		}
	}
	if got := value(`a=1 mios.on_no_slot=poweroff mios.on_no_slot="stay here"`, "mios.on_no_slot"); got != "stay here" {
		t.Errorf("value = %q", got)
	}
}

// TestRepair writes a broken copy of the partition table anew.
func TestRepair(t *testing.T) {
	r := newRig(t)
	good := bytes.Clone(r.file.data)
	for _, off := range []int{512 + 16, testDiskSize - 512 + 16} {
		r.file.data[off] ^= 1
		_, note, err := OpenDisk(r.file, testDiskSize)
		if err != nil || note == nil || !bytes.Equal(r.file.data, good) || !bytes.Equal(r.file.durable, good) {
			t.Errorf("byte %#x flipped: %v, %v; or not repaired", off, note, err)
		}
	}
	clear(r.file.data)
	if _, _, err := OpenDisk(r.file, testDiskSize); err == nil {
		t.Error("a disk of zeros was opened")
	}
}

func TestPartition(t *testing.T) {
	r := newRig(t)
	p := r.part("vbmeta_a")
	b := make([]byte, 100)
	if n, err := p.ReadAt(b, p.Size()-10); n != 10 || err == nil {
		t.Errorf("ReadAt the end = %d, %v", n, err)
	}
	for _, off := range []int64{-1, p.Size() - 50, p.Size() + 1} {
		if _, err := p.WriteAt(b, off); err == nil {
			t.Errorf("a write at %d of %d succeeded", off, p.Size())
		}
	}
	if _, err := r.disk.Partition("nothing"); err == nil {
		t.Error("a missing partition was found")
	}
}

// TestWaitDisk finds the disk among others, and waits for one that comes late.
func TestWaitDisk(t *testing.T) {
	r := newRig(t)
	sys, dev := t.TempDir(), t.TempDir()
	for _, d := range []string{"vda", "vdb", "vdb1", "late"} {
		if err := os.Mkdir(filepath.Join(sys, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string][]byte{filepath.Join(sys, "vdb1", "partition"): []byte("1"), filepath.Join(dev, "vda"): make([]byte, 1<<20), filepath.Join(dev, "vdb1"): r.file.data} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := func(s string) { t.Log(s) }
	_, err := waitDisk(sys, dev, 20*time.Millisecond, log)
	if err == nil || !strings.Contains(err.Error(), "vda: gpt: ") || !strings.Contains(err.Error(), "attach the device's disk") {
		t.Errorf("waitDisk = %v", err)
	}
	go func() {
		tmp := filepath.Join(dev, "tmp")
		if os.WriteFile(tmp, r.file.data, 0o600) == nil {
			os.Rename(tmp, filepath.Join(dev, "late"))
		}
	}()
	d, err := waitDisk(sys, dev, testkit.Patience, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Partition("boot_a"); err != nil {
		t.Error(err)
	}
}
