package bootimg_test

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

	"mios/format/bootimg"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fill returns n bytes that differ from those of another seed.
func fill(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i%251)
	}
	return b
}

var android11 = bootimg.OSVersion{Major: 11, Year: 2021, Month: 1}

// samples are small images of every kind, by name.
func samples() map[string]fmt.Stringer {
	kernel, ramdisk := fill(1, 5000), fill(2, 3000)
	v4 := bootimg.New(kernel, ramdisk, "quiet console=ttyS0", android11)
	signed := bootimg.New(kernel, ramdisk, "", bootimg.OSVersion{})
	signed.Signature = fill(3, 4096)
	v3 := *v4
	v3.Version = 3
	old3 := v3
	old3.OldHeader = true
	legacy := bootimg.Image{PageSize: 2048, OS: android11, Cmdline: "a", ExtraCmdline: "b", Name: "board", ID: [32]byte{9},
		Kernel: kernel, Ramdisk: ramdisk, Second: fill(4, 100), KernelAddr: 0x8000, RamdiskAddr: 0x1000000, SecondAddr: 1, TagsAddr: 0x100}
	v1, v2 := legacy, legacy
	v1.Version, v1.RecoveryDTBO = 1, fill(5, 10)
	v2.Version, v2.RecoveryDTBO, v2.DTB, v2.DTBAddr = 2, fill(5, 10), fill(6, 2048), 0x1f00000
	vendor4 := bootimg.Vendor{Version: 4, PageSize: 4096, Cmdline: "x=y", Name: "board", Ramdisk: ramdisk, DTB: fill(7, 300), DTBAddr: 1 << 33,
		Fragments:  []bootimg.Fragment{{Type: bootimg.RamdiskPlatform, Name: "p", Size: 1000}, {Type: bootimg.RamdiskDLKM, Name: "d", Offset: 1000, Size: 2000, BoardID: [16]uint32{1}}},
		Bootconfig: []byte("androidboot.x=1\n")}
	vendor3 := bootimg.Vendor{Version: 3, PageSize: 2048, Cmdline: "x=y", Ramdisk: ramdisk, DTB: fill(7, 300)}
	return map[string]fmt.Stringer{
		"v0": boot{&legacy}, "v1": boot{&v1}, "v2": boot{&v2}, "v3": boot{&v3}, "v3-old": boot{&old3}, "v4": boot{v4}, "v4-signed": boot{signed},
		"init_boot": boot{bootimg.New(nil, ramdisk, "", bootimg.OSVersion{})},
		"vendor3":   vendor{&vendor3}, "vendor4": vendor{&vendor4},
	}
}

// boot and vendor print an image as the golden files have it.
type boot struct{ *bootimg.Image }

func (b boot) String() string {
	m := b.Image
	return fmt.Sprintf("boot v%d page %d os %v cmdline %q extra %q name %q id %x\naddresses %#x %#x %#x %#x dtb %#x\nkernel %d ramdisk %d second %d dtbo %d dtb %d signature %d\n",
		m.Version, m.PageSize, m.OS, m.Cmdline, m.ExtraCmdline, m.Name, m.ID, m.KernelAddr, m.RamdiskAddr, m.SecondAddr, m.TagsAddr, m.DTBAddr,
		len(m.Kernel), len(m.Ramdisk), len(m.Second), len(m.RecoveryDTBO), len(m.DTB), len(m.Signature))
}

type vendor struct{ *bootimg.Vendor }

func (v vendor) String() string {
	m := v.Vendor
	return fmt.Sprintf("vendor v%d page %d cmdline %q name %q addresses %#x %#x %#x %#x\nramdisk %d dtb %d bootconfig %q\nfragments %+v\n",
		m.Version, m.PageSize, m.Cmdline, m.Name, m.KernelAddr, m.RamdiskAddr, m.TagsAddr, m.DTBAddr, len(m.Ramdisk), len(m.DTB), m.Bootconfig, m.Fragments)
}

// encode writes a sample; it is as long as its Size says.
func encode(tb testing.TB, s fmt.Stringer) []byte {
	tb.Helper()
	var b bytes.Buffer
	var size, n int64
	var err error
	switch m := s.(type) {
	case boot:
		size = m.Size()
		n, err = m.WriteTo(&b)
	case vendor:
		size = m.Size()
		n, err = m.WriteTo(&b)
	}
	if err != nil || n != size || int(n) != b.Len() {
		tb.Fatalf("WriteTo = %d, %v; %d bytes written, Size = %d", n, err, b.Len(), size)
	}
	return b.Bytes()
}

func decode(b []byte) (fmt.Stringer, error) {
	if bytes.HasPrefix(b, []byte("VNDRBOOT")) {
		v, err := bootimg.ParseVendor(b)
		return vendor{v}, err
	}
	m, err := bootimg.Parse(b)
	return boot{m}, err
}

