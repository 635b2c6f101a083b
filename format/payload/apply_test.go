package payload

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ulikunitz/xz"

	"mios/internal/testkit"
)

func TestResumeAfterEachOperation(t *testing.T) {
	b, _ := sample()
	md, err := ReadMetadata(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	disk := newDisk(md)
	crash := errors.New("crash")
	at, ends := md.Start(), 0
	for !at.Finished {
		saved, err := json.Marshal(at)
		if err != nil {
			t.Fatal(err)
		}
		var from Checkpoint
		unmarshal(t, saved, &from)
		a := &Applier{Metadata: md, Keys: public(testkit.RSA(0)), Target: target(disk), Done: func(c Checkpoint) error {
			at = c
			return crash
		}}
		// Nothing before the checkpoint can be read.
		if _, err := a.Apply(context.Background(), bytes.NewReader(b[from.Offset:]), from); !errors.Is(err, crash) {
			t.Fatal(err)
		}
		ends++
	}
	if want := md.Manifest.Operations() + 1; ends != want {
		t.Errorf("%d steps, want %d", ends, want)
	}
	for name, p := range disk {
		if err := md.Manifest.VerifyPartition(context.Background(), name, p); err != nil {
			t.Error(err)
		}
	}
	if sum, err := at.Digest(); err != nil || sum != sha256.Sum256(b) {
		t.Errorf("digest after all steps is %x, %v", sum, err)
	}
}

func TestApplyRefuses(t *testing.T) {
	b, _ := sample()
	md, err := ReadMetadata(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	good := public(testkit.RSA(0))
	flip := func(off int64) func([]byte) []byte {
		return func(b []byte) []byte { b[off] ^= 0x10; return b }
	}
	end := int64(len(b))
	tests := []struct {
		name string
		keys []*rsa.PublicKey
		edit func([]byte) []byte
		want string
		dirt bool // something may have been written
	}{
		{"another key", public(testkit.RSA(1)), flip(end - 1), "metadata signature: signed by none of the trusted keys", false},
		{"metadata signature", good, flip(md.SignedSize() + 20), "metadata signature: signed by none", false},
		{"hash in the manifest", good, flip(md.SignedSize() - 40), "metadata signature: signed by none", false},
		{"first byte of data", good, flip(md.Size()), "partition boot: operation 0 (REPLACE_", false},
		{"data of the second partition", good, flip(md.Size() + 4000), "partition system: operation 0 (REPLACE): data has SHA-256", true},
		{"payload signature", good, flip(end - 20), "payload signature: signed by none", true},
		{"truncated data", good, func(b []byte) []byte { return b[:md.Size()+10] }, "the payload ends", false},
		{"truncated signature", good, func(b []byte) []byte { return b[:end-1] }, "payload signature: payload: offset", true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			in := tc.edit(bytes.Clone(b))
			disk, _, err := applyAll(t, in, tc.keys...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Apply = %v, want %q", err, tc.want)
			}
			if strings.Contains(tc.want, "signed by none") && !errors.Is(err, ErrSignature) {
				t.Errorf("%v is no ErrSignature", err)
			}
			for name, p := range disk {
				if p.writes.Load() > 0 && !tc.dirt {
					t.Errorf("%d writes to %s", p.writes.Load(), name)
				}
			}
		})
	}
}

// TestBrokenConnection: why a reader broke is not taken for a payload that ends.
func TestBrokenConnection(t *testing.T) {
	b, _ := sample()
	broke := fmt.Errorf("the connection broke: %w", io.ErrUnexpectedEOF)
	for _, n := range []int{0, 10, HeaderSize + 10} {
		if _, err := ReadMetadata(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broke))); !errors.Is(err, broke) {
			t.Errorf("ReadMetadata after %d bytes = %v, want %v", n, err, broke)
		}
	}
	md, err := ReadMetadata(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{md.Size() + 10, int64(len(b)) - 10} {
		a := &Applier{Metadata: md, Keys: public(testkit.RSA(0)), Target: target(newDisk(md))}
		if _, err := a.Apply(t.Context(), io.MultiReader(bytes.NewReader(b[md.Size():n]), iotest.ErrReader(broke)), md.Start()); !errors.Is(err, broke) {
			t.Errorf("Apply after %d bytes = %v, want %v", n, err, broke)
		}
	}
}

