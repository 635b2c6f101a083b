package boot

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"mios/device/bootrecord"
	"mios/format/bootctl"
	"mios/internal/testkit"
)

func (r *rig) refusals() []bootrecord.Refusal {
	r.t.Helper()
	rec, err := bootrecord.Read(r.part("misc"))
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Refusals
}

func TestBoot(t *testing.T) {
	r := newRig(t)
	r.own = "console=ttyS0 panic=-1 androidboot.mios.repository=http://10.0.2.2 androidboot.vbmeta.digest=00 androidboot.slot_suffix=_x"
	r.boots("_a")
	for _, want := range []string{
		"console=ttyS0 quiet ", " androidboot.vbmeta.device_state=locked", " androidboot.vbmeta.hash_alg=sha256", " androidboot.veritymode=eio",
		" androidboot.slot_suffix=_a", " androidboot.mios.repository=http://10.0.2.2", " androidboot.verifiedbootstate=green",
		" androidboot.bootreason=unknown", " androidboot.boottime=kernel:7,verify:7",
	} {
		if !strings.Contains(r.cmdline, want) {
			t.Errorf("command line has no %q:\n%s", want, r.cmdline)
		}
	}
	for _, word := range []string{"androidboot.vbmeta.digest=", "androidboot.slot_suffix=", "console="} {
		if strings.Count(r.cmdline, word) != 1 {
			t.Errorf("command line has not one %q:\n%s", word, r.cmdline)
		}
	}
	if strings.Contains(r.cmdline, "digest=00 ") || strings.Contains(r.cmdline, "panic=") {
		t.Errorf("command line took what is not handed on:\n%s", r.cmdline)
	}
	if len(r.refusals()) != 0 {
		t.Errorf("refusals = %v", r.refusals())
	}
}

// TestTriesRunOut boots a new slot that never proves itself.
func TestTriesRunOut(t *testing.T) {
	r := newRig(t)
	ctl := r.control()
	ctl.SetActive(1, 2)
	r.setControl(ctl)
	for left := 1; left >= 0; left-- {
		r.boots("_b")
		c, err := bootctl.ParseControl(r.atLoad[bootctl.ControlOffset:])
		if err != nil || int(c.Slots[1].Tries) != left || c.Suffix != "_b" {
			t.Errorf("when the slot was loaded, durable was %+v, %v; want %d tries", c, err, left)
		}
	}
	r.boots("_a")
	r.says("slot _b: it was started as often as it may be")
	if !strings.Contains(r.cmdline, "androidboot.bootreason=reboot,slot_failed") {
		t.Errorf("command line %s", r.cmdline)
	}
	if got := r.refusals(); len(got) != 1 || got[0].Slot != "_b" || !got[0].Time.Equal(r.clock) {
		t.Errorf("refusals = %v", got)
	}
	syncs := r.file.syncs
	r.boots("_a")
	if len(r.refusals()) != 1 || r.file.syncs != syncs+1 {
		t.Errorf("the next boot recorded %v and wrote %d times, want its count alone", r.refusals(), r.file.syncs-syncs)
	}
}

// TestTriesRunOutSaid leaves the system's own record of why a slot failed.
func TestTriesRunOutSaid(t *testing.T) {
	r := newRig(t)
	ctl := r.control()
	ctl.SetActive(1, 1)
	r.setControl(ctl)
	r.boots("_b")
	said := bootrecord.Refusal{Slot: "_b", Reason: "service netd died four times", Time: r.clock.UTC()}
	if err := bootrecord.Add(r.part("misc"), said); err != nil {
		t.Fatal(err)
	}
	r.clock = r.clock.Add(time.Minute)
	r.boots("_a")
	if got := r.refusals(); len(got) != 1 || got[0] != said {
		t.Errorf("refusals = %v, want the system's own", got)
	}
}

