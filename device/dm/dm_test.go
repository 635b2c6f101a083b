package dm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// TestLayout pins the sizes and numbers of linux/dm-ioctl.h, which are the
// same on amd64 and arm64.
func TestLayout(t *testing.T) {
	for _, tt := range []struct {
		what      string
		got, want int
	}{
		{"sizeof(struct dm_ioctl)", binary.Size(header{}), headerSize},
		{"sizeof(struct dm_target_spec)", binary.Size(spec{}), specSize},
		{"DM_DEV_CREATE", int(ioctlNumber(cmdCreate)), 0xc138fd03},
		{"DM_DEV_REMOVE", int(ioctlNumber(cmdRemove)), 0xc138fd04},
		{"DM_DEV_SUSPEND", int(ioctlNumber(cmdSuspend)), 0xc138fd06},
		{"DM_TABLE_LOAD", int(ioctlNumber(cmdLoad)), 0xc138fd09},
		{"DM_TABLE_STATUS", int(ioctlNumber(cmdTableStatus)), 0xc138fd0c},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %#x, want %#x", tt.what, tt.got, tt.want)
		}
	}
}

func TestEncode(t *testing.T) {
	b, err := encode("system_a", flagReadOnly, []Target{Linear(0, 8, "/dev/vda5", 2048), Zero(8, 16)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var h header
	n, err := binary.Decode(b, binary.NativeEndian, &h)
	if err != nil {
		t.Fatal(err)
	}
	if int(h.DataSize) != len(b) || h.DataStart != headerSize || h.TargetCount != 2 || h.Flags != flagReadOnly ||
		h.Version != [3]uint32{4, 0, 0} || !bytes.HasPrefix(h.Name[:], []byte("system_a\x00")) {
		t.Errorf("header = %+v", h)
	}
	for i, want := range []struct {
		start, length uint64
		kind, params  string
	}{{0, 8, "linear", "/dev/vda5 2048"}, {8, 16, "zero", ""}} {
		var s spec
		if _, err := binary.Decode(b[n:], binary.NativeEndian, &s); err != nil {
			t.Fatal(err)
		}
		params, _, _ := strings.Cut(string(b[n+specSize:]), "\x00")
		kind, _, _ := strings.Cut(string(s.Type[:]), "\x00")
		if s.Start != want.start || s.Length != want.length || kind != want.kind || params != want.params || s.Next%8 != 0 {
			t.Errorf("target %d = %+v %q, want %+v", i, s, params, want)
		}
		n += int(s.Next)
	}
	if n != len(b) {
		t.Errorf("targets end at %d of %d bytes", n, len(b))
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
	}{{"", "linear"}, {strings.Repeat("x", nameLen), "linear"}, {"a", strings.Repeat("x", maxTypeName)}} {
		if _, err := encode(tt.name, 0, []Target{{Type: tt.kind}}, 0); err == nil {
			t.Errorf("encode(%q, %q) = nil error", tt.name, tt.kind)
		}
	}
}

func TestVerityTarget(t *testing.T) {
	v := Verity{
		Device: "/dev/dm-0", BlockSize: 4096, DataBlocks: 100, HashStart: 100, HashAlgorithm: "sha256",
		RootDigest: []byte{0xab, 0xcd}, Salt: []byte{1, 2},
	}
	const plain = "1 /dev/dm-0 /dev/dm-0 4096 4096 100 100 sha256 abcd 0102"
	if got := v.Target(); got != (Target{0, 800, "verity", plain}) {
		t.Errorf("Target = %+v", got)
	}
	v.Salt = nil
	v.Mode, v.CheckOnce = Panic, true
	v.FECRoots, v.FECBlocks, v.FECStart = 2, 102, 103
	const all = "1 /dev/dm-0 /dev/dm-0 4096 4096 100 100 sha256 abcd - 10 panic_on_corruption check_at_most_once use_fec_from_device /dev/dm-0 fec_roots 2 fec_blocks 102 fec_start 103"
	if got := v.Target().Params; got != all {
		t.Errorf("Target().Params = %q, want %q", got, all)
	}
}

func TestDecodeStatus(t *testing.T) {
	b, err := encode("x", 0, []Target{{0, 8, "verity", "V"}, {8, 8, "verity", "C"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel counts Next from the first spec on.
	binary.NativeEndian.PutUint32(b[headerSize+48+20:], 96)
	got, err := decodeStatus(b)
	if err != nil || strings.Join(got, ",") != "V,C" {
		t.Errorf("decodeStatus = %q, %v, want V, C", got, err)
	}
}