// TestGolden writes each sample, reads it back and compares a dump of what was
// read with testdata.
func TestGolden(t *testing.T) {
	for name, s := range samples() {
		t.Run(name, func(t *testing.T) {
			b := encode(t, s)
			got, err := decode(append(b, "what follows is not the image's"...))
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) || s.String() != string(want) {
				t.Errorf("read:\n%s\nwritten:\n%s\nwant:\n%s", got, s, want)
			}
			if !bytes.Equal(encode(t, got), b) {
				t.Error("written again, the bytes differ")
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	all := samples()
	for _, tt := range []struct {
		sample string
		off    int
		b      string
		want   string
	}{
		{"v4", 0, "X", "offset 0x0: "},
		{"v4", 40, "\x05", "offset 0x28: version 5"},
		{"v4", 20, "\x00", "offset 0x14: header of"},
		{"v4", 24, "\x01", "offset 0x14: header of"},
		{"v4", 16, "\x0f", "offset 0x10: OS version"},
		{"v4", 8, "\xff\xff\xff\xff", "offset 0x1000: section 0 of 4294967295 bytes passes the end"},
		{"v4", 100, "x", "offset 0x2c: command line has bytes after its end"},
		{"v4", 1600, "x", "offset 0x640: padding after header"},
		{"v4", 4096 + 5001, "x", "offset 0x2389: padding after section 0"},
		{"v2", 36, "\x01", "offset 0x24: page of"},
		{"v2", 1636, "\x01", "offset 0x664: recovery DTBO at"},
		{"vendor4", 8, "\x02", "offset 0x8: version 2"},
		{"vendor4", 2116, "\x09", "offset 0x840: ramdisk table of"},
		{"vendor4", 4096*3 + 4, "\xff\xff", "offset 0x3000: ramdisk fragment 0 passes"},
	} {
		b := encode(t, all[tt.sample])
		copy(b[tt.off:], tt.b)
		_, err := decode(b)
		if _, ok := errors.AsType[*bootimg.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %q at %d: %v, want a FormatError with %q", tt.sample, tt.b, tt.off, err, tt.want)
		}
	}
	for name, s := range all {
		b := encode(t, s)
		for _, n := range []int{0, 7, 43, 1500, len(b) - 1} {
			if _, err := decode(b[:n]); err == nil {
				t.Errorf("%s cut to %d bytes was accepted", name, n)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	long := bootimg.New(nil, nil, strings.Repeat("x", 1536), bootimg.OSVersion{})
	signed := bootimg.New(nil, nil, "", bootimg.OSVersion{})
	signed.Version, signed.Signature = 3, []byte{1}
	addr := bootimg.New(nil, nil, "", bootimg.OSVersion{})
	addr.KernelAddr = 1
	os := bootimg.New(nil, nil, "", bootimg.OSVersion{Year: 1999, Month: 1})
	for i, m := range []*bootimg.Image{long, signed, addr, os} {
		if _, err := m.WriteTo(new(bytes.Buffer)); err == nil {
			t.Errorf("image %d was written", i)
		}
	}
}

func TestUnpackBootimg(t *testing.T) {
	unpack, err := exec.LookPath("unpack_bootimg")
	if err != nil {
		t.Fatal("unpack_bootimg is not installed: install the Debian package mkbootimg")
	}
	s := samples()["v4"].(boot)
	dir := t.TempDir()
	file := filepath.Join(dir, "boot.img")
	if err := os.WriteFile(file, encode(t, s), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(unpack, "--boot_img", file, "--out", dir).CombinedOutput()
	for _, want := range []string{"os version: 11.0.0\n", "os patch level: 2021-01\n", "command line args: quiet console=ttyS0\n", "header version: 4\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("unpack_bootimg: %v\n%s\nwant %q", err, out, want)
		}
	}
	for name, want := range map[string][]byte{"kernel": s.Kernel, "ramdisk": s.Ramdisk} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("unpack_bootimg's %s differs: %v", name, err)
		}
	}
}

// FuzzParse checks that nothing makes the parsers panic, and that whatever
// they accept has one encoding.
func FuzzParse(f *testing.F) {
	for _, s := range samples() {
		f.Add(encode(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := decode(in)
		if err != nil {
			return
		}
		if out := encode(t, m); len(out) > len(in) || !bytes.Equal(out, in[:len(out)]) {
			t.Error("what was parsed is not written as it was read")
		}
		x := m.(interface {
			Text() string
			Args(dir string) []string
			Parts() []bootimg.Part
		})
		if x.Text() == "" || len(x.Args("")) < 4 {
			t.Error("nothing is told of it")
		}
		for _, p := range x.Parts() {
			if len(p.Data) > len(in) {
				t.Errorf("%s has %d bytes", p.Name, len(p.Data))
			}
		}
	})
}
