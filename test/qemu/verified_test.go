package qemu_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mios/build/image"
	"mios/desk"
	"mios/device/bootrecord"
	"mios/emulator"
	"mios/format/adb"
	"mios/format/bootctl"
	"mios/format/gpt"
	"mios/format/super"
)

// TestVerifiedBoot flips one byte of slot a: the device says so and comes up on
// slot b by itself, whether slot a has ever been healthy or not.
func TestVerifiedBoot(t *testing.T) {
	for _, tt := range []struct {
		name       string
		where      func(p *parts) place
		successful bool   // slot a was healthy before
		console    string // the refusal, on the console
		partition  string // the refusal, in the boot record
		reason     string
	}{
		{"boot", (*parts).inBoot, true, `loader: slot _a: boot: .*: the slot is refused`, "boot_a", "hash"},
		{"vbmeta", (*parts).inVBMeta, false, `loader: slot _a: vbmeta: .*: the slot is refused`, "vbmeta_a", "HASH_MISMATCH"},
		{"superblock", (*parts).inSuperblock, false, `init: first stage: slot a: .*partition system_a: .*input/output error`, "system_a", "input/output error"},
		{"text of init", (*parts).inText, true, `loader: slot _a: system: block \d+ is not what was signed: the slot is refused`, "system_a", "is not what was signed"},
		{"file of a service", (*parts).inDeviceFile, false, `loader: slot _a: system: block \d+ is not what was signed: the slot is refused`, "system_a", "is not what was signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := boot(t, release1(t), prepare(t, func(p *parts) {
				tt.where(p).flip(t)
				p.control(func(c *bootctl.Control) {
					c.Slots[0].Tries = 1 // not three boots where one shows it
					if tt.successful {
						c.MarkSuccessful(0)
					}
				})
			}))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := d.WaitFor(ctx, regexp.MustCompile(tt.console)); err != nil {
				t.Fatal(err)
			}
			d.healthy()
			d.want("1 _b healthy")
			said, err := os.ReadFile(d.ConsoleFile())
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(said, []byte("slot _a: verified and loaded")) && tt.partition != "system_a" {
				t.Error("slot a was loaded")
			}
			var r bootrecord.Record
			if err := json.Unmarshal([]byte(d.shell("bootrecord")), &r); err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Refusals {
				if f.Slot == "_a" && f.Partition == tt.partition && strings.Contains(f.Reason, tt.reason) {
					return
				}
			}
			t.Errorf("bootrecord says %+v, want one of slot _a, partition %s, with %q", r, tt.partition, tt.reason)
		})
	}
}

