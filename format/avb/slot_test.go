package avb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"mios/format/avb"
)

// slotDevice is a device with one slot, signed by the key of test_rsa2048.pem.
type slotDevice struct {
	caseOps
	read map[string]int64 // bytes of each partition
}

func newSlotDevice(t testing.TB) *slotDevice {
	t.Helper()
	d := &slotDevice{read: map[string]int64{}}
	d.files, d.persistent = map[string][]byte{}, map[string][]byte{}
	boot, system := &memFile{noise(3<<20 + 100)}, &memFile{noise(40 * 4096)}
	hash, err := avb.AddHashFooter(boot, int64(len(boot.b)), avb.FooterOptions{PartitionName: "boot", PartitionSize: 4 << 20, Salt: []byte("s"), VBMeta: &avb.VBMeta{}})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := avb.AddHashtreeFooter(system, int64(len(system.b)), avb.FooterOptions{PartitionName: "system", Salt: []byte("s")})
	if err != nil {
		t.Fatal(err)
	}
	key := testKey(t, 2048)
	vbmeta := sign(t, &avb.VBMeta{RollbackIndex: 7, Descriptors: []avb.Descriptor{hash, tree}}, key, avb.SHA256RSA2048)
	d.files["boot_a.img"], d.files["system_a.img"] = boot.b, system.b
	d.files["vbmeta_a.img"] = append(vbmeta, make([]byte, 64<<10-len(vbmeta))...)
	d.Key = sha256Hex(publicKey(t, key))
	d.Rollback = map[uint32]uint64{0: 7}
	return d
}

func (d *slotDevice) ReadPartition(name string, off int64, b []byte) (int, error) {
	n, err := d.caseOps.ReadPartition(name, off, b)
	d.read[name] += int64(n)
	return n, err
}

func (d *slotDevice) open(name string) (io.ReaderAt, error) {
	b, err := d.partition(name)
	return bytes.NewReader(b), err
}

var bootRequest = avb.SlotRequest{Partitions: []string{"boot"}, Suffix: "_a"}

func TestVerifySlot(t *testing.T) {
	d := newSlotDevice(t)
	data, err := avb.VerifySlot(d, bootRequest)
	if err != nil {
		t.Fatal(err)
	}
	if want := d.files["boot_a.img"][:3<<20+100]; !bytes.Equal(data.Find("boot"), want) {
		t.Errorf("Find(boot) = %d bytes, want the image's %d", len(data.Find("boot")), len(want))
	}
	if got := d.read["boot_a"]; got != 3<<20+100 {
		t.Errorf("read %d bytes of boot_a, want each once", got)
	}
	if data.RollbackIndexes[0] != 7 || !strings.Contains(data.Cmdline, "androidboot.vbmeta.device=PARTUUID=1234-fake-guid-for:vbmeta_a ") {
		t.Errorf("VerifySlot = %v, %q", data.RollbackIndexes, data.Cmdline)
	}
	if err := data.VerifyHashtrees(d.open); err != nil {
		t.Error(err)
	}
	d.files["system_a.img"][5000] ^= 1
	if err := data.VerifyHashtrees(d.open); err == nil || !strings.Contains(err.Error(), "system: data block at offset 0x1000 (block 1) is corrupt") {
		t.Errorf("VerifyHashtrees = %v, want that block 1 is corrupt", err)
	}
	discard := bootRequest
	discard.Discard = true
	again, err := avb.VerifySlot(d, discard)
	if err != nil || again.Find("boot") != nil || again.Loaded[0].Size != 3<<20+100 || again.Cmdline != data.Cmdline {
		t.Errorf("VerifySlot with Discard = %+v, %v, want the same without data", again, err)
	}
}

