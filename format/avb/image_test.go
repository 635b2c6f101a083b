package avb_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/avb"
)

// noise returns n bytes that are the same in every run.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

func veritysetup(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("veritysetup")
	if err != nil {
		tool = "/usr/sbin/veritysetup"
	}
	if _, err := os.Stat(tool); err != nil {
		t.Fatal("veritysetup is not there: install the Debian package cryptsetup-bin")
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("veritysetup %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestVeritysetup gives our tree to veritysetup, and compares its parity with
// ours.
func TestVeritysetup(t *testing.T) {
	for _, tt := range []struct {
		blocks int
		hash   string
		roots  int
	}{{1, "sha256", 0}, {2, "sha256", 2}, {128, "sha256", 2}, {129, "sha256", 0}, {100, "sha512", 24}, {128*2 + 1, "sha256", 0}, {64*64 + 1, "sha512", 0}, {700, "sha1", 2}} {
		t.Run(fmt.Sprintf("%d blocks %s %d roots", tt.blocks, tt.hash, tt.roots), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			data := noise(tt.blocks * avb.BlockSize)
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			salt := []byte("some salt")
			d, err := avb.AddHashtreeFooter(f, int64(len(data)), avb.FooterOptions{PartitionName: "system", HashAlgorithm: tt.hash, Salt: salt, FECRoots: tt.roots})
			if err != nil {
				t.Fatal(err)
			}
			if err := avb.VerifyHashtree(f, d); err != nil {
				t.Error(err)
			}
			args := []string{
				"--no-superblock", "--format=1", "--hash=" + tt.hash, "--data-block-size=4096", "--hash-block-size=4096",
				fmt.Sprintf("--data-blocks=%d", tt.blocks), fmt.Sprintf("--hash-offset=%d", d.TreeOffset), "--salt=" + hex.EncodeToString(salt),
			}
			if tt.blocks > 1 { // it wants a tree
				veritysetup(t, append([]string{"verify", path, path, hex.EncodeToString(d.RootDigest)}, args...)...)
			}
			if tt.roots == 0 {
				return
			}
			parity := filepath.Join(filepath.Dir(path), "parity")
			whole := filepath.Join(filepath.Dir(path), "whole")
			if err := os.WriteFile(whole, data, 0o644); err != nil {
				t.Fatal(err)
			}
			veritysetup(t, append([]string{"format", whole, whole, "--fec-device=" + parity, fmt.Sprintf("--fec-roots=%d", tt.roots)}, args...)...)
			want, err := os.ReadFile(parity)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, d.FECSize)
			if _, err := f.ReadAt(got, int64(d.FECOffset)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("parity of %d bytes, veritysetup's has %d; or they differ", len(got), len(want))
			}
		})
	}
}

func TestVerifyHashtreeFindsTheBlock(t *testing.T) {
	const blocks = 64*64 + 200 // three levels
	f := &memFile{noise(blocks * avb.BlockSize)}
	d, err := avb.AddHashtreeFooter(f, int64(len(f.b)), avb.FooterOptions{PartitionName: "system", HashAlgorithm: "sha512", Salt: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if err := avb.VerifyHashtree(f, d); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		off  int64
		tree bool
	}{{0, false}, {4095, false}, {123 * 4096, false}, {int64(d.ImageSize) - 1, false}, {int64(d.TreeOffset), true}, {int64(d.TreeOffset) + 4096 + 5, true}, {int64(d.TreeOffset) + 4*4096, true}, {int64(d.TreeOffset+d.TreeSize) - 4096, true}} {
		second := tt.off // a later block that is corrupt too, of the same kind
		if tt.off+4096*130 < int64(d.ImageSize) {
			second += 4096 * 130
			f.b[second] ^= 1
		}
		f.b[tt.off] ^= 1
		err := avb.VerifyHashtree(f, d)
		c, ok := errors.AsType[*avb.CorruptError](err)
		if !ok || c.Off != tt.off/4096*4096 || c.Tree != tt.tree || c.Partition != "system" {
			t.Errorf("VerifyHashtree with byte %d flipped = %v, want the block of it", tt.off, err)
		}
		f.b[tt.off] ^= 1
		if second != tt.off {
			f.b[second] ^= 1
		}
	}
	short := &memFile{f.b[:len(f.b)-4096]}
	if err := avb.VerifyHashtree(short, d); err == nil || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("VerifyHashtree of a short partition = %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestHashtreeCheck(t *testing.T) {
	good := avb.HashtreeDescriptor{
		DMVerityVersion: 1, ImageSize: 8192, TreeOffset: 8192, TreeSize: 4096, DataBlockSize: 4096, HashBlockSize: 4096,
		FECRoots: 2, FECOffset: 12288, FECSize: 8192, HashAlgorithm: "sha256", RootDigest: make([]byte, 32),
	}
	if err := good.Check(20480); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(d *avb.HashtreeDescriptor){
		"version":     func(d *avb.HashtreeDescriptor) { d.DMVerityVersion = 0 },
		"block size":  func(d *avb.HashtreeDescriptor) { d.DataBlockSize = 1024 },
		"image":       func(d *avb.HashtreeDescriptor) { d.ImageSize = 1 << 63 },
		"odd image":   func(d *avb.HashtreeDescriptor) { d.ImageSize = 8191 },
		"tree size":   func(d *avb.HashtreeDescriptor) { d.TreeSize = 8192 },
		"tree offset": func(d *avb.HashtreeDescriptor) { d.TreeOffset = 20480 },
		"odd tree":    func(d *avb.HashtreeDescriptor) { d.TreeOffset = 8193 },
		"fec":         func(d *avb.HashtreeDescriptor) { d.FECSize = 1<<64 - 1 },
		"roots":       func(d *avb.HashtreeDescriptor) { d.FECRoots = 100 },
		"hash":        func(d *avb.HashtreeDescriptor) { d.HashAlgorithm = "md5" },
		"root":        func(d *avb.HashtreeDescriptor) { d.RootDigest = nil },
	} {
		d := good
		change(&d)
		if err := d.Check(20480); err == nil {
			t.Errorf("%s: Check = nil", name)
		}
		if err := avb.VerifyHashtree(bytes.NewReader(make([]byte, 20480)), &d); err == nil {
			t.Errorf("%s: VerifyHashtree = nil", name)
		}
	}
}

// TestTreeHash compares a tree of BLAKE2b, which veritysetup's library may not
// have, with coreutils' b2sum. AOSP has that hash for trees alone.
func TestTreeHash(t *testing.T) {
	salt := []byte("some salt")
	b2sum := func(block []byte) []byte {
		cmd := exec.Command("b2sum", "--length=256")
		cmd.Stdin = bytes.NewReader(slices.Concat(salt, block))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("b2sum: %v: it is in the Debian package coreutils", err)
		}
		sum, err := hex.DecodeString(strings.Fields(string(out))[0])
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	data := noise(2 * avb.BlockSize)
	tree := make([]byte, avb.BlockSize)
	copy(tree, slices.Concat(b2sum(data[:avb.BlockSize]), b2sum(data[avb.BlockSize:])))
	f := &memFile{bytes.Clone(data)}
	d, err := avb.AddHashtreeFooter(f, int64(len(data)), avb.FooterOptions{PartitionName: "system", HashAlgorithm: "blake2b-256", Salt: salt})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.b[d.TreeOffset:][:d.TreeSize]; !bytes.Equal(got, tree) {
		t.Errorf("tree = %x..., want %x...", got[:64], tree[:64])
	}
	if want := b2sum(tree); !bytes.Equal(d.RootDigest, want) {
		t.Errorf("root digest = %x, want %x", d.RootDigest, want)
	}
	if err := avb.VerifyHashtree(f, d); err != nil {
		t.Error(err)
	}
	o := avb.FooterOptions{PartitionName: "boot", HashAlgorithm: "blake2b-256"}
	if _, err := avb.AddHashFooter(&memFile{make([]byte, avb.BlockSize)}, avb.BlockSize, o); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("AddHashFooter = %v, want that blake2b-256 is unknown", err)
	}
}

func TestFooterErrors(t *testing.T) {
	signed := &avb.VBMeta{Algorithm: avb.SHA256RSA2048}
	for _, tt := range []struct {
		name string
		size int
		o    avb.FooterOptions
		want string
	}{
		{"no name", 4096, avb.FooterOptions{}, "no partition name"},
		{"empty", 0, avb.FooterOptions{PartitionName: "boot"}, "the image is empty"},
		{"odd partition", 4096, avb.FooterOptions{PartitionName: "boot", PartitionSize: 1<<20 + 1}, "want a multiple of 4096"},
		{"too large", 1 << 20, avb.FooterOptions{PartitionName: "boot", PartitionSize: 1 << 20}, "exceeds"},
		{"hash", 4096, avb.FooterOptions{PartitionName: "boot", HashAlgorithm: "md5"}, `"md5": unknown`},
		{"roots", 4096, avb.FooterOptions{PartitionName: "boot", FECRoots: 25}, "25 roots"},
		{"no key", 5000, avb.FooterOptions{PartitionName: "boot", VBMeta: signed}, "no key"},
	} {
		for _, hashtree := range []bool{false, true} {
			if hashtree && tt.name == "no name" {
				continue // the payload of an APEX has none
			}
			f := &memFile{make([]byte, tt.size)}
			var err error
			if hashtree {
				_, err = avb.AddHashtreeFooter(f, int64(tt.size), tt.o)
			} else {
				_, err = avb.AddHashFooter(f, int64(tt.size), tt.o)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(f.b) != tt.size {
				t.Errorf("%s, hashtree %v: %v, file of %d bytes, want %q and %d", tt.name, hashtree, err, len(f.b), tt.want, tt.size)
			}
		}
	}
}

// TestFooterReplacesOldBytes makes a footer in a file that is longer than its
// image: what was behind it must not stay.
func TestFooterReplacesOldBytes(t *testing.T) {
	o := avb.FooterOptions{PartitionName: "boot", PartitionSize: 1 << 20, VBMeta: &avb.VBMeta{}}
	clean, dirty := &memFile{noise(5000)}, &memFile{append(noise(5000), bytes.Repeat([]byte{0xee}, 1<<21)...)}
	for _, f := range []*memFile{clean, dirty} {
		if _, err := avb.AddHashFooter(f, 5000, o); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(clean.b, dirty.b) {
		t.Error("the files differ")
	}
	b, footer, err := avb.Read(clean, int64(len(clean.b)))
	if err != nil || footer.OriginalImageSize != 5000 || footer.VBMetaOffset != 8192 {
		t.Fatalf("Read = %v, %v", footer, err)
	}
	if m, err := avb.Parse(b); err != nil || m.Descriptors[0].(*avb.HashDescriptor).ImageSize != 5000 {
		t.Errorf("Parse = %+v, %v, want a descriptor of 5000 bytes", m, err)
	}
}

func TestReadErrors(t *testing.T) {
	footer := func(off, size uint64) []byte {
		b := make([]byte, 8192)
		copy(b[8192-avb.FooterSize:], (&avb.Footer{VBMetaOffset: off, VBMetaSize: size}).Bytes())
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":    nil,
		"no vbmeta":  make([]byte, 8192),
		"outside":    footer(8192, 256),
		"overflow":   footer(1<<64-1, 2),
		"huge":       footer(0, 1<<40),
		"not vbmeta": footer(4096, 256),
	} {
		if _, _, err := avb.Read(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s: Read = nil error", name)
		}
	}
}

func BenchmarkWriteHashtree(b *testing.B) {
	data := noise(64 << 20)
	b.SetBytes(int64(len(data)))
	tree := make(memory, len(data)/64)
	for b.Loop() {
		if _, err := avb.WriteHashtree(tree, bytes.NewReader(data), int64(len(data)), "sha256", []byte("salt")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteFEC(b *testing.B) {
	data := noise(64 << 20)
	b.SetBytes(int64(len(data)))
	parity := make(memory, avb.FECSize(int64(len(data)), 2))
	for b.Loop() {
		if err := avb.WriteFEC(parity, bytes.NewReader(data), int64(len(data)), 2); err != nil {
			b.Fatal(err)
		}
	}
}