// forge returns an unsigned payload whose only partition has one operation.
func forge(op Operation, size uint64, data []byte) []byte {
	sum := sha256.Sum256(data)
	op.DataLength, op.DataHash = uint64(len(data)), sum[:]
	if len(data) == 0 {
		op.DataHash = nil
	}
	m := &Manifest{BlockSize: DefaultBlockSize, Partitions: []Partition{{Name: "p", Operations: []Operation{op},
		NewInfo: &PartitionInfo{Size: size, Hash: make([]byte, 32)}}}}
	var b bytes.Buffer
	if _, err := assemble(&b, m, bytes.NewReader(data), nil, 0); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func xzOf(b []byte, dict int) []byte {
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dict, CheckSum: xz.CRC32}.NewWriter(&out)
	if err := finish(w, err, b); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func TestOperations(t *testing.T) {
	page := bytes.Repeat([]byte("abcd"), DefaultBlockSize/4)
	two := append(bytes.Clone(page), bytes.Repeat([]byte("efgh"), DefaultBlockSize/4)...)
	// 1536 MiB: xz writes the size of a dictionary into its header, and bytes
	// are only what decoding allocates.
	huge := xzOf(page, DefaultBlockSize)
	at := bytes.IndexByte(huge[12:], 0x21) + 12 + 2 // filter id, size of properties, dictionary
	huge[at] = 39
	xs := func(v ...uint64) (out []Extent) {
		for i := 0; i < len(v); i += 2 {
			out = append(out, Extent{v[i], v[i+1]})
		}
		return out
	}
	tests := []struct {
		name string
		op   Operation
		data []byte
		want string // of the error, or
		disk string // of the partition's 4 blocks: their first letters, ? for untouched, 0 for zeros
	}{
		{"replace", Operation{Type: Replace, DstExtents: xs(1, 1)}, page, "", "?a??"},
		{"scattered", Operation{Type: ReplaceXZ, DstExtents: xs(3, 1, 0, 1)}, xzOf(two, 1<<16), "", "e??a"},
		{"zero", Operation{Type: Zero, DstExtents: xs(1, 2)}, nil, "", "?00?"},
		{"discard", Operation{Type: Discard, DstExtents: xs(0, 1)}, nil, "", "0???"},
		{"too long", Operation{Type: Replace, DstExtents: xs(0, 1)}, two, "data is longer than its destination", ""},
		{"too short", Operation{Type: ReplaceXZ, DstExtents: xs(0, 2)}, xzOf(page, 1<<16), "data is shorter than its destination", ""},
		{"not xz", Operation{Type: ReplaceXZ, DstExtents: xs(0, 1)}, page, "xz: file format not recognized", "????"},
		{"not bzip2", Operation{Type: ReplaceBZ, DstExtents: xs(0, 1)}, page, "bzip2 data invalid", "????"},
		{"bytes after xz", Operation{Type: ReplaceXZ, DstExtents: xs(0, 1)}, append(xzOf(page, 1<<16), "bytes"...), "xz: ", ""},
		{"beyond the end", Operation{Type: Zero, DstExtents: xs(3, 2)}, nil, "blocks 3 to 5 are beyond the partition's 16384 bytes", "????"},
		{"no destination", Operation{Type: Replace}, page, "no destination", "????"},
		{"data of zero", Operation{Type: Zero, DstExtents: xs(0, 1)}, page, "has data", "????"},
		{"gap", Operation{Type: Replace, DataOffset: 1, DstExtents: xs(0, 1)}, page, "data at 1, want it at 0", "????"},
		{"large", Operation{Type: Replace, DstExtents: xs(0, 1)}, make([]byte, MaxBlob+1), "4194305 bytes of data, want at most 4194304", "????"},
		{"bsdiff", Operation{Type: SourceBSDiff, DstExtents: xs(0, 1)}, page, "(SOURCE_BSDIFF): needs the installed partition", "????"},
		{"unknown", Operation{Type: 77, DstExtents: xs(0, 1)}, page, "(type 77): no operation of update_engine", "????"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			disk, _, err := applyAll(t, forge(tc.op, 4*DefaultBlockSize, tc.data))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Apply = %v, want %q", err, tc.want)
			}
			got := ""
			for off := 0; off < len(disk["p"].b); off += DefaultBlockSize {
				switch c := disk["p"].b[off]; c {
				case 0xa5:
					got += "?"
				case 0:
					got += "0"
				default:
					got += string(rune(c))
				}
			}
			if tc.disk != "" && got != tc.disk {
				t.Errorf("partition is %s, want %s", got, tc.disk)
			}
		})
	}
	t.Run("window", func(t *testing.T) {
		_, _, err := applyAll(t, forge(Operation{Type: ReplaceXZ, DstExtents: xs(0, 1)}, 4*DefaultBlockSize, fixHeaderCRC(huge)))
		if err == nil || !strings.Contains(err.Error(), "dictionary larger than 64 MiB") {
			t.Errorf("Apply = %v, want the window refused", err)
		}
	})
}

func TestParseKeys(t *testing.T) {
	for in, want := range map[string]string{
		"": "no PUBLIC KEY",
		"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n": "RSA PRIVATE KEY in the PEM file, want PUBLIC KEY",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n":           "payload key 0",
	} {
		if _, err := ParseKeys([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseKeys(%q) = %v, want %q", in, err, want)
		}
	}
}

// fixHeaderCRC makes an xz stream's first block header right again after its
// dictionary size was changed.
func fixHeaderCRC(b []byte) []byte {
	n := (int(b[12]) + 1) * 4
	binary.LittleEndian.PutUint32(b[12+n-4:], crc32.ChecksumIEEE(b[12:12+n-4]))
	return b
}