// TestUserBuild boots a user build, on which nobody answers adb.
func TestUserBuild(t *testing.T) {
	t.Parallel()
	d := boot(t, build(t, desk.BuildSpec{Version: "1", Variant: image.User}), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	line, err := d.Healthy(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(line, "slot _a") {
		t.Errorf("healthy line is %q, want slot _a", line)
	}
	if got := knock(t, d.ADB.Serial); len(got) > 0 {
		t.Errorf("the adb port answers %q", got)
	}
}

// knock says at an adb port what a host says first, and returns the answer.
// QEMU takes the connection itself, and ends it when the guest refuses it.
func knock(t *testing.T, addr string) []byte {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	hello := adb.Message{Command: adb.CNXN, Arg0: adb.VersionMin, Arg1: adb.MaxPayloadV1, Payload: []byte("host::\x00")}
	conn.Write(append(hello.AppendHeader(nil, false), hello.Payload...)) // it may be refused already
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the adb port neither answers nor ends the connection")
	}
	return answer[:n]
}

// parts is the disk of a device that is off, by its partitions.
type parts struct {
	t     *testing.T
	build string
	disk  *emulator.Disk
	table *gpt.Table
}

// prepare returns a change that changes the disk of a factory-new device
// before its first boot.
func prepare(t *testing.T, change func(p *parts)) func(*desk.DeviceConfig) {
	return func(cfg *desk.DeviceConfig) {
		t.Helper()
		base := filepath.Join(cfg.Build, desk.DiskName)
		the.mu.Lock()
		_, err := os.Stat(base)
		if err != nil {
			err = image.WriteDisk(t.Context(), cfg.Build, base)
		}
		the.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		disk, err := emulator.OpenDisk(base, filepath.Join(cfg.Dir, desk.OverlayName))
		if err != nil {
			t.Fatal(err)
		}
		change(openParts(t, cfg.Build, disk))
		if err := disk.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func openParts(t *testing.T, build string, disk *emulator.Disk) *parts {
	t.Helper()
	table, _, err := gpt.Read(disk, disk.Size())
	if err != nil {
		t.Fatal(err)
	}
	return &parts{t, build, disk, table}
}

// A section is a partition of a disk that is off.
type section struct {
	*io.SectionReader
	disk *emulator.Disk
	off  int64
}

// WriteAt writes at any offset.
func (s *section) WriteAt(p []byte, off int64) (int, error) {
	return len(p), s.disk.Patch(p, s.off+off)
}

func (p *parts) open(name string) *section {
	p.t.Helper()
	part, ok := p.table.Find(name)
	if !ok {
		p.t.Fatalf("no partition %s", name)
	}
	return &section{io.NewSectionReader(p.disk, part.Offset(), part.Size()), p.disk, part.Offset()}
}

// logical opens a logical partition of a slot, which lies in super.
func (p *parts) logical(name string, slot int) *super.Volume {
	p.t.Helper()
	dev := p.open("super")
	md, err := super.ReadSlot(dev, slot)
	if err != nil {
		p.t.Fatal(err)
	}
	v, err := md.Open(name+bootctl.Suffix(slot), dev)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// control changes the A/B control block.
func (p *parts) control(change func(c *bootctl.Control)) {
	p.t.Helper()
	misc, b := p.open("misc"), make([]byte, bootctl.ControlSize)
	if _, err := misc.ReadAt(b, bootctl.ControlOffset); err != nil {
		p.t.Fatal(err)
	}
	c, err := bootctl.ParseControl(b)
	if err != nil {
		p.t.Fatal(err)
	}
	change(c)
	if b, err = c.Bytes(); err == nil {
		_, err = misc.WriteAt(b, bootctl.ControlOffset)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// inBoot is in the middle of the boot image.
func (p *parts) inBoot() place {
	return place{p.open("boot_a"), manifest(p.t, p.build).Find("boot").Size / 2}
}

// inVBMeta is in the descriptors, which the signature covers.
func (p *parts) inVBMeta() place { return place{p.open("vbmeta_a"), 256 + 576 + 40} }

// inSuperblock is in the checksummed part of erofs's superblock.
func (p *parts) inSuperblock() place { return place{p.logical("system", 0), 1024 + 40} }

// inText is where the execution of init begins.
func (p *parts) inText() place {
	p.t.Helper()
	file, _, err := image.Programs(manifest(p.t, p.build).Arch)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	prog, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range prog.Progs {
		if s.Type == elf.PT_LOAD && prog.Entry >= s.Vaddr && prog.Entry < s.Vaddr+s.Filesz {
			at := prog.Entry - s.Vaddr + s.Off
			return place{p.logical("system", 0), p.find(text[at : at+512])}
		}
	}
	p.t.Fatalf("%s: nothing is at its entry", file)
	return place{}
}

// inDeviceFile is in a file that update_engine alone reads.
func (p *parts) inDeviceFile() place {
	return place{p.logical("system", 0), p.find([]byte("{\n  \"product\": "))}
}

// find returns where in the system image some bytes are.
func (p *parts) find(what []byte) int64 {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.build, image.SystemImage))
	if err != nil {
		p.t.Fatal(err)
	}
	i := bytes.Index(b, what)
	if i < 0 || bytes.Count(b, what) != 1 {
		p.t.Fatalf("%.40q is %d times in the system image, want once", what, bytes.Count(b, what))
	}
	return int64(i)
}

// A place is a byte of a partition.
type place struct {
	in  super.ReadWriterAt
	off int64
}

// flip changes one bit.
func (a place) flip(t *testing.T) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := a.in.ReadAt(b, a.off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := a.in.WriteAt(b, a.off); err != nil {
		t.Fatal(err)
	}
}