func TestVerifySlotRefuses(t *testing.T) {
	for _, tt := range []struct {
		name      string
		change    func(d *slotDevice, r *avb.SlotRequest)
		want      avb.SlotResult
		partition string
	}{
		{"boot", func(d *slotDevice, _ *avb.SlotRequest) { d.files["boot_a.img"][3<<20] ^= 1 }, avb.SlotErrorVerification, "boot_a"},
		{"vbmeta", func(d *slotDevice, _ *avb.SlotRequest) { d.files["vbmeta_a.img"][300] ^= 1 }, avb.SlotErrorVerification, "vbmeta_a"},
		{"vbmeta gone", func(d *slotDevice, _ *avb.SlotRequest) { clear(d.files["vbmeta_a.img"]) }, avb.SlotErrorInvalidMetadata, "vbmeta_a"},
		{"key", func(d *slotDevice, _ *avb.SlotRequest) { d.Key = "" }, avb.SlotErrorPublicKeyRejected, "vbmeta_a"},
		{"rollback", func(d *slotDevice, _ *avb.SlotRequest) { d.Rollback[0] = 8 }, avb.SlotErrorRollbackIndex, "vbmeta_a"},
		{"short boot", func(d *slotDevice, _ *avb.SlotRequest) { d.files["boot_a.img"] = d.files["boot_a.img"][:4096] }, avb.SlotErrorIO, "boot_a"},
		{"no boot", func(d *slotDevice, _ *avb.SlotRequest) { delete(d.files, "boot_a.img") }, avb.SlotErrorIO, "boot_a"},
		{"logging", func(_ *slotDevice, r *avb.SlotRequest) { r.ErrorMode = avb.Logging }, avb.SlotErrorInvalidArgument, ""},
		{"mode", func(_ *slotDevice, r *avb.SlotRequest) { r.ErrorMode = 17 }, avb.SlotErrorInvalidArgument, ""},
		{"no partitions", func(_ *slotDevice, r *avb.SlotRequest) {
			r.Flags, r.Partitions = avb.SlotNoVBMetaPartition, nil
		}, avb.SlotErrorInvalidArgument, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, r := newSlotDevice(t), bootRequest
			tt.change(d, &r)
			data, err := avb.VerifySlot(d, r)
			serr, ok := errors.AsType[*avb.SlotError](err)
			if !ok || serr.Result != tt.want || serr.Partition != tt.partition || data != nil {
				t.Errorf("VerifySlot = %v, %v, want %v of %q", data, err, tt.want, tt.partition)
			}
		})
	}
}

func TestVerifySlotErrorModes(t *testing.T) {
	for mode, want := range map[avb.ErrorMode]string{
		avb.RestartAndInvalidate: "androidboot.vbmeta.invalidate_on_error=yes androidboot.veritymode=enforcing ",
		avb.Restart:              " androidboot.veritymode=enforcing ",
		avb.EIO:                  " androidboot.veritymode=eio ",
		avb.Panic:                " androidboot.veritymode=panicking ",
		avb.ManagedRestartAndEIO: " androidboot.veritymode=enforcing androidboot.veritymode.managed=yes ",
	} {
		r := bootRequest
		r.ErrorMode = mode
		data, err := avb.VerifySlot(newSlotDevice(t), r)
		if err != nil || !strings.Contains(data.Cmdline, want) {
			t.Errorf("mode %d: %v, %v, want %q", mode, data, err, want)
		}
	}
}

// TestManagedErrorMode follows a device through a corruption: EIO until the
// slot changes.
func TestManagedErrorMode(t *testing.T) {
	d, r := newSlotDevice(t), bootRequest
	r.ErrorMode = avb.ManagedRestartAndEIO
	for i, step := range []struct {
		flags avb.SlotFlags
		want  avb.ErrorMode
	}{{0, avb.Restart}, {avb.SlotRestartCausedByHashtreeCorruption, avb.EIO}, {0, avb.EIO}} {
		r.Flags = step.flags
		if data, err := avb.VerifySlot(d, r); err != nil || data.ResolvedErrorMode != step.want {
			t.Fatalf("step %d: %+v, %v, want mode %d", i, data, err, step.want)
		}
	}
	other := sign(t, &avb.VBMeta{RollbackIndex: 8}, testKey(t, 2048), avb.SHA256RSA2048)
	d.files["vbmeta_a.img"] = other
	r.Partitions = nil
	if data, err := avb.VerifySlot(d, r); err != nil || data.ResolvedErrorMode != avb.Restart || len(d.persistent) != 0 {
		t.Errorf("VerifySlot of another system = %+v, %v, want mode %d and no persistent value", data, err, avb.Restart)
	}
}

// FuzzVerifySlot gives hostile vbmeta images, whose hash is right, to an
// unlocked device, which follows all descriptors.
func FuzzVerifySlot(f *testing.F) {
	for _, b := range images(f) {
		f.Add(b, uint32(0), "_a")
	}
	d := newSlotDevice(f)
	f.Add(d.files["vbmeta_a.img"][:1024], uint32(1), "_a")
	f.Fuzz(func(t *testing.T, vbmeta []byte, flags uint32, suffix string) {
		d := *d
		d.read = map[string]int64{}
		if len(vbmeta) >= avb.HeaderSize {
			binary.BigEndian.PutUint32(vbmeta[28:], 0) // unsigned: the fuzzer has no key
		}
		d.files = map[string][]byte{"vbmeta" + suffix + ".img": vbmeta, "boot" + suffix + ".img": d.files["boot_a.img"]}
		data, err := avb.VerifySlot(&d, avb.SlotRequest{Partitions: []string{"boot"}, Suffix: suffix, Flags: avb.SlotFlags(flags | 1)})
		if err != nil {
			if _, ok := errors.AsType[*avb.SlotError](err); !ok {
				t.Errorf("VerifySlot = %v, want a SlotError", err)
			}
		}
		if data != nil {
			_, _ = data.Descriptors()
		} else if err == nil {
			t.Error("VerifySlot = nil, nil")
		}
	})
}
