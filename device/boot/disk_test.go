package boot

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/device/bootrecord"
	"mios/format/avb"
	"mios/format/bootctl"
	"mios/format/bootimg"
	"mios/format/gpt"
	"mios/format/super"
	"mios/internal/testkit"
)

// memFile is a disk in memory that knows what a power cut would leave.
type memFile struct {
	data    []byte
	durable []byte // data at the last Sync
	fail    map[int64]bool
	syncs   int
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	for at := range f.fail {
		if off <= at && at < off+int64(len(p)) {
			return 0, errors.New("medium error")
		}
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(f.data)) {
		return 0, errors.New("write past the end")
	}
	return copy(f.data[off:], p), nil
}

func (f *memFile) Sync() error {
	f.syncs++
	if f.durable == nil {
		f.durable = bytes.Clone(f.data)
	}
	copy(f.durable, f.data)
	return nil
}

const testDiskSize = 12 << 20

// systemSize is that of a logical partition, of which the first half is data.
const systemSize = 256 << 10

// A rig is a device with a disk of two slots.
type rig struct {
	t     *testing.T
	file  *memFile
	disk  Disk
	log   []string
	own   string // the loader's command line
	clock time.Time

	kernel, ramdisk []byte
	cmdline         string
	atLoad          []byte // what a cut at Load would leave of misc
	loadErr         error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	table, err := gpt.New("test", testDiskSize, []gpt.Spec{
		{Name: "misc", Size: 1 << 20}, {Name: "rpmb", Size: 64 << 10},
		{Name: "boot_a", Size: 128 << 10}, {Name: "boot_b", Size: 128 << 10},
		{Name: "vbmeta_a", Size: 64 << 10}, {Name: "vbmeta_b", Size: 64 << 10},
		{Name: "super", Size: 4 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, file: &memFile{data: make([]byte, testDiskSize)}, clock: time.Unix(1700000000, 0)}
	if err := table.WriteDisk(r.file); err != nil {
		t.Fatal(err)
	}
	var note error
	if r.disk, note, err = OpenDisk(r.file, testDiskSize); err != nil || note != nil {
		t.Fatal(note, err)
	}
	r.writeSuper()
	for i := range 2 {
		r.writeSlot(i, 1, testkit.RSA(0))
	}
	ctl := bootctl.New(2, 3)
	ctl.MarkSuccessful(0)
	r.setControl(ctl)
	return r
}

func (r *rig) part(name string) Partition {
	r.t.Helper()
	p, err := r.disk.Partition(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// writeSlot writes a signed slot. Its kernel tells which one it is.
func (r *rig) writeSlot(i int, rollbackIndex uint64, key *rsa.PrivateKey) {
	r.t.Helper()
	suffix := bootctl.Suffix(i)
	img := bootimg.New(append([]byte("kernel"+suffix), make([]byte, 9000)...), []byte("ramdisk"+suffix), "console=ttyS0 quiet", bootimg.OSVersion{})
	f, err := os.Create(filepath.Join(r.t.TempDir(), "boot.img"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	n, err := img.WriteTo(f)
	if err != nil {
		r.t.Fatal(err)
	}
	desc, err := avb.AddHashFooter(f, n, avb.FooterOptions{PartitionName: "boot", PartitionSize: 128 << 10, Salt: []byte("salt" + suffix)})
	if err != nil {
		r.t.Fatal(err)
	}
	m := &avb.VBMeta{RollbackIndex: rollbackIndex, Release: "test", Descriptors: []avb.Descriptor{desc, r.writeSystem(i)}}
	if err := m.Sign(key, avb.SHA256RSA2048); err != nil {
		r.t.Fatal(err)
	}
	vbmeta, err := m.Bytes()
	if err != nil {
		r.t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("boot"+suffix, 0, raw)
	r.write("vbmeta"+suffix, 0, append(vbmeta, make([]byte, 64<<10-len(vbmeta))...))
}

// writeSuper makes the logical partitions.
func (r *rig) writeSuper() {
	r.t.Helper()
	img, err := super.Build(super.Spec{Size: r.part("super").Size(), Partitions: []super.PartitionSpec{
		{Name: "system_a", Size: systemSize}, {Name: "system_b", Size: systemSize}}})
	if err == nil {
		err = img.WriteDisk(r.part("super"))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// system opens the logical partition of slot i.
func (r *rig) system(i int) *super.Volume {
	r.t.Helper()
	md, err := super.ReadSlot(r.part("super"), i)
	if err != nil {
		r.t.Fatal(err)
	}
	v, err := md.Open("system"+bootctl.Suffix(i), r.part("super"))
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// writeSystem writes a system partition with its hash tree.
func (r *rig) writeSystem(i int) *avb.HashtreeDescriptor {
	r.t.Helper()
	f, err := os.Create(filepath.Join(r.t.TempDir(), "system.img"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Repeat([]byte(bootctl.Suffix(i)), systemSize/4)); err != nil {
		r.t.Fatal(err)
	}
	desc, err := avb.AddHashtreeFooter(f, systemSize/2, avb.FooterOptions{PartitionName: "system", PartitionSize: systemSize})
	if err != nil {
		r.t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err == nil {
		_, err = r.system(i).WriteAt(raw, 0)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return desc
}

func (r *rig) write(name string, off int64, b []byte) {
	r.t.Helper()
	if _, err := r.part(name).WriteAt(b, off); err != nil {
		r.t.Fatal(err)
	}
}

// flip changes one bit of a partition.
func (r *rig) flip(name string, off int64) {
	r.t.Helper()
	var b [1]byte
	p := r.part(name)
	if _, err := p.ReadAt(b[:], off); err != nil {
		r.t.Fatal(err)
	}
	b[0] ^= 0x10
	r.write(name, off, b[:])
}

func (r *rig) setControl(c *bootctl.Control) {
	r.t.Helper()
	b, err := c.Bytes()
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("misc", bootctl.ControlOffset, b)
	r.file.Sync()
}

func (r *rig) control() *bootctl.Control {
	r.t.Helper()
	b := make([]byte, bootctl.ControlSize)
	if _, err := r.part("misc").ReadAt(b, bootctl.ControlOffset); err != nil {
		r.t.Fatal(err)
	}
	c, err := bootctl.ParseControl(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// boot runs the loader once.
func (r *rig) boot() error {
	r.t.Helper()
	key, err := avb.EncodePublicKey(&testkit.RSA(0).PublicKey)
	if err != nil {
		r.t.Fatal(err)
	}
	r.log, r.kernel, r.ramdisk, r.cmdline = nil, nil, nil, ""
	clock := time.Duration(0)
	l := &Loader{
		Disk: r.disk, Key: key, Cmdline: r.own,
		Log: func(s string) { r.log = append(r.log, s) },
		Now: func() time.Time { return r.clock },
		Times: NewTimes(func() time.Duration {
			clock += 7 * time.Millisecond
			return clock
		}),
		Load: func(kernel, ramdisk []byte, cmdline string) error {
			if r.loadErr != nil {
				return r.loadErr
			}
			r.kernel, r.ramdisk, r.cmdline = kernel, ramdisk, cmdline
			r.atLoad = bytes.Clone(r.durable("misc"))
			return nil
		},
	}
	return l.Boot()
}

// boots fails unless the loader boots the slot with that suffix.
func (r *rig) boots(suffix string) {
	r.t.Helper()
	if err := r.boot(); err != nil {
		r.t.Fatalf("Boot = %v, want slot %s\n%s", err, suffix, strings.Join(r.log, "\n"))
	}
	if !bytes.HasPrefix(r.kernel, []byte("kernel"+suffix)) || string(r.ramdisk) != "ramdisk"+suffix {
		r.t.Fatalf("Boot loaded %q, want slot %s\n%s", r.kernel[:8], suffix, strings.Join(r.log, "\n"))
	}
}

// healthy says what the system does when its health checks pass.
func (r *rig) healthy(suffix string) {
	r.t.Helper()
	if err := bootrecord.Healthy(r.part("misc"), suffix); err != nil {
		r.t.Fatal(err)
	}
}

// says fails unless a line of the log has all of the words.
func (r *rig) says(words ...string) {
	r.t.Helper()
lines:
	for _, l := range r.log {
		for _, w := range words {
			if !strings.Contains(l, w) {
				continue lines
			}
		}
		return
	}
	r.t.Errorf("no line of the log says %q:\n%s", words, strings.Join(r.log, "\n"))
}

func (r *rig) rollback() *rollback {
	r.t.Helper()
	s, err := openRollback(r.part("rpmb"))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// durable is what a power cut would leave of a partition.
func (r *rig) durable(name string) []byte {
	p := r.part(name).(*partition).p
	return r.file.durable[p.Offset():][:p.Size()]
}