// TestRefused breaks the active slot in many ways: the other one boots, and
// the reason is said and recorded.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name      string
		change    func(r *rig)
		partition string
		says      string
	}{
		{"byte in the kernel", func(r *rig) { r.flip("boot_b", 5000) }, "boot_b", "slot _b: boot: "},
		{"byte in the header's padding", func(r *rig) { r.flip("boot_b", 4000) }, "boot_b", "slot _b: boot: "},
		{"byte in the signature", func(r *rig) { r.flip("vbmeta_b", 300) }, "vbmeta_b", "slot _b: vbmeta: "},
		{"byte in the descriptors", func(r *rig) { r.flip("vbmeta_b", 256+576+20) }, "vbmeta_b", "slot _b: vbmeta: "},
		{"byte in the header", func(r *rig) { r.flip("vbmeta_b", 2) }, "vbmeta_b", "slot _b: vbmeta: "},
		{"no vbmeta", func(r *rig) { r.write("vbmeta_b", 0, make([]byte, 64<<10)) }, "vbmeta_b", "slot _b: vbmeta: "},
		{"another key", func(r *rig) { r.writeSlot(1, 9, testkit.RSA(1)) }, "vbmeta_b", "slot _b: vbmeta: "},
		{"an older rollback index", func(r *rig) {
			if err := r.rollback().raise(map[uint32]uint64{0: 1}); err != nil {
				r.t.Fatal(err)
			}
			r.writeSlot(1, 0, testkit.RSA(0))
		}, "vbmeta_b", "slot _b: vbmeta: "},
		{"the other slot's boot image", func(r *rig) {
			b := make([]byte, 128<<10)
			if _, err := r.part("boot_a").ReadAt(b, 0); err != nil {
				r.t.Fatal(err)
			}
			r.write("boot_b", 0, b)
		}, "boot_b", "slot _b: boot: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			ctl := r.control()
			ctl.SetActive(1, 3)
			r.setControl(ctl)
			tt.change(r)
			r.boots("_a")
			r.says(tt.says, ": the slot is refused")
			if got := r.refusals(); len(got) != 1 || got[0].Slot != "_b" || got[0].Partition != tt.partition || got[0].Reason == "" {
				t.Errorf("refusals = %+v, want one of %s", got, tt.partition)
			}
			c, err := bootctl.ParseControl(r.durable("misc")[bootctl.ControlOffset:])
			if err != nil || c.Slots[1].Bootable() || !c.Slots[0].Successful || c.Suffix != "_a" {
				t.Errorf("durable control = %+v, %v; want slot b unbootable", c, err)
			}
			if !strings.Contains(r.cmdline, "androidboot.bootreason=reboot,slot_refused") {
				t.Errorf("command line %s", r.cmdline)
			}
			r.boots("_a")
			if len(r.refusals()) != 1 {
				t.Error("the next boot tried the refused slot again")
			}
		})
	}
}

func TestNoSlot(t *testing.T) {
	r := newRig(t)
	r.flip("boot_a", 5000)
	r.flip("vbmeta_b", 300)
	ctl := r.control()
	ctl.Slots[1] = bootctl.Slot{Priority: 1, Tries: 1}
	r.setControl(ctl)
	if err := r.boot(); !errors.Is(err, ErrNoSlot) || r.kernel != nil {
		t.Errorf("Boot = %v, want ErrNoSlot", err)
	}
	r.says("slot _a: boot: ")
	r.says("slot _b: vbmeta: ")
	if got := r.refusals(); len(got) != 2 {
		t.Errorf("refusals = %v", got)
	}
	if err := r.boot(); !errors.Is(err, ErrNoSlot) {
		t.Errorf("Boot = %v, want ErrNoSlot", err)
	}
	r.writeSlot(0, 1, testkit.RSA(0)) // what the message says
	ctl = r.control()
	ctl.SetActive(0, 3)
	r.setControl(ctl)
	r.boots("_a")
}

// TestMediumError does not give a slot up that could not be read once.
func TestMediumError(t *testing.T) {
	r := newRig(t)
	ctl := r.control()
	ctl.SetActive(1, 3)
	r.setControl(ctl)
	r.file.fail = map[int64]bool{r.part("boot_b").(*partition).p.Offset() + 6000: true}
	r.boots("_a")
	r.says("slot _b: boot: ", "medium error")
	if s := r.control().Slots[1]; !s.Bootable() || s.Tries != 2 {
		t.Errorf("slot b = %+v, want it bootable with 2 tries", s)
	}
	r.file.fail = nil
	r.boots("_b")
}

