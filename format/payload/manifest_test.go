package payload

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func goldenManifest() *Manifest {
	x := func(a, b uint64) *Extent { return &Extent{a, b} }
	h := bytes.Repeat([]byte{7}, 32)
	return &Manifest{
		BlockSize: 4096, SignaturesOffset: 10, SignaturesSize: 20, MinorVersion: 8, MaxTimestamp: 1700000000,
		PartialUpdate: true, SecurityPatch: "2026-11-05", images: []byte{0x5a, 0}, rest: rest{unknown: []byte{0xf8, 1, 5}},
		Dynamic: &DynamicPartitions{Groups: []Group{{Name: "g", Size: 5, Partitions: []string{"system", ""}}},
			SnapshotEnabled: true, VABCEnabled: true, VABCCompressionParam: "lz4", CowVersion: 3, VABCFeatures: &VABCFeatures{Threaded: true, BatchWrites: true},
			CompressionFactor: 65536, rest: rest{unknown: []byte{0x48, 9}}},
		Apexes: []Apex{{Package: "com.android.art", Version: 3, Compressed: true, DecompressedSize: 4}},
		Partitions: []Partition{{
			Name: "system", RunPostinstall: true, PostinstallPath: "bin/x", FilesystemType: "erofs",
			NewSignatures: []Signature{{Version: 1, Data: []byte{1}, UnpaddedSize: 1}},
			OldInfo:       &PartitionInfo{Size: 8192, Hash: h}, NewInfo: &PartitionInfo{Size: 8192, Hash: h},
			Operations: []Operation{{Type: Replace, DataLength: 4, DstExtents: []Extent{{0, 1}}, DataHash: h},
				{Type: SourceCopy, SrcExtents: []Extent{{1, 1}}, SrcLength: 4096, DstExtents: []Extent{{1, 1}}, DstLength: 4096, SrcHash: h}},
			PostinstallOptional: true, HashTreeDataExtent: x(0, 1), HashTreeExtent: x(1, 1), HashTreeAlgorithm: "sha256",
			HashTreeSalt: []byte{9}, FECDataExtent: x(0, 2), FECExtent: x(2, 1), FECRoots: 2, Version: "v",
			MergeOperations: []MergeOperation{{Type: 1, SrcExtent: x(1, 2), DstExtent: x(3, 4), SrcOffset: 5}},
			EstimateCowSize: 6, EstimateOpCountMax: 7,
		}},
	}
}

// TestGolden fixes the encoding of every field.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "manifest.pb")
	got := goldenManifest().Encode()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := read(t, path)
	if !bytes.Equal(got, want) {
		t.Errorf("Encode = %x, want %x", got, want)
	}
	m, err := DecodeManifest(want)
	if err != nil {
		t.Fatal(err)
	}
	if again := m.Encode(); !bytes.Equal(again, want) {
		t.Errorf("Encode after Decode = %x, want %x", again, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	twice := []byte{0x60, 0, 0x60, 0}
	long := []byte{0x60, 0x81, 0}
	order := []byte{0x70, 1, 0x60, 1}
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"twice":              {twice, "canonical"},
		"long varint":        {long, "canonical"},
		"order":              {order, "canonical"},
		"half a varint":      {[]byte{0x60, 0x80}, "unexpected EOF"},
		"major 1":            {[]byte{0x0a, 0}, "major version 1"},
		"wire type":          {[]byte{0x62, 0}, "wire type"},
		"number too large":   {[]byte{0x60, 0xff, 0xff, 0xff, 0xff, 0x1f}, "does not fit"},
		"block size":         {[]byte{0x18, 3}, "block size 3"},
		"name with a slash":  {(&Manifest{Partitions: []Partition{{Name: "../x"}}}).Encode(), `name "../x"`},
		"a name twice":       {(&Manifest{Partitions: []Partition{{Name: "x"}, {Name: "x"}}}).Encode(), "twice"},
		"no type":            {[]byte{0x6a, 5, 0x0a, 1, 'p', 0x42, 0}, "without a type"},
		"replace without":    {[]byte{0x6a, 7, 0x0a, 1, 'p', 0x42, 2, 0x08, 0}, "without data_offset"},
		"extent of half":     {[]byte{0x6a, 11, 0x0a, 1, 'p', 0x42, 6, 0x08, 6, 0x32, 2, 0x08, 0}, "without start_block or num_blocks"},
		"claims more it has": {[]byte{0x6a, 0xff, 0xff, 0xff, 0x7f}, "unexpected EOF"},
	} {
		_, err := DecodeManifest(tc.in)
		var fe *FormatError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: DecodeManifest(%x) = %v, want a FormatError with %q", name, tc.in, err, tc.want)
		}
	}
}

func TestReadMetadataRefuses(t *testing.T) {
	b, _ := sample()
	put := func(off int, v ...byte) []byte {
		c := bytes.Clone(b[:200])
		copy(c[off:], v)
		return c
	}
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"empty":              {nil, "offset 0x0: header: 0 bytes, want 24"},
		"magic":              {put(0, 'X'), `magic is "XrAU"`},
		"major version":      {put(11, 1), "offset 0x4: major version 1"},
		"no manifest":        {put(12, 0, 0, 0, 0, 0, 0, 0, 0), "manifest of 0 bytes"},
		"endless manifest":   {put(12, 0xff), "want 1 to 16777216"},
		"large manifest":     {put(12, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff), "176 bytes left, want 16777215"},
		"endless signatures": {put(20, 1), "metadata signature of 1677"},
	} {
		_, err := ReadMetadata(bytes.NewReader(tc.in))
		var fe *FormatError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: ReadMetadata = %v, want a FormatError with %q", name, err, tc.want)
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(goldenManifest().Encode())
	b, _ := sample()
	md, err := ReadMetadata(bytes.NewReader(b))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(md.Manifest.Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := DecodeManifest(in)
		if err != nil {
			return
		}
		if out := m.Encode(); !bytes.Equal(in, out) {
			t.Errorf("Encode = %x, want %x", out, in)
		}
	})
}

func FuzzApply(f *testing.F) {
	page := make([]byte, DefaultBlockSize)
	x := []Extent{{0, 1}}
	f.Add(forge(Operation{Type: Replace, DstExtents: x}, 8192, page))
	f.Add(forge(Operation{Type: ReplaceXZ, DstExtents: x}, 8192, xzOf(page, 1<<16)))
	f.Add(forge(Operation{Type: Zero, DstExtents: x}, 8192, nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		md, err := ReadMetadata(r)
		if err != nil {
			return
		}
		for _, p := range md.Manifest.Partitions {
			if p.NewInfo != nil && p.NewInfo.Size > 1<<20 {
				return
			}
		}
		disk := newDisk(md)
		a := &Applier{Metadata: md, Target: target(disk)}
		if end, err := a.Apply(context.Background(), r, md.Start()); err == nil && end.Offset != md.PayloadSize() {
			t.Errorf("Apply ends at %d, want %d", end.Offset, md.PayloadSize())
		}
	})
}
