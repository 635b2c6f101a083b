package firststage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"mios/device/dm"
	"mios/device/fstab"
	"mios/format/avb"
	"mios/format/super"
	"mios/internal/testkit"
)

const digest = "aeba78c43d229de12662be283a0e3d8b83d65f38262e404ce416d0c4abdb37cc"

func TestParseBootArgs(t *testing.T) {
	const good = "console=ttyS0 androidboot.slot_suffix=_b androidboot.vbmeta.digest=" + digest
	b, err := parseBootArgs(good + ` foo="a androidboot.slot_suffix=_a" androidboot.veritymode=eio` + "\n")
	if err != nil || b.suffix != "_b" || b.slot != 1 || b.hash != "sha256" || hex.EncodeToString(b.digest) != digest || b.mode != dm.EIO || b.unlocked {
		t.Errorf("parseBootArgs = %+v, %v", b, err)
	}
	for _, tt := range []struct{ name, line, want string }{
		{"no slot", "androidboot.vbmeta.digest=" + digest, "want _a or _b"},
		{"odd slot", "androidboot.slot_suffix=_A androidboot.vbmeta.digest=" + digest, "want _a or _b"},
		{"no digest", "androidboot.slot_suffix=_a", "is not on the kernel's command line"},
		{"short digest", "androidboot.slot_suffix=_a androidboot.vbmeta.digest=ab", "want 64 hexadecimal digits"},
		{"no hex", "androidboot.slot_suffix=_a androidboot.vbmeta.digest=" + digest[:63] + "x", "want 64 hexadecimal digits"},
		{"hash", good + " androidboot.vbmeta.hash_alg=md5", "want sha256 or sha512"},
		{"digest of the other hash", good + " androidboot.vbmeta.hash_alg=sha512", "want 128 hexadecimal digits"},
		{"mode", good + " androidboot.veritymode=maybe", "unknown"},
		{"disabled", good + " androidboot.veritymode=disabled", "on a locked device: refused"},
		{"logging", good + " androidboot.veritymode=logging", "on a locked device: refused"},
		{"twice", good + " androidboot.vbmeta.digest=" + strings.Repeat("0", 64), "on the kernel's command line twice"},
	} {
		if _, err := parseBootArgs(tt.line); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: parseBootArgs = %v, want %q", tt.name, err, tt.want)
		}
	}
	b, err = parseBootArgs(good + " androidboot.vbmeta.device_state=unlocked androidboot.veritymode=disabled")
	if err != nil || !b.disabled {
		t.Errorf("parseBootArgs of an unlocked device = %+v, %v, want disabled", b, err)
	}
}

func TestFirstStageMounts(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "the first entry"},
		{"system /x erofs ro avb,first_stage_mount", "the first entry"},
		{"system / erofs ro first_stage_mount", "without avb"},
		{"system / erofs ro avb,first_stage_mount\nuserdata /data ext4 ro wait", ""},
	} {
		all, err := fstab.Parse([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		mounts, err := firstStageMounts(all)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && len(mounts) != 1 {
			t.Errorf("firstStageMounts(%q) = %v, %v, want %q", tt.in, mounts, err, tt.want)
		}
	}
}

func FuzzParseBootArgs(f *testing.F) {
	f.Add("androidboot.slot_suffix=_a androidboot.vbmeta.digest=" + digest)
	f.Add(`a="b c" androidboot.x`)
	f.Fuzz(func(t *testing.T, line string) {
		b, err := parseBootArgs(line)
		if err == nil && (len(b.suffix) != 2 || len(b.digest) < 32) {
			t.Errorf("parseBootArgs(%q) = %+v", line, b)
		}
	})
}

// disk is what readVBMeta opens.
type disk map[string][]byte

func (d disk) open(name string) (io.ReaderAt, int64, error) {
	b, ok := d[name]
	if !ok {
		return nil, 0, errors.New("not there")
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

func TestReadVBMeta(t *testing.T) {
	key := testkit.RSA(0)
	image := func(ds ...avb.Descriptor) []byte {
		m := &avb.VBMeta{Descriptors: ds}
		if err := m.Sign(key, avb.SHA256RSA2048); err != nil {
			t.Fatal(err)
		}
		b, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tree := &avb.HashtreeDescriptor{PartitionName: "system"}
	chained := image(tree)
	top := image(&avb.ChainPartitionDescriptor{RollbackIndexLocation: 1, PartitionName: "vbmeta_system", PublicKey: []byte("k")})
	padded := append(slices.Clone(top), make([]byte, 8192)...)
	d := disk{"vbmeta_a": padded, "vbmeta_system_a": chained}
	sum, err := avb.VBMetaDigest("sha256", top, chained)
	if err != nil {
		t.Fatal(err)
	}
	boot := bootArgs{suffix: "_a", hash: "sha256", digest: sum}
	images, err := readVBMeta(d.open, "vbmeta", boot)
	if err != nil || len(images) != 2 || images[1].Descriptors[0].(*avb.HashtreeDescriptor).PartitionName != "system" {
		t.Errorf("readVBMeta = %v, %v, want both images", images, err)
	}
	for i := range top { // every byte is covered by the digest
		padded[i] ^= 0x20
		if _, err := readVBMeta(d.open, "vbmeta", boot); err == nil {
			t.Fatalf("readVBMeta took an image whose byte %d is wrong", i)
		}
		padded[i] ^= 0x20
	}
	padded[len(padded)-1] ^= 1 // behind the image: nobody reads it
	if _, err := readVBMeta(d.open, "vbmeta", boot); err != nil {
		t.Errorf("readVBMeta = %v", err)
	}
	delete(d, "vbmeta_system_a")
	if _, err := readVBMeta(d.open, "vbmeta", boot); err == nil || !strings.Contains(err.Error(), "chained partition vbmeta_system_a: not there") {
		t.Errorf("readVBMeta = %v, want that vbmeta_system_a is not there", err)
	}
}

func TestTables(t *testing.T) {
	table, size := linearTable("/dev/vda5", []super.Run{{Sector: 0, Count: 8, Physical: 2048}, {Sector: 8, Count: 8, Zero: true}, {Sector: 16, Count: 16, Physical: 4096}})
	want := []dm.Target{dm.Linear(0, 8, "/dev/vda5", 2048), dm.Zero(8, 8), dm.Linear(16, 16, "/dev/vda5", 4096)}
	if !slices.Equal(table, want) || size != 32*512 {
		t.Errorf("linearTable = %v, %d, want %v, %d", table, size, want, 32*512)
	}
	v := verityTarget("/dev/dm-0", &avb.HashtreeDescriptor{
		DMVerityVersion: 1, ImageSize: 40960, TreeOffset: 40960, TreeSize: 4096, DataBlockSize: 4096, HashBlockSize: 4096,
		FECRoots: 2, FECOffset: 45056, FECSize: 8192, HashAlgorithm: "sha256", Salt: []byte{1}, RootDigest: []byte{2}, Flags: avb.FlagCheckAtMostOnce,
	}, dm.Restart)
	const params = "1 /dev/dm-0 /dev/dm-0 4096 4096 10 10 sha256 02 01 10 restart_on_corruption check_at_most_once use_fec_from_device /dev/dm-0 fec_roots 2 fec_blocks 11 fec_start 11"
	if got := v.Target(); got.Params != params || got.Length != 80 {
		t.Errorf("Target = %+v, want 80 sectors and %q", got, params)
	}
}

func TestMainIsPID1Only(t *testing.T) {
	if got := Main(); got != 2 {
		t.Errorf("Main = %d, want 2", got)
	}
}