func TestLoadFails(t *testing.T) {
	r := newRig(t)
	r.loadErr = errors.New("kexec: out of memory")
	if err := r.boot(); !errors.Is(err, ErrNoSlot) {
		t.Errorf("Boot = %v", err)
	}
	r.says("slot _a: boot: load: kexec: out of memory")
	if !r.control().Slots[0].Successful {
		t.Error("the slot was given up")
	}
}

// TestControlLost tries both slots when the control block is not there or
// broken, and a torn write of it, at every byte, still boots.
func TestControlLost(t *testing.T) {
	for _, change := range []func(r *rig){
		func(r *rig) { r.write("misc", bootctl.ControlOffset, make([]byte, bootctl.ControlSize)) },
		func(r *rig) { r.flip("misc", bootctl.ControlOffset+12) },
	} {
		r := newRig(t)
		change(r)
		r.flip("boot_a", 5000)
		r.boots("_b")
		if c := r.control(); c.Slots[1].Tries != tries-1 || c.Slots[0].Bootable() {
			t.Errorf("control = %+v", c)
		}
	}
	r := newRig(t)
	ctl := r.control()
	ctl.SetActive(1, 3)
	r.setControl(ctl)
	before := bytes.Clone(r.durable("misc")[2048:][:sectorSize])
	r.boots("_b")
	after := bytes.Clone(r.durable("misc")[2048:][:sectorSize])
	for n := range bootctl.ControlSize {
		r.write("misc", 2048, append(bytes.Clone(after[:n]), before[n:]...))
		if err := r.boot(); err != nil {
			t.Errorf("torn at %d: %v", n, err)
		}
	}
}

func TestRaise(t *testing.T) {
	r := newRig(t)
	r.writeSlot(0, 5, testkit.RSA(0))
	r.writeSlot(1, 3, testkit.RSA(0))
	stored := func(when string, want uint64) {
		t.Helper()
		if got := r.rollback().get(0); got != want {
			t.Errorf("%s: stored index = %d, want %d", when, got, want)
		}
	}
	set := func(s0, s1 bootctl.Slot) {
		c := r.control()
		c.Slots = []bootctl.Slot{s0, s1}
		r.setControl(c)
		r.boots("_a")
		r.healthy("_a")
	}
	set(bootctl.Slot{Priority: 15, Tries: 3}, bootctl.Slot{Priority: 14})
	stored("slot a has not proved itself", 0)
	set(bootctl.Slot{Priority: 15, Successful: true}, bootctl.Slot{Priority: 14, Tries: 1})
	stored("slot b can boot", 3)
	r.flip("vbmeta_b", 300)
	set(bootctl.Slot{Priority: 15, Successful: true}, bootctl.Slot{Priority: 14, Tries: 1})
	stored("slot b would be refused", 5)
	r.writeSlot(1, 4, testkit.RSA(0))
	c := r.control()
	c.SetActive(1, 3)
	r.setControl(c)
	r.boots("_a")
	r.says("slot _b: vbmeta: ", "rollback index")
	stored("slot b is older", 5)
	r.writeSlot(0, 6, testkit.RSA(0))
	r.writeSlot(1, 6, testkit.RSA(0))
	r.file.fail = map[int64]bool{r.part("vbmeta_b").(*partition).p.Offset(): true}
	set(bootctl.Slot{Priority: 15, Successful: true}, bootctl.Slot{Priority: 14, Tries: 1})
	stored("slot b cannot be read", 5)
	r.says("rollback index stays as it was: slot _b cannot be read")
}

func TestRollbackLost(t *testing.T) {
	r := newRig(t)
	if err := r.rollback().raise(map[uint32]uint64{0: 1}); err != nil {
		t.Fatal(err)
	}
	r.flip("rpmb", 100)
	r.boots("_a") // the other copy is the zeros of before
	r.flip("rpmb", rollbackSpacing+1)
	if err := r.boot(); err == nil || !strings.Contains(err.Error(), "rpmb: no whole copy") {
		t.Errorf("Boot = %v", err)
	}
}
